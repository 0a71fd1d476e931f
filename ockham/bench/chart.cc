#include "ockham/bench/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "ockham/report/html_page.h"

namespace ockham {
namespace {

constexpr double kWidth = 560, kHeight = 372, kLeft = 56, kRight = 18, kTop = 16, kBottom = 50;

double place(const Axis& axis, double value) {
  const auto measure = [&](double v) { return axis.is_log ? std::log10(v) : v; };
  return (measure(value) - measure(axis.low)) / (measure(axis.high) - measure(axis.low));
}

}  // namespace

Axis log_axis(std::string title, double low, double high) {
  Axis axis{std::move(title), low, high, true, {}};
  const double decades = std::log10(high / low);
  for (int power = -12; power <= 18; ++power) {
    for (const int digit : {1, 2, 5}) {
      if (digit != 1 && decades > 3) continue;
      const double value = digit * std::pow(10, power);
      if (value >= low * 0.999 && value <= high * 1.001) axis.ticks.emplace_back(value, fmt::format("{:.6g}", value));
    }
  }
  return axis;
}

Axis linear_axis(std::string title, double low, double high) {
  Axis axis{std::move(title), low, high, false, {}};
  const double raw = (high - low) / 6, power = std::pow(10, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power < raw) continue;
    step = factor * power;
    break;
  }
  for (double value = std::ceil(low / step) * step; value <= high + step * 1e-6; value += step)
    axis.ticks.emplace_back(value, fmt::format("{:g}", std::round(value / step) * step));
  return axis;
}

Plot::Plot(std::string label, Axis x, Axis y) : label_(std::move(label)), x_(std::move(x)), y_(std::move(y)) {}

double Plot::px(double x) const {
  return kLeft + (kWidth - kLeft - kRight) * std::clamp(place(x_, x), 0.0, 1.0);
}
double Plot::py(double y) const {
  return kHeight - kBottom - (kHeight - kBottom - kTop) * std::clamp(place(y_, y), 0.0, 1.0);
}

bool Plot::take(const Box& box) {
  if (box.x0 < kLeft || box.x1 > kWidth || box.y0 < 0 || box.y1 > kHeight - kBottom) return false;
  const auto overlaps = [&](const Box& other) {
    return box.x0 < other.x1 && other.x0 < box.x1 && box.y0 < other.y1 && other.y0 < box.y1;
  };
  if (std::any_of(taken_.begin(), taken_.end(), overlaps)) return false;
  taken_.push_back(box);
  return true;
}

void Plot::point(double x, double y, const std::string& colour, Mark mark, const std::string& tip) {
  last_x_ = px(x);
  last_y_ = py(y);
  taken_.push_back({last_x_ - 6, last_y_ - 6, last_x_ + 6, last_y_ + 6});
  std::string shape;
  if (mark == Mark::kSquare) {
    shape = fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"10\" height=\"10\" fill=\"{}\" stroke=\"var(--surface)\" "
        "stroke-width=\"1.5\"/>",
        last_x_ - 5, last_y_ - 5, colour);
  } else {
    const bool is_ring = mark == Mark::kRing;
    shape = fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5.2\" fill=\"{}\" stroke=\"{}\" stroke-width=\"{}\"/>",
                        last_x_, last_y_, is_ring ? "var(--surface)" : colour, is_ring ? colour : "var(--surface)",
                        is_ring ? 2 : 1.5);
  }
  points_ += fmt::format("<g data-tip=\"{}\">{}</g>", escape_html(tip), shape);
}

void Plot::label(const std::string& text) {
  const double width = 6.3 * static_cast<double>(text.size());
  const std::array<std::array<double, 2>, 6> places = {
      {{9, -8}, {10, 4}, {-10 - width, 4}, {8, 17}, {-width / 2, -11}, {-width / 2, 20}}};
  for (const auto& [dx, dy] : places) {
    const double x = last_x_ + dx, y = last_y_ + dy;
    if (!take({x, y - 11, x + width, y + 3})) continue;
    texts_ += fmt::format("<text class=\"lab\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", x, y, escape_html(text));
    return;
  }
}

void Plot::line(const std::vector<std::pair<double, double>>& points, const std::string& colour, bool is_dashed) {
  std::string path;
  for (const auto& [x, y] : points) path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", px(x), py(y));
  lines_ += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\" stroke-linejoin=\"round\"{}/>",
                        path, colour, is_dashed ? " stroke-dasharray=\"5 4\"" : "");
}

void Plot::text(double x, double y, const std::string& what) {
  taken_.push_back({px(x), py(y) - 17, px(x) + 6.3 * static_cast<double>(what.size()), py(y) - 3});
  texts_ +=
      fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", px(x) + 4, py(y) - 6, escape_html(what));
}

std::string Plot::svg() const {
  std::string svg =
      fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">", kWidth, kHeight, escape_html(label_));
  for (const auto& [value, text] : y_.ticks)
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/><text class=\"tick\" x=\"{}\" "
        "y=\"{:.1f}\" text-anchor=\"end\">{}</text>",
        kLeft, kWidth - kRight, py(value), py(value), kLeft - 8, py(value) + 4, text);
  for (const auto& [value, text] : x_.ticks)
    svg += fmt::format(
        "<line class=\"axis\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/><text class=\"tick\" x=\"{0:.1f}\" "
        "y=\"{3}\" text-anchor=\"middle\">{4}</text>",
        px(value), kHeight - kBottom, kHeight - kBottom + 5, kHeight - kBottom + 19, text);
  svg += fmt::format("<line class=\"axis\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>", kLeft, kWidth - kRight,
                     kHeight - kBottom, kHeight - kBottom);
  svg += fmt::format("<text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{} →</text>", kWidth - kRight,
                     kHeight - 8, escape_html(x_.title));
  return svg + lines_ + points_ + texts_ + "</svg>";
}

}  // namespace ockham
