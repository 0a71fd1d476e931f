#include "ockham/text/pattern_grammar.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/text/character_reader.h"

namespace ockham {
namespace {

using Ranges = std::vector<CharacterRange>;
using Spell = std::function<GrammarExpression(Ranges)>;

constexpr int kDeepestPatternGroup = 100;
constexpr int64_t kMostPatternRepetitions = 10000;

class PatternParser {
 public:
  PatternParser(const std::string& pattern, const std::string& where, const Spell& spell)
      : reader_(pattern, where), spell_(spell) {}
  GrammarExpression parse();

 private:
  GrammarExpression any_text() const { return GrammarExpression::repetition(spell_(complement({})), 0, -1); }
  GrammarExpression parse_alternatives(int depth);
  GrammarExpression parse_sequence(int depth);
  GrammarExpression parse_atom(int depth);
  GrammarExpression parse_group(int depth);
  GrammarExpression parse_repetition(GrammarExpression part);
  Ranges parse_class();
  Ranges take_escape();
  [[noreturn]] void refuse_feature(size_t place, const std::string& what) const {
    reader_.fail_at(place, what + " cannot be part of a grammar; write the pattern without");
  }

  CharacterReader reader_;
  const Spell& spell_;
};

// An anchor holds for one alternative only, so patterns of several are taken without.
GrammarExpression PatternParser::parse() {
  const bool is_anchored = reader_.take_if('^');
  std::vector<GrammarExpression> parts;
  if (!is_anchored) parts.push_back(any_text());
  const size_t start = reader_.at();
  GrammarExpression body = parse_alternatives(0);
  const bool has_choice = body.kind == GrammarExpression::Kind::kAlternatives;
  parts.push_back(std::move(body));
  const bool is_ended = reader_.take_if('$');
  if (!reader_.is_at_end()) reader_.refuse("the end of the pattern");
  if (has_choice && (is_anchored || is_ended))
    reader_.fail_at(start, "found '|' beside an anchor, expected a group: ^(a|b)$");
  if (!is_ended) parts.push_back(any_text());
  return GrammarExpression::sequence(std::move(parts));
}

GrammarExpression PatternParser::parse_alternatives(int depth) {
  if (depth > kDeepestPatternGroup)
    reader_.fail_at(reader_.at(), fmt::format("more than {} groups in each other", kDeepestPatternGroup));
  std::vector<GrammarExpression> choices;
  do {
    choices.push_back(parse_sequence(depth));
  } while (reader_.take_if('|'));
  return GrammarExpression::alternatives(std::move(choices));
}

GrammarExpression PatternParser::parse_sequence(int depth) {
  std::vector<GrammarExpression> parts;
  while (!reader_.is_at_end() && reader_.peek() != '|' && reader_.peek() != ')') {
    if (reader_.peek() == '$') {
      if (depth > 0) refuse_feature(reader_.at(), "an anchor within a group");
      break;
    }
    parts.push_back(parse_repetition(parse_atom(depth)));
  }
  return GrammarExpression::sequence(std::move(parts));
}

GrammarExpression PatternParser::parse_atom(int depth) {
  switch (reader_.peek()) {
    case '(':
      return parse_group(depth);
    case '[':
      return spell_(parse_class());
    case '.':
      reader_.take();
      return spell_(complement({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}));
    case '\\':
      return spell_(take_escape());
    case '^':
      refuse_feature(reader_.at(), "an anchor behind the beginning");
    case '*':
    case '+':
    case '?':
    case '{':
    case '}':
    case ']':
      reader_.refuse("a character; write \\ before it");
    default:
      break;
  }
  const uint32_t c = reader_.take();
  return spell_({{c, c}});
}

GrammarExpression PatternParser::parse_group(int depth) {
  const size_t place = reader_.at();
  reader_.take();
  if (reader_.take_if('?') && !reader_.take_if(':')) refuse_feature(place, "a group with '(?' other than '(?:'");
  GrammarExpression body = parse_alternatives(depth + 1);
  if (!reader_.take_if(')')) reader_.refuse("')' at the end of the group");
  return body;
}

// Lazy repetitions hold the same texts.
GrammarExpression PatternParser::parse_repetition(GrammarExpression part) {
  const auto found = take_repetitions(reader_, kMostPatternRepetitions, [] {});
  if (!found) return part;
  reader_.take_if('?');
  refuse_repetitions(reader_);
  return GrammarExpression::repetition(std::move(part), found->least, found->most);
}

// One character, or one of \d \w \s \D \W \S.
Ranges PatternParser::take_escape() {
  const size_t place = reader_.at();
  reader_.take();
  const Ranges digits = {{'0', '9'}}, words = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
               blanks = {{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
                         {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
  const uint32_t c = reader_.take();
  const auto one = [](uint32_t code) { return Ranges{{code, code}}; };
  switch (c) {
    case 'd':
      return digits;
    case 'D':
      return complement(digits);
    case 'w':
      return words;
    case 'W':
      return complement(words);
    case 's':
      return blanks;
    case 'S':
      return complement(blanks);
    case 'n':
      return one('\n');
    case 'r':
      return one('\r');
    case 't':
      return one('\t');
    case 'f':
      return one('\f');
    case 'v':
      return one('\v');
    case 'x':
      return one(reader_.take_hexadecimal(2));
    case 'u':
      return one(reader_.take_hexadecimal(4));
    case CharacterReader::kEnd:
      reader_.refuse("a character behind '\\'");
    default:
      break;
  }
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
    refuse_feature(place, "'\\" + utf8_of(c) + "'");
  return one(c);
}

Ranges PatternParser::parse_class() {
  const size_t place = reader_.at();
  reader_.take();
  const bool is_complement = reader_.take_if('^');
  Ranges ranges;
  const auto take = [&]() -> Ranges {
    if (reader_.peek() == '\\') return take_escape();
    const uint32_t c = reader_.take();
    return {{c, c}};
  };
  while (!reader_.take_if(']')) {
    if (reader_.is_at_end()) reader_.fail_at(place, "found no end of this class, expected ']'");
    const size_t start = reader_.at();
    Ranges part = take();
    const bool is_range = reader_.starts_with("-") && !reader_.starts_with("-]");
    if (is_range && part.size() == 1 && part[0].first == part[0].last) {
      reader_.take();
      const Ranges last = reader_.is_at_end() ? Ranges() : take();
      if (last.size() != 1 || last[0].first != last[0].last || last[0].first < part[0].first)
        reader_.fail_at(start, "expected a range from a lower character to a higher one");
      part[0].last = last[0].last;
    }
    ranges.insert(ranges.end(), part.begin(), part.end());
  }
  return is_complement ? complement(std::move(ranges)) : normalized(std::move(ranges));
}

}  // namespace

GrammarExpression pattern_grammar(const std::string& pattern, const std::string& where, const Spell& spell) {
  return PatternParser(pattern, where, spell).parse();
}

}  // namespace ockham
