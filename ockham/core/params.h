// Parameters of methods and scorers: declared once with type, range and default, read once, unknown keys refused.
// The declarations are what `ockham methods` prints and what the docs are generated from.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace ockham {

// A value as a recipe gives it. `from` names an earlier allocation step (`sparsity: {from: owl}`).
struct FromStep {
  std::string step;
};
using ParamValue = std::variant<bool, int64_t, double, std::string, FromStep>;

struct ParamSpec {
  enum class Type { kBool, kInt, kReal, kText };
  std::string name;
  Type type = Type::kReal;
  std::string summary;
  ParamValue fallback;               // the default; for kText with no default an empty string
  double low = 0, high = 0;          // inclusive range of numbers; low == high: no range
  std::vector<std::string> choices;  // allowed texts; empty: any
  bool required = false;
};
// A number with a default within [low, high].
ParamSpec real_spec(std::string name, std::string summary, double fallback, double low, double high);
ParamSpec int_spec(std::string name, std::string summary, int64_t fallback, int64_t low, int64_t high);
ParamSpec flag_spec(std::string name, std::string summary, bool fallback);
// `choices` empty: any text.
ParamSpec text_spec(std::string name, std::string summary, std::string fallback, std::vector<std::string> choices = {});

// Checked values of one step. Every error names `where` (recipe file and step), the key, what was found, what was
// expected.
class Params {
 public:
  Params() = default;
  // Throws Error(kInput) for an unknown key (with a suggestion), a wrong type, a value out of range, a missing required
  // key. An int is accepted for a real.
  Params(std::string where, const std::vector<ParamSpec>& specs, const std::map<std::string, ParamValue>& given);

  bool flag(const std::string& name) const;
  int64_t integer(const std::string& name) const;
  double real(const std::string& name) const;
  const std::string& text(const std::string& name) const;
  // True where the recipe itself gave the key.
  bool is_given(const std::string& name) const;
  // The allocation step behind a `{from: step}` value, or null.
  const FromStep* from(const std::string& name) const;
  // Replaces a `{from: step}` value by a number, per layer.
  Params with(const std::string& name, double value) const;
  const std::string& where() const { return where_; }
  const std::map<std::string, ParamValue>& values() const { return values_; }

 private:
  const ParamValue& at(const std::string& name) const;
  std::string where_;
  std::map<std::string, ParamValue> values_;
  std::map<std::string, bool> given_;
};

// The nearest of `known` within two edits, or "" (for "did you mean").
std::string closest_name(const std::string& name, const std::vector<std::string>& known);
// A value as text, for reports and errors.
std::string to_text(const ParamValue& value);

}  // namespace ockham
