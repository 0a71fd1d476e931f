// Decoding settings from one line of text.
#include <charconv>

#include "ockham/core/error.h"
#include "ockham/eval/evaluate.h"
#include "ockham/eval/scorers/text.h"

namespace ockham {
namespace {

constexpr const char* kKnown =
    "max_gen_toks (or max_tokens, max_new_tokens), temperature, top_p, samples, until (or stop), do_sample";

template <typename Number>
Number read_number(const std::string& key, const std::string& value, Number low, Number high) {
  Number number = 0;
  const auto [stop, code] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (code != std::errc() || stop != value.data() + value.size() || number < low || number > high)
    throw_error(ErrorKind::kUsage, "--gen-kwargs: {}: found '{}', expected a number from {} to {}", key, value, low,
                high);
  return number;
}

// Quotes around a value are dropped; \n, \t and \\ stand for themselves.
std::string unescape(std::string value) {
  if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'') && value.back() == value.front())
    value = value.substr(1, value.size() - 2);
  return replace_all(replace_all(std::move(value), "\\n", "\n"), "\\t", "\t");
}

// At commas outside quotes.
std::vector<std::string> split_settings(const std::string& text) {
  std::vector<std::string> parts(1);
  char quote = 0;
  for (const char c : text) {
    if (quote == 0 && (c == '"' || c == '\'') && !parts.back().empty() && parts.back().back() == '=')
      quote = c;
    else if (c == quote)
      quote = 0;
    if (c == ',' && quote == 0)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

}  // namespace

GenerationSettings read_generation_settings(const std::string& text) {
  GenerationSettings settings;
  bool is_greedy = false;
  if (text.empty()) return settings;
  for (const std::string& part : split_settings(text)) {
    const size_t equals = part.find('=');
    if (equals == std::string::npos)
      throw_error(ErrorKind::kUsage, "--gen-kwargs: '{}' has no '=', expected key=value,... with the keys {}", part,
                  kKnown);
    const std::string key(strip(part.substr(0, equals))), value = unescape(part.substr(equals + 1));
    if (key == "max_gen_toks" || key == "max_tokens" || key == "max_new_tokens")
      settings.max_tokens = read_number<int64_t>(key, value, 1, 1 << 20);
    else if (key == "samples")
      settings.samples = read_number<int64_t>(key, value, 1, 10'000);
    else if (key == "temperature")
      settings.temperature = read_number<double>(key, value, 0, 10);
    else if (key == "top_p")
      settings.top_p = read_number<double>(key, value, 1e-6, 1);
    else if (key == "until" || key == "stop") {
      if (!settings.stop) settings.stop.emplace();
      settings.stop->push_back(value);
    } else if (key == "do_sample") {
      const std::string wish = to_lower(value);
      if (wish != "true" && wish != "false")
        throw_error(ErrorKind::kUsage, "--gen-kwargs: do_sample: found '{}', expected true or false", value);
      is_greedy = wish == "false";
    } else {
      throw_error(ErrorKind::kUsage, "--gen-kwargs: key '{}' is not known, expected one of: {}", key, kKnown);
    }
  }
  if (is_greedy) settings.temperature = 0;
  return settings;
}

}  // namespace ockham
