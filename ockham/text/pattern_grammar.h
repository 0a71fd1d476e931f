// Regular expressions as grammars.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ockham/text/grammar.h"

namespace ockham {

// The texts in which an expression of JSON Schema's `pattern` (ECMA 262) is found: literals, escapes, classes, `.`,
// groups, alternatives, * + ? {m} {m,} {m,n}; `^` at the beginning and `$` at the end of the whole pattern only.
// `spell` says how one character out of some ranges is written. Error(kInput) with line and column for mistakes, and,
// by name, for what regular languages lack (lookaround, backreferences) or is left out here (word boundaries, \p).
GrammarExpression pattern_grammar(const std::string& pattern, const std::string& where,
                                  const std::function<GrammarExpression(std::vector<CharacterRange>)>& spell);

}  // namespace ockham
