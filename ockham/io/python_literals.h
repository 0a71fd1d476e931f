// Reads values out of Python source text as data; nothing is executed. Enough of the language for lists of phrases and
// prompts: texts with prefixes, escapes and implicit concatenation, numbers, None, True, False, lists, tuples, dicts,
// `+`, names and subscripts of names assigned in the same file, f-texts over those, and [text + p for p in NAME].
// Anything else is an Error(kInput) with the line.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ockham/io/json.h"

namespace ockham {

class PythonSource {
 public:
  PythonSource(std::string text, std::string where) : text_(std::move(text)), where_(std::move(where)) {}
  static PythonSource read(const std::string& path);

  // What stands for these expressions inside f-texts ("person_4" -> "{4}").
  void substitute(const std::string& expression, const std::string& value) { substitutes_[expression] = value; }
  // The value of the assignment to `name` that comes as number `nth` (from 0) behind the first occurrence of `after`
  // ("def load"; empty: the start of the file).
  Json value(const std::string& name, const std::string& after = "", size_t nth = 0) const;
  // Every dict literal that opens with the key `first_key` between `after` and `until`; those that hold more than
  // literals are left out.
  std::vector<Json> dicts(const std::string& first_key, const std::string& after, const std::string& until) const;

 private:
  friend class PythonParser;
  size_t assignment(const std::string& name, size_t from, size_t nth) const;
  std::string text_, where_;
  std::map<std::string, std::string> substitutes_;
};

}  // namespace ockham
