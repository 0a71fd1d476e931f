#include "ockham/text/character_reader.h"

#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/io/file.h"

namespace ockham {

CharacterReader::CharacterReader(std::string_view text, const std::string& where) : text_(text), where_(where) {
  if (const size_t bad = find_invalid_utf8(std::string(text)); bad != std::string::npos)
    throw_input("{}: byte {} is not UTF-8; convert the text", where, bad);
}

// The text is UTF-8, as the constructor has seen.
CharacterReader::Decoded CharacterReader::decode(size_t at) const {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(text_[at + i])); };
  const uint32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  if (first < 0xE0) return {(first & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (first < 0xF0) return {(first & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(first & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F), 4};
}

uint32_t CharacterReader::take() {
  if (is_at_end()) return kEnd;
  const Decoded decoded = decode(at_);
  at_ += decoded.bytes;
  return decoded.code;
}

bool CharacterReader::take_if(char wanted) {
  if (is_at_end() || text_[at_] != wanted) return false;
  ++at_;
  return true;
}

uint32_t CharacterReader::take_hexadecimal(int digits) {
  uint32_t value = 0;
  for (int i = 0; i < digits; ++i) {
    const uint8_t digit = hexadecimal_digit(peek());
    if (digit == 255) refuse(fmt::format("{} hexadecimal digits", digits));
    value = value << 4 | digit;
    take();
  }
  return value;
}

int64_t CharacterReader::take_number(const std::string& expected) {
  const size_t start = at_;
  int64_t value = 0;
  while (peek() >= '0' && peek() <= '9') {
    if (at_ - start == 9) fail_at(start, fmt::format("{} has more than 9 digits", expected));
    value = value * 10 + (take() - '0');
  }
  if (at_ == start) refuse(expected);
  return value;
}

std::string CharacterReader::place_of(size_t at) const {
  const std::string_view before = text_.substr(0, at);
  const size_t line_start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  const auto is_start = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
  return fmt::format(
      "{}, line {}, column {}", where_, 1 + std::count(before.begin(), before.end(), '\n'),
      1 + std::count_if(before.begin() + static_cast<std::ptrdiff_t>(line_start), before.end(), is_start));
}

void CharacterReader::refuse_at(size_t place, const std::string& expected) const {
  std::string found = "the end";
  if (place < text_.size()) {
    const Decoded decoded = decode(place);
    found = decoded.code == '\n'  ? "the end of the line"
            : decoded.code < 0x20 ? fmt::format("the character U+{:04X}", decoded.code)
                                  : "'" + std::string(text_.substr(place, decoded.bytes)) + "'";
  }
  throw_input("{}: found {}, expected {}", place_of(place), found, expected);
}

void CharacterReader::fail_at(size_t place, const std::string& message) const {
  throw_input("{}: {}", place_of(place), message);
}

std::optional<Repetitions> take_repetitions(CharacterReader& reader, int64_t limit,
                                            const std::function<void()>& skip_blanks) {
  const size_t place = reader.at();
  if (reader.take_if('+')) return Repetitions{1, -1};
  if (reader.take_if('?')) return Repetitions{0, 1};
  if (reader.take_if('*')) return Repetitions{0, -1};
  if (!reader.take_if('{')) return {};
  Repetitions found;
  skip_blanks();
  found.least = found.most = reader.take_number("a number of repetitions");
  skip_blanks();
  if (reader.take_if(',')) {
    skip_blanks();
    found.most = reader.peek() == '}' ? -1 : reader.take_number("a number of repetitions or '}'");
    skip_blanks();
  }
  if (!reader.take_if('}')) reader.refuse("'}' behind the number of repetitions");
  if (found.most >= 0 && found.most < found.least)
    reader.fail_at(place, fmt::format("found {{{},{}}}, expected the smaller number first", found.least, found.most));
  if (const int64_t most = std::max(found.least, found.most); most > limit)
    reader.fail_at(place, fmt::format("found {} repetitions, expected at most {}", most, limit));
  return found;
}

void refuse_repetitions(const CharacterReader& reader) {
  if (const uint32_t c = reader.peek(); c == '*' || c == '+' || c == '?' || c == '{')
    reader.refuse("a group around what is repeated twice");
}

std::string utf8_of(uint32_t code) {
  const auto tail = [code](int shift) { return static_cast<char>(0x80 | (code >> shift & 0x3F)); };
  if (code < 0x80) return {static_cast<char>(code)};
  if (code < 0x800) return {static_cast<char>(0xC0 | code >> 6), tail(0)};
  if (code < 0x10000) return {static_cast<char>(0xE0 | code >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | code >> 18), tail(12), tail(6), tail(0)};
}

uint8_t hexadecimal_digit(uint32_t code) {
  if (code >= '0' && code <= '9') return static_cast<uint8_t>(code - '0');
  if (code >= 'a' && code <= 'f') return static_cast<uint8_t>(code - 'a' + 10);
  if (code >= 'A' && code <= 'F') return static_cast<uint8_t>(code - 'A' + 10);
  return 255;
}

}  // namespace ockham
