// Formatting of numbers and lists.
#include "ockham/report/format.h"

#include <fmt/format.h>

#include <cmath>

namespace ockham {

std::string points(double value) {
  if (!std::isfinite(value)) return "–";
  const std::string text = fmt::format("{:.1f}", value);
  return text == "-0.0" ? "0.0" : text.starts_with('-') ? "−" + text.substr(1) : text;
}

std::string signed_points(double value) {
  const std::string text = points(value);
  return std::isfinite(value) && value > 0 && text != "0.0" ? "+" + text : text;
}

std::string bytes_text(double bytes) {
  if (bytes >= 1e9) return fmt::format("{:.2f} GB", bytes / 1e9);
  if (bytes >= 1e6) return fmt::format("{:.2f} MB", bytes / 1e6);
  if (bytes >= 1e3) return fmt::format("{:.0f} kB", bytes / 1e3);
  return fmt::format("{:.0f} B", bytes);
}

std::string percent(double share) {
  if (!std::isfinite(share)) return "–";
  const double value = share * 100;
  const std::string text = std::abs(value) < 9.95 && std::abs(value - std::round(value)) > 0.05
                               ? fmt::format("{:.1f}", value)
                               : fmt::format("{:.0f}", value);
  return (text.starts_with('-') ? (text == "-0" ? "0" : "−" + text.substr(1)) : text) + " %";
}

std::string seconds_text(double seconds) {
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<long long>(seconds + 0.5);
  if (whole < 3600) return fmt::format("{}:{:02} min", whole / 60, whole % 60);
  return fmt::format("{}:{:02} h", whole / 3600, whole / 60 % 60);
}

std::string p_text(double p) {
  if (p < 0.001) return "< 0.001";
  return fmt::format("{:.3f}", p);
}

std::string joined(const std::vector<std::string>& texts, const std::string& separator) {
  std::string result;
  for (const std::string& text : texts) result += (result.empty() ? "" : separator) + text;
  return result;
}

std::string listed(const std::vector<std::string>& texts) {
  std::string result;
  for (size_t i = 0; i < texts.size(); ++i) result += (i == 0 ? "" : i + 1 == texts.size() ? " and " : ", ") + texts[i];
  return result;
}

std::string counted(long long n, const std::string& singular, const std::string& plural) {
  return fmt::format("{} {}", n, n == 1 ? singular : plural.empty() ? singular + "s" : plural);
}

}  // namespace ockham
