// A text read character by character, with the place for errors. For the parsers of grammars and patterns.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace ockham {

class CharacterReader {
 public:
  static constexpr uint32_t kEnd = 0xFFFFFFFF;  // what peek() gives behind the last character

  // Error(kInput) where `text` is not UTF-8. `text` and `where` must outlive it.
  CharacterReader(std::string_view text, const std::string& where);

  uint32_t peek() const { return at_ < text_.size() ? decode(at_).code : kEnd; }
  bool is_at_end() const { return at_ >= text_.size(); }
  uint32_t take();
  bool take_if(char wanted);
  bool starts_with(std::string_view text) const { return text_.substr(at_).starts_with(text); }
  void skip(size_t bytes) { at_ += bytes; }
  size_t at() const { return at_; }
  void go_to(size_t at) { at_ = at; }
  std::string_view text() const { return text_; }
  // Of `digits` hexadecimal digits.
  uint32_t take_hexadecimal(int digits);
  // A number without sign of at most 9 digits; `expected` says what it is.
  int64_t take_number(const std::string& expected);

  // Error(kInput): "WHERE, line 3, column 7: found 'x', expected EXPECTED".
  [[noreturn]] void refuse(const std::string& expected) const { refuse_at(at_, expected); }
  [[noreturn]] void refuse_at(size_t place, const std::string& expected) const;
  // Error(kInput): "WHERE, line 3, column 7: MESSAGE".
  [[noreturn]] void fail_at(size_t place, const std::string& message) const;

 private:
  struct Decoded {
    uint32_t code;
    size_t bytes;
  };
  Decoded decode(size_t at) const;
  std::string place_of(size_t at) const;

  std::string_view text_;
  const std::string& where_;
  size_t at_ = 0;
};

// How often something stands: `most` -1 for any number.
struct Repetitions {
  int64_t least = 1, most = 1;
};
// Takes '+', '?', '*', '{n}', '{n,}' or '{n,m}'; nothing where none of them follows. `skip_blanks` passes over what may
// stand between the braces and numbers. Error(kInput) for bounds in the wrong order or above `limit`.
std::optional<Repetitions> take_repetitions(CharacterReader& reader, int64_t limit,
                                            const std::function<void()>& skip_blanks);

// Error(kInput) where another repetition follows.
void refuse_repetitions(const CharacterReader& reader);

std::string utf8_of(uint32_t code);
// 255 for what is none.
uint8_t hexadecimal_digit(uint32_t code);

}  // namespace ockham
