// Checking and lookup of params.h.
#include "ockham/core/params.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ockham/core/error.h"

namespace ockham {
namespace {

const char* type_name(ParamSpec::Type type) {
  switch (type) {
    case ParamSpec::Type::kBool:
      return "true or false";
    case ParamSpec::Type::kInt:
      return "a whole number";
    case ParamSpec::Type::kReal:
      return "a number";
    case ParamSpec::Type::kText:
      return "a text";
  }
  return "";
}

std::string expected_text(const ParamSpec& spec) {
  std::string text = type_name(spec.type);
  if (spec.low != spec.high) text += fmt::format(" from {:g} to {:g}", spec.low, spec.high);
  if (!spec.choices.empty()) text += fmt::format(" of: {}", fmt::join(spec.choices, ", "));
  return text;
}

ParamValue checked(const std::string& where, const ParamSpec& spec, ParamValue value) {
  const auto refuse = [&] {
    throw_input("{}: key '{}': found {}, expected {}; correct the value", where, spec.name, to_text(value),
                expected_text(spec));
  };
  if (std::holds_alternative<FromStep>(value)) {
    if (spec.type != ParamSpec::Type::kReal && spec.type != ParamSpec::Type::kInt) refuse();
    return value;
  }
  if (spec.type == ParamSpec::Type::kReal && std::holds_alternative<int64_t>(value))
    value = static_cast<double>(std::get<int64_t>(value));
  const bool fits = (spec.type == ParamSpec::Type::kBool && std::holds_alternative<bool>(value)) ||
                    (spec.type == ParamSpec::Type::kInt && std::holds_alternative<int64_t>(value)) ||
                    (spec.type == ParamSpec::Type::kReal && std::holds_alternative<double>(value)) ||
                    (spec.type == ParamSpec::Type::kText && std::holds_alternative<std::string>(value));
  if (!fits) refuse();
  if (spec.low != spec.high) {
    const double number = std::holds_alternative<int64_t>(value) ? static_cast<double>(std::get<int64_t>(value))
                                                                 : std::get<double>(value);
    if (!(number >= spec.low && number <= spec.high)) refuse();
  }
  if (!spec.choices.empty() &&
      std::find(spec.choices.begin(), spec.choices.end(), std::get<std::string>(value)) == spec.choices.end())
    refuse();
  return value;
}

}  // namespace

ParamSpec real_spec(std::string name, std::string summary, double fallback, double low, double high) {
  return {std::move(name), ParamSpec::Type::kReal, std::move(summary), fallback, low, high, {}, false};
}

ParamSpec int_spec(std::string name, std::string summary, int64_t fallback, int64_t low, int64_t high) {
  return {std::move(name),
          ParamSpec::Type::kInt,
          std::move(summary),
          fallback,
          static_cast<double>(low),
          static_cast<double>(high),
          {},
          false};
}

ParamSpec flag_spec(std::string name, std::string summary, bool fallback) {
  return {std::move(name), ParamSpec::Type::kBool, std::move(summary), fallback, 0, 0, {}, false};
}

ParamSpec text_spec(std::string name, std::string summary, std::string fallback, std::vector<std::string> choices) {
  return {std::move(name),
          ParamSpec::Type::kText,
          std::move(summary),
          std::move(fallback),
          0,
          0,
          std::move(choices),
          false};
}

Params::Params(std::string where, const std::vector<ParamSpec>& specs, const std::map<std::string, ParamValue>& given)
    : where_(std::move(where)) {
  std::vector<std::string> known;
  for (const ParamSpec& spec : specs) known.push_back(spec.name);
  for (const auto& [name, value] : given) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::string near = closest_name(name, known);
    throw_input("{}: unknown key '{}'; expected one of: {}{}", where_, name, fmt::join(known, ", "),
                near.empty() ? "" : "; did you mean '" + near + "'?");
  }
  for (const ParamSpec& spec : specs) {
    const auto it = given.find(spec.name);
    if (it == given.end() && spec.required)
      throw_input("{}: key '{}' is missing, expected {}; add it", where_, spec.name, expected_text(spec));
    given_[spec.name] = it != given.end();
    values_[spec.name] = it == given.end() ? spec.fallback : checked(where_, spec, it->second);
  }
}

const ParamValue& Params::at(const std::string& name) const {
  const auto it = values_.find(name);
  if (it == values_.end()) throw_error(ErrorKind::kInternal, "{}: parameter '{}' was never declared", where_, name);
  return it->second;
}

bool Params::flag(const std::string& name) const {
  return std::get<bool>(at(name));
}
int64_t Params::integer(const std::string& name) const {
  const ParamValue& value = at(name);
  // An allocation step may have chosen anything.
  if (const auto* real = std::get_if<double>(&value))
    throw_input("{}: key '{}': found {}, expected a whole number; take it from another step", where_, name, *real);
  return std::get<int64_t>(value);
}
const std::string& Params::text(const std::string& name) const {
  return std::get<std::string>(at(name));
}

double Params::real(const std::string& name) const {
  const ParamValue& value = at(name);
  if (const auto* whole = std::get_if<int64_t>(&value)) return static_cast<double>(*whole);
  return std::get<double>(value);
}

bool Params::is_given(const std::string& name) const {
  const auto it = given_.find(name);
  return it != given_.end() && it->second;
}

const FromStep* Params::from(const std::string& name) const {
  return std::get_if<FromStep>(&at(name));
}

Params Params::with(const std::string& name, double value) const {
  Params copy = *this;
  at(name);
  // A whole number serves integer and real parameters alike.
  if (value == std::floor(value) && std::abs(value) < 1e15)
    copy.values_[name] = static_cast<int64_t>(value);
  else
    copy.values_[name] = value;
  return copy;
}

std::string closest_name(const std::string& name, const std::vector<std::string>& known) {
  std::string best;
  size_t best_distance = 3;
  for (const std::string& candidate : known) {
    std::vector<size_t> row(candidate.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 1; i <= name.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j <= candidate.size(); ++j) {
        const size_t above = row[j];
        row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (name[i - 1] == candidate[j - 1] ? 0 : 1)});
        diagonal = above;
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

std::string to_text(const ParamValue& value) {
  struct Writer {
    std::string operator()(bool v) const { return v ? "true" : "false"; }
    std::string operator()(int64_t v) const { return std::to_string(v); }
    std::string operator()(double v) const { return fmt::format("{:g}", v); }
    std::string operator()(const std::string& v) const { return "'" + v + "'"; }
    std::string operator()(const FromStep& v) const { return "{from: " + v.step + "}"; }
  };
  return std::visit(Writer{}, value);
}

}  // namespace ockham
