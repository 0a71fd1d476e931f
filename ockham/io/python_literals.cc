// A recursive-descent reader of literal expressions.
#include "ockham/io/python_literals.h"

#include <algorithm>
#include <charconv>

#include "ockham/core/error.h"
#include "ockham/io/file.h"

namespace ockham {
namespace {

constexpr int kDeepest = 60;

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name(char c) {
  return is_name_start(c) || is_digit(c);
}

// Halves of a surrogate pair are no characters; they become the replacement character.
void append_utf8(std::string& text, uint32_t point) {
  if (point >= 0xD800 && point < 0xE000) point = 0xFFFD;
  const auto put = [&](uint32_t byte) { text += static_cast<char>(byte); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xC0 | point >> 6);
    put(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    put(0xE0 | point >> 12);
    put(0x80 | (point >> 6 & 0x3F));
    put(0x80 | (point & 0x3F));
  } else {
    put(0xF0 | point >> 18);
    put(0x80 | (point >> 12 & 0x3F));
    put(0x80 | (point >> 6 & 0x3F));
    put(0x80 | (point & 0x3F));
  }
}

// The end of the quoted text that begins at `at` (a quote), or npos.
size_t end_of_quoted(std::string_view text, size_t at) {
  const char quote = text[at];
  const bool is_triple = text.substr(at, 3) == std::string(3, quote);
  for (size_t i = at + (is_triple ? 3 : 1); i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (is_triple ? text.substr(i, 3) == std::string(3, quote) : text[i] == quote) {
      return i + (is_triple ? 3 : 1);
    } else if (!is_triple && text[i] == '\n') {
      return std::string_view::npos;
    }
  }
  return std::string_view::npos;
}

}  // namespace

class PythonParser {
 public:
  PythonParser(const PythonSource& source, std::string_view text, size_t at, int depth)
      : source_(source), text_(text), at_(at), depth_(depth) {}

  Json expression() {
    const Deeper deeper(*this);
    Json value = term();
    for (;;) {
      skip_blanks();
      if (peek() != '+') return value;
      ++at_;
      const Json right = term();
      if (value.is_string() && right.is_string())
        value = value.get<std::string>() + right.get<std::string>();
      else if (value.is_array() && right.is_array())
        value.insert(value.end(), right.begin(), right.end());
      else
        fail("a sum of two texts or two lists");
    }
  }
  bool is_at_end() {
    skip_blanks();
    return at_ >= text_.size();
  }

 private:
  struct Deeper {
    explicit Deeper(PythonParser& parser) : parser_(parser) {
      if (++parser_.depth_ > kDeepest) parser_.fail("fewer nested values");
    }
    ~Deeper() { --parser_.depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    PythonParser& parser_;
  };

  [[noreturn]] void fail(const std::string& expected) const {
    const auto end =
        source_.text_.begin() +
        static_cast<std::ptrdiff_t>(text_.data() == source_.text_.data() ? std::min(at_, text_.size()) : 0);
    throw_input("{}:{}: found '{}', expected {}; this file is not the one that this program knows", source_.where_,
                1 + std::count(source_.text_.begin(), end, '\n'),
                std::string(text_.substr(std::min(at_, text_.size()), 30)), expected);
  }
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  // Blanks and comments; line ends count as blanks inside brackets only.
  void skip_blanks() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#') {
        // Up to the line's end, or the text's: a comment may be the last thing of a file.
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (c == '\\' && peek(1) == '\n') {
        at_ += 2;
      } else if (c == ' ' || c == '\t' || (brackets_ > 0 && (c == '\n' || c == '\r'))) {
        ++at_;
      } else {
        return;
      }
    }
  }
  bool take(char c) {
    skip_blanks();
    if (peek() != c) return false;
    ++at_;
    return true;
  }

  Json term() {
    skip_blanks();
    const char c = peek();
    if (c == '[') return list();
    if (c == '{') return dict();
    if (c == '(') return parenthesis();
    if (is_text_start()) return texts();
    if (is_digit(c) || c == '-') return number();
    if (is_name_start(c)) return name();
    fail("a literal");
  }

  // A quote, or a prefix of up to two letters before one.
  bool is_text_start() const {
    for (size_t ahead = 0; ahead < 3; ++ahead) {
      const char c = peek(ahead);
      if (c == '"' || c == '\'') return true;
      if (std::string_view("rRfFuU").find(c) == std::string_view::npos || c == '\0') return false;
    }
    return false;
  }

  Json texts() {
    std::string all;
    do {
      all += text();
      skip_blanks();
    } while (is_text_start());
    return all;
  }

  std::string text() {
    bool is_raw = false, is_formatted = false;
    for (; peek() != '"' && peek() != '\''; ++at_) {
      is_raw = is_raw || peek() == 'r' || peek() == 'R';
      is_formatted = is_formatted || peek() == 'f' || peek() == 'F';
    }
    const size_t end = end_of_quoted(text_, at_);
    if (end == std::string_view::npos) fail("a text with its closing quote");
    const size_t quotes = text_.substr(at_, 3) == std::string(3, text_[at_]) && end - at_ >= 6 ? 3 : 1;
    const std::string_view body = text_.substr(at_ + quotes, end - at_ - 2 * quotes);
    at_ = end;
    const std::string plain = is_raw ? std::string(body) : unescape(body);
    return is_formatted ? format(plain) : plain;
  }

  static std::string unescape(std::string_view body) {
    std::string result;
    for (size_t i = 0; i < body.size(); ++i) {
      if (body[i] != '\\' || i + 1 >= body.size()) {
        result += body[i];
        continue;
      }
      const char c = body[++i];
      const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
      uint32_t point = 0;
      const char* first = body.data() + i + 1;
      if (c == 'n')
        result += '\n';
      else if (c == 't')
        result += '\t';
      else if (c == 'r')
        result += '\r';
      else if (c == '\\' || c == '\'' || c == '"')
        result += c;
      else if (c == '\n')
        continue;
      else if (digits > 0 && i + digits < body.size() &&
               std::from_chars(first, first + digits, point, 16).ptr == first + digits && point <= 0x10FFFF) {
        append_utf8(result, point);
        i += digits;
      } else {
        // Python keeps the backslash of an escape that it does not know.
        result += '\\';
        result += c;
      }
    }
    return result;
  }

  std::string format(const std::string& plain) {
    std::string result;
    for (size_t i = 0; i < plain.size(); ++i) {
      if ((plain[i] == '{' || plain[i] == '}') && i + 1 < plain.size() && plain[i + 1] == plain[i]) {
        result += plain[i++];
      } else if (plain[i] == '{') {
        const size_t end = plain.find('}', i);
        if (end == std::string::npos) fail("a closing brace in an f-text");
        const std::string inner = plain.substr(i + 1, end - i - 1);
        i = end;
        if (const auto known = source_.substitutes_.find(inner); known != source_.substitutes_.end()) {
          result += known->second;
          continue;
        }
        PythonParser nested(source_, inner, 0, depth_);
        const Json value = nested.expression();
        if (!nested.is_at_end() || !value.is_string()) fail("a text inside an f-text");
        result += value.get<std::string>();
      } else {
        result += plain[i];
      }
    }
    return result;
  }

  Json number() {
    const size_t begin = at_;
    if (peek() == '-') ++at_;
    while (is_digit(peek()) || peek() == '.' || peek() == 'e') ++at_;
    const std::string digits(text_.substr(begin, at_ - begin));
    int64_t whole = 0;
    if (const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), whole);
        error == std::errc() && end == digits.data() + digits.size())
      return whole;
    double real = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), real);
    if (error != std::errc() || end != digits.data() + digits.size()) fail("a number");
    return real;
  }

  std::string word() {
    const size_t begin = at_;
    while (is_name(peek())) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }

  Json name() {
    const std::string found = word();
    if (found == "None") return nullptr;
    if (found == "True" || found == "False") return found == "True";
    Json value = lookup(found);
    while (peek() == '[') {
      ++at_;
      ++brackets_;
      const Json key = expression();
      if (!take(']')) fail("']'");
      --brackets_;
      if (value.is_object() && value.contains(label(key))) {
        value = Json(value[label(key)]);
      } else if (value.is_array() && key.is_number_integer() && key.get<int64_t>() >= 0 &&
                 key.get<size_t>() < value.size()) {
        value = Json(value[key.get<size_t>()]);
      } else {
        fail("an entry that exists");
      }
    }
    return value;
  }

  // What an entry of a dict is known by; a key of several values is no literal that this program knows.
  std::string label(const Json& key) const {
    if (key.is_structured()) fail("a text or a number as the key");
    return key.is_string() ? key.get<std::string>() : key.dump();
  }

  Json lookup(const std::string& found) {
    const Deeper deeper(*this);
    const size_t place = source_.assignment(found, 0, 0);
    if (place == std::string::npos) fail("a name that this file assigns");
    return PythonParser(source_, source_.text_, place, depth_).expression();
  }

  Json list() {
    Json values = Json::array();
    ++at_;
    ++brackets_;
    while (!take(']')) {
      if (values.empty() && is_comprehension(values)) break;
      values.push_back(expression());
      if (take(',')) continue;
      if (!take(']')) fail("',' or ']'");
      break;
    }
    --brackets_;
    return values;
  }

  // text + NAME for NAME in OTHER ]
  bool is_comprehension(Json& values) {
    const size_t begin = at_;
    skip_blanks();
    if (is_text_start()) {
      const std::string prefix = texts().get<std::string>();
      if (take('+')) {
        skip_blanks();
        const std::string variable = word();
        skip_blanks();
        if (!variable.empty() && word() == "for") {
          skip_blanks();
          if (word() != variable) fail("the variable of the comprehension");
          skip_blanks();
          if (word() != "in") fail("'in'");
          const Json others = expression();
          if (!others.is_array() || !take(']')) fail("a list of texts and ']'");
          for (const Json& other : others) {
            if (!other.is_string()) fail("a list of texts");
            values.push_back(prefix + other.get<std::string>());
          }
          return true;
        }
      }
    }
    at_ = begin;
    return false;
  }

  Json parenthesis() {
    ++at_;
    ++brackets_;
    Json first = expression();
    if (take(')')) {
      --brackets_;
      return first;
    }
    Json values = Json::array({std::move(first)});
    while (take(',')) {
      skip_blanks();
      if (peek() == ')') break;
      values.push_back(expression());
    }
    if (!take(')')) fail("')'");
    --brackets_;
    return values;
  }

  Json dict() {
    Json values = Json::object();
    ++at_;
    ++brackets_;
    while (!take('}')) {
      const std::string key = label(expression());
      if (!take(':')) fail("':'");
      values[key] = expression();
      if (take(',')) continue;
      if (!take('}')) fail("',' or '}'");
      break;
    }
    --brackets_;
    return values;
  }

  const PythonSource& source_;
  std::string_view text_;
  size_t at_;
  int depth_;
  int brackets_ = 0;
};

PythonSource PythonSource::read(const std::string& path) {
  return {read_text_file(path), path};
}

// The place behind "name =" of an assignment that begins a line.
size_t PythonSource::assignment(const std::string& name, size_t from, size_t nth) const {
  for (size_t at = from; at < text_.size();) {
    const size_t line_end = std::min(text_.find('\n', at), text_.size());
    size_t i = at;
    while (i < line_end && (text_[i] == ' ' || text_[i] == '\t')) ++i;
    at = line_end + 1;
    if (text_.compare(i, name.size(), name) != 0) continue;
    i += name.size();
    while (i < line_end && (text_[i] == ' ' || text_[i] == '\t')) ++i;
    if (i >= line_end || text_[i] != '=' || (i + 1 < text_.size() && text_[i + 1] == '=')) continue;
    if (nth-- == 0) return i + 1;
  }
  return std::string::npos;
}

Json PythonSource::value(const std::string& name, const std::string& after, size_t nth) const {
  const size_t from = after.empty() ? 0 : text_.find(after);
  if (from == std::string::npos)
    throw_input("{}: '{}' is missing; this file is not the one that this program knows", where_, after);
  const size_t place = assignment(name, from, nth);
  if (place == std::string::npos)
    throw_input("{}: no assignment to '{}'{} is found; this file is not the one that this program knows", where_, name,
                after.empty() ? "" : " behind '" + after + "'");
  return PythonParser(*this, text_, place, 0).expression();
}

std::vector<Json> PythonSource::dicts(const std::string& first_key, const std::string& after,
                                      const std::string& until) const {
  std::vector<Json> found;
  size_t at = text_.find(after);
  if (at == std::string::npos)
    throw_input("{}: '{}' is missing; this file is not the one that this program knows", where_, after);
  const size_t end = std::min(text_.find(until, at + after.size()), text_.size());
  const std::string opening = "{\"" + first_key + "\"";
  for (at = text_.find(opening, at); at < end; at = text_.find(opening, at + 1)) {
    try {
      found.push_back(PythonParser(*this, text_, at, 0).expression());
    } catch (const Error&) {
      continue;  // built while the program runs: no prompt of its own
    }
  }
  return found;
}

}  // namespace ockham
