// A grammar over bytes: rules of alternatives of elements, laid out flat, as the matcher walks through it.
//
// Repetitions have become rules of their own, characters the bytes of their UTF-8. Every rule that is left can be
// written to its end, whatever has been written so far, so a matcher never runs into a dead end.
#pragma once

#include <bitset>
#include <cstdint>
#include <string>
#include <vector>

#include "ockham/text/grammar.h"

namespace ockham {

using ByteSet = std::bitset<256>;

struct ByteGrammar {
  static constexpr int32_t kEnd = -1;  // of an alternative

  // Elements of all alternatives one behind another, each ended by kEnd: an index of `sets`, or -2 - rule.
  std::vector<int32_t> elements;
  std::vector<ByteSet> sets;
  std::vector<std::vector<int32_t>> rules;  // of each rule: where its alternatives begin in `elements`
  int32_t root = 0;

  static bool is_rule(int32_t element) { return element < kEnd; }
  static int32_t rule_of(int32_t element) { return -2 - element; }
  static int32_t element_of(int32_t rule) { return -2 - rule; }
};

// `writable`: bytes that can be written one by one; what needs others is left out. Error(kInput), naming `where`, for a
// grammar that nothing can be written in, with rules that begin with themselves (left recursion) or too large.
ByteGrammar compile_grammar(const Grammar& grammar, const ByteSet& writable, const std::string& where);

}  // namespace ockham
