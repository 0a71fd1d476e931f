// GBNF as llama.cpp's users write it.
#include <algorithm>
#include <map>

#include "ockham/core/error.h"
#include "ockham/text/character_reader.h"
#include "ockham/text/grammar.h"

namespace ockham {
namespace {

constexpr int kDeepestGroup = 100;
constexpr int64_t kMostRepetitions = 100000;

bool is_name(uint32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

class GrammarParser {
 public:
  GrammarParser(std::string_view text, const std::string& where) : reader_(text, where) {}
  Grammar parse();

 private:
  void skip_blanks(bool over_lines);
  std::string take_name(const std::string& expected);
  int32_t rule_named(const std::string& name, size_t place);
  void parse_rule();
  GrammarExpression parse_alternatives(int depth);
  GrammarExpression parse_sequence(int depth);
  bool parse_element(int depth, GrammarExpression& element);
  GrammarExpression parse_repetition(GrammarExpression part);
  std::string parse_literal();
  GrammarExpression parse_class();
  uint32_t take_character();
  uint32_t take_escape();

  CharacterReader reader_;
  Grammar grammar_;
  std::map<std::string, int32_t> names_;
  std::vector<size_t> first_uses_;  // by rule: where it was named first
  std::vector<bool> is_defined_;
};

// Blanks and comments; over line ends only where a rule may go on.
void GrammarParser::skip_blanks(bool over_lines) {
  while (!reader_.is_at_end()) {
    const uint32_t c = reader_.peek();
    if (c == '#') {
      while (!reader_.is_at_end() && reader_.peek() != '\n') reader_.take();
    } else if (c == ' ' || c == '\t' || c == '\r' || (c == '\n' && over_lines)) {
      reader_.take();
    } else {
      return;
    }
  }
}

std::string GrammarParser::take_name(const std::string& expected) {
  std::string name;
  while (is_name(reader_.peek())) name += static_cast<char>(reader_.take());
  if (name.empty()) reader_.refuse(expected);
  return name;
}

int32_t GrammarParser::rule_named(const std::string& name, size_t place) {
  const auto [found, is_new] = names_.emplace(name, static_cast<int32_t>(grammar_.rules.size()));
  if (is_new) {
    grammar_.rules.push_back({name, {}});
    first_uses_.push_back(place);
    is_defined_.push_back(false);
  }
  return found->second;
}

Grammar GrammarParser::parse() {
  skip_blanks(true);
  while (!reader_.is_at_end()) {
    parse_rule();
    skip_blanks(true);
  }
  const auto root = names_.find("root");
  if (root == names_.end() || !is_defined_[static_cast<size_t>(root->second)])
    reader_.fail_at(reader_.text().size(), "found no rule named 'root', expected one: the text as a whole");
  for (size_t rule = 0; rule < is_defined_.size(); ++rule) {
    if (!is_defined_[rule])
      reader_.fail_at(first_uses_[rule], "rule '" + grammar_.rules[rule].name + "' is used, but nowhere defined");
  }
  grammar_.root = root->second;
  return std::move(grammar_);
}

void GrammarParser::parse_rule() {
  const size_t place = reader_.at();
  const std::string name = take_name("the name of a rule (letters, digits, '-')");
  const auto rule = static_cast<size_t>(rule_named(name, place));
  if (is_defined_[rule]) reader_.fail_at(place, "rule '" + name + "' is defined a second time");
  skip_blanks(false);
  if (!reader_.starts_with("::=")) reader_.refuse("'::=' behind the name '" + name + "'");
  reader_.skip(3);
  is_defined_[rule] = true;
  skip_blanks(true);
  GrammarExpression body = parse_alternatives(0);
  grammar_.rules[rule].body = std::move(body);
  skip_blanks(false);
  if (!reader_.is_at_end() && !reader_.take_if('\n'))
    reader_.refuse("a literal, a class, a name, a group, '|' or the end of the line");
}

GrammarExpression GrammarParser::parse_alternatives(int depth) {
  if (depth > kDeepestGroup) reader_.fail_at(reader_.at(), fmt::format("more than {} groups in each other", depth - 1));
  std::vector<GrammarExpression> choices;
  do {
    skip_blanks(true);
    choices.push_back(parse_sequence(depth));
    skip_blanks(depth > 0);
  } while (reader_.take_if('|'));
  return GrammarExpression::alternatives(std::move(choices));
}

GrammarExpression GrammarParser::parse_sequence(int depth) {
  std::vector<GrammarExpression> parts;
  GrammarExpression element;
  while (parse_element(depth, element)) {
    skip_blanks(depth > 0);
    parts.push_back(parse_repetition(std::move(element)));
    skip_blanks(depth > 0);
    element = {};
  }
  return GrammarExpression::sequence(std::move(parts));
}

// False where none begins. A name before '::=' begins the next rule.
bool GrammarParser::parse_element(int depth, GrammarExpression& element) {
  const uint32_t c = reader_.peek();
  if (c == '"') {
    element = GrammarExpression::literal(parse_literal());
  } else if (c == '[') {
    element = parse_class();
  } else if (c == '.') {
    reader_.take();
    element = GrammarExpression::characters(complement({}));
  } else if (c == '(') {
    reader_.take();
    element = parse_alternatives(depth + 1);
    if (!reader_.take_if(')')) reader_.refuse("')' at the end of the group");
  } else if (is_name(c)) {
    const size_t place = reader_.at();
    const std::string name = take_name("the name of a rule");
    skip_blanks(false);
    if (reader_.starts_with("::=")) {
      if (depth > 0) reader_.refuse("')' before the next rule");
      reader_.go_to(place);
      return false;
    }
    reader_.go_to(place + name.size());
    element = GrammarExpression::reference(rule_named(name, place));
  } else {
    return false;
  }
  return true;
}

GrammarExpression GrammarParser::parse_repetition(GrammarExpression part) {
  const auto found = take_repetitions(reader_, kMostRepetitions, [this] { skip_blanks(false); });
  if (!found) return part;
  skip_blanks(false);
  refuse_repetitions(reader_);
  return GrammarExpression::repetition(std::move(part), found->least, found->most);
}

uint32_t GrammarParser::take_escape() {
  const size_t place = reader_.at();
  reader_.take();
  switch (const uint32_t c = reader_.peek(); c) {
    case 'n':
      reader_.take();
      return '\n';
    case 'r':
      reader_.take();
      return '\r';
    case 't':
      reader_.take();
      return '\t';
    case 'x':
      reader_.take();
      return reader_.take_hexadecimal(2);
    case 'u':
      reader_.take();
      return reader_.take_hexadecimal(4);
    case 'U':
      reader_.take();
      return reader_.take_hexadecimal(8);
    case '\\':
    case '"':
    case '[':
    case ']':
    case '-':
    case '^':
      reader_.take();
      return c;
    default:
      reader_.refuse_at(place + 1, R"(one of n r t x u U \ " [ ] - ^ behind '\')");
  }
}

uint32_t GrammarParser::take_character() {
  const size_t place = reader_.at();
  const uint32_t code = reader_.peek() == '\\' ? take_escape() : reader_.take();
  if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
    reader_.fail_at(place, fmt::format("U+{:04X} is not a character", code));
  return code;
}

std::string GrammarParser::parse_literal() {
  const size_t place = reader_.at();
  reader_.take();
  std::string text;
  while (reader_.peek() != '"') {
    if (reader_.is_at_end()) reader_.fail_at(place, "found no end of this literal, expected '\"'");
    text += utf8_of(take_character());
  }
  reader_.take();
  return text;
}

GrammarExpression GrammarParser::parse_class() {
  const size_t place = reader_.at();
  reader_.take();
  const bool is_complement = reader_.take_if('^');
  std::vector<CharacterRange> ranges;
  while (reader_.peek() != ']') {
    if (reader_.is_at_end()) reader_.fail_at(place, "found no end of this class, expected ']'");
    const size_t start = reader_.at();
    CharacterRange range;
    range.first = range.last = take_character();
    if (reader_.starts_with("-") && !reader_.starts_with("-]")) {
      reader_.take();
      if (reader_.is_at_end()) continue;
      range.last = take_character();
      if (range.last < range.first)
        reader_.fail_at(start, "the range runs backwards, expected the lower character first");
    }
    ranges.push_back(range);
  }
  reader_.take();
  if (ranges.empty() && !is_complement) reader_.fail_at(place, "found an empty class, expected a character");
  return GrammarExpression::characters(is_complement ? complement(std::move(ranges)) : std::move(ranges));
}

}  // namespace

Grammar parse_grammar(std::string_view text, const std::string& where) {
  return GrammarParser(text, where).parse();
}

}  // namespace ockham
