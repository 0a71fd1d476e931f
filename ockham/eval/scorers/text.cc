// Text rules shared by the parsers.
#include "ockham/eval/scorers/text.h"

#include <algorithm>
#include <array>

#include "ockham/core/error.h"

namespace ockham {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
char upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}
bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

}  // namespace

std::string to_lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), lower);
  return result;
}

std::string capitalize(std::string_view text) {
  std::string result = to_lower(text);
  if (!result.empty()) result[0] = upper(result[0]);
  return result;
}

std::string_view strip(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string_view before(std::string_view text, std::string_view mark) {
  return text.substr(0, text.find(mark));
}

bool contains_any(std::string_view text, const std::vector<std::string>& phrases) {
  return std::any_of(phrases.begin(), phrases.end(),
                     [&](const std::string& phrase) { return text.find(phrase) != std::string_view::npos; });
}

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  if (from.empty()) return text;
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

int64_t code_points(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

bool is_blank(std::string_view text) {
  return strip(text).empty();
}

std::string normalize_answer(std::string_view text) {
  std::string spaced = to_lower(text);
  for (const std::string_view quote : {"‘", "’", "´", "`"}) spaced = replace_all(spaced, quote, " ");
  for (char& c : spaced) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 128 && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9')) c = ' ';
  }
  std::string result;
  for (size_t begin = 0; begin < spaced.size();) {
    const size_t end = std::min(spaced.find(' ', begin), spaced.size());
    const std::string word = spaced.substr(begin, end - begin);
    begin = end + 1;
    if (word.empty() || word == "a" || word == "an" || word == "the") continue;
    if (!result.empty()) result += ' ';
    result += word;
  }
  return result;
}

std::string item_name(const Json& item) {
  const auto id = item.find("id");
  if (id == item.end()) return "item without id";
  return "item '" + (id->is_string() ? id->get<std::string>() : id->dump()) + "'";
}

std::vector<std::string> item_texts(const Json& item, const std::string& key) {
  const auto field = item.find(key);
  if (field == item.end() || field->is_null()) return {};
  std::vector<std::string> texts;
  const auto add = [&](const Json& value) {
    if (value.is_string())
      texts.push_back(value.get<std::string>());
    else if (value.is_number() || value.is_boolean())
      texts.push_back(value.dump());
    else
      throw_input("{}: key '{}' holds {}, expected a text or a list of texts; correct the item", item_name(item), key,
                  value.type_name());
  };
  if (field->is_array()) {
    for (const Json& value : *field) add(value);
  } else {
    add(*field);
  }
  return texts;
}

std::string item_label(const Json& item, const std::string& key) {
  const std::vector<std::string> texts = item_texts(item, key);
  return texts.empty() ? "" : texts[0];
}

int64_t label_index(const Json& item, const std::vector<std::string>& options) {
  const auto field = item.find("label");
  if (field == item.end() || field->is_null())
    throw_input("{}: key 'label' is missing, expected one of the options or its index; add it", item_name(item));
  if (field->is_number_integer()) {
    const int64_t index = field->get<int64_t>();
    if (index >= 0 && index < static_cast<int64_t>(options.size())) return index;
  }
  const std::string text = item_label(item);
  for (size_t i = 0; i < options.size(); ++i)
    if (options[i] == text) return static_cast<int64_t>(i);
  throw_input("{}: label '{}' is none of the options: {}; correct the item", item_name(item), text,
              fmt::join(options, ", "));
}

}  // namespace ockham
