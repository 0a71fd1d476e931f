// Grammars of texts that a model may write, as trees of expressions over Unicode characters.
//
// parse_grammar() reads GBNF, the notation of llama.cpp: `name ::= alternatives`, one rule or more, of which `root` is
// the start. An alternative is a sequence of "literals", [character classes], [^complements], `.` for any character,
// names and (groups), each of them repeated by * + ? {m} {m,} {m,n}; `#` begins a comment. A rule ends with its line
// unless a group is open or `|` ends the line. Escapes: \n \r \t \\ \" \[ \] \- \^ \xHH \uHHHH \UHHHHHHHH.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ockham {

struct CharacterRange {
  uint32_t first = 0, last = 0;  // code points, both included
  bool operator==(const CharacterRange&) const = default;
};

// Sorted, without overlaps and without surrogates, which are no characters.
std::vector<CharacterRange> normalized(std::vector<CharacterRange> ranges);
// All other characters.
std::vector<CharacterRange> complement(std::vector<CharacterRange> ranges);

struct GrammarExpression {
  enum class Kind { kLiteral, kCharacters, kRule, kSequence, kAlternatives, kRepetition };
  Kind kind = Kind::kSequence;
  std::string text;                      // of kLiteral: UTF-8
  std::vector<CharacterRange> ranges;    // of kCharacters, normalized
  int32_t rule = -1;                     // of kRule
  std::vector<GrammarExpression> parts;  // of kSequence (none: the empty text), kAlternatives, kRepetition (one)
  int64_t least = 0, most = -1;          // of kRepetition; -1: without end

  static GrammarExpression literal(std::string text);
  static GrammarExpression characters(std::vector<CharacterRange> ranges);
  static GrammarExpression reference(int32_t rule);
  static GrammarExpression sequence(std::vector<GrammarExpression> parts);
  static GrammarExpression alternatives(std::vector<GrammarExpression> parts);
  static GrammarExpression repetition(GrammarExpression part, int64_t least, int64_t most);
};

struct GrammarRule {
  std::string name;
  GrammarExpression body;
};

struct Grammar {
  std::vector<GrammarRule> rules;
  int32_t root = 0;
};

// Error(kInput) names `where`, line, column, what was found and what was expected; also for rules that are used and not
// defined, or defined twice.
Grammar parse_grammar(std::string_view text, const std::string& where);

}  // namespace ockham
