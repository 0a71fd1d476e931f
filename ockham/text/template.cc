// Templates and regular expressions; the work itself is done by the Rust library.
#include "ockham/text/template.h"

#include "ockham/core/error.h"
#include "ockham/io/rust_values.h"

namespace ockham {
namespace {

std::vector<std::string> run_template(const std::string& source, const std::vector<Json>& rows, bool as_json,
                                      const std::string& where) {
  OckhamStrings strings{};
  const std::string text = Json(rows).dump();
  const std::string error = take_error(ockham_template_render(view(source), view(text), as_json ? 1 : 0, &strings));
  if (!error.empty())
    throw_input("{}: template '{}': {}; correct the template or the data", where,
                source.size() > 200 ? source.substr(0, 200) + "..." : source, error);
  return take_strings(strings);
}

// One quoted text of a Python or JSON list from text[at], a quote.
bool parse_quoted(const std::string& text, size_t& at, std::string& value) {
  const char quote = text[at++];
  while (at < text.size() && text[at] != quote) {
    char c = text[at++];
    if (c == '\\') {
      if (at >= text.size()) return false;
      c = text[at++];
      if (c == 'n')
        c = '\n';
      else if (c == 't')
        c = '\t';
      else if (c == 'r')
        c = '\r';
      else if (c != '\\' && c != '\'' && c != '"')
        value += '\\';
    }
    value += c;
  }
  return at++ < text.size();
}

}  // namespace

std::vector<std::string> render_template(const std::string& source, const std::vector<Json>& rows,
                                         const std::string& where) {
  return run_template(source, rows, false, where);
}

std::vector<Json> evaluate_template(const std::string& source, const std::vector<Json>& rows,
                                    const std::string& where) {
  std::vector<Json> values;
  values.reserve(rows.size());
  for (const std::string& text : run_template(source, rows, true, where)) values.push_back(parse_json(text, where));
  return values;
}

bool parse_python_list(const std::string& text, std::vector<std::string>& items) {
  items.clear();
  size_t at = text.find_first_not_of(" \n\t");
  size_t end = text.find_last_not_of(" \n\t");
  if (at == std::string::npos || text[at] != '[' || text[end] != ']') return false;
  for (++at; at < end;) {
    const char c = text[at];
    if (c == ' ' || c == '\n' || c == '\t' || c == ',') {
      ++at;
      continue;
    }
    std::string value;
    if (c == '"' || c == '\'') {
      if (!parse_quoted(text, at, value)) return false;
    } else {
      const size_t stop = std::min(text.find_first_of(", \n\t]", at), end);
      value = text.substr(at, stop - at);
      if (value.find_first_not_of("0123456789.+-eE") != std::string::npos && value != "True" && value != "False" &&
          value != "None")
        return false;
      at = stop;
    }
    items.push_back(std::move(value));
  }
  return true;
}

std::vector<std::vector<std::string>> find_all(const std::string& pattern, const std::string& text) {
  OckhamStrings strings{};
  size_t groups = 0;
  const std::string error = take_error(ockham_regex_find(view(pattern), view(text), &groups, &strings));
  if (!error.empty()) throw_input("{}; correct the pattern", error);
  const std::vector<std::string> parts = take_strings(strings);
  std::vector<std::vector<std::string>> matches;
  for (size_t i = 0; groups > 0 && i + groups <= parts.size(); i += groups)
    matches.emplace_back(parts.begin() + static_cast<int64_t>(i), parts.begin() + static_cast<int64_t>(i + groups));
  return matches;
}

std::string replace_matches(const std::string& pattern, const std::string& replacement, const std::string& text) {
  OckhamBytes bytes{};
  const std::string error = take_error(ockham_regex_replace(view(pattern), view(replacement), view(text), &bytes));
  if (!error.empty()) throw_input("{}; correct the pattern", error);
  return take_bytes(bytes);
}

}  // namespace ockham
