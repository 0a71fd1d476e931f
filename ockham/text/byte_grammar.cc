#include "ockham/text/byte_grammar.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/text/character_reader.h"

namespace ockham {
namespace {

constexpr size_t kMostElements = size_t{1} << 20;

ByteSet range_set(uint32_t first, uint32_t last) {
  ByteSet set;
  for (uint32_t byte = first; byte <= last; ++byte) set.set(byte);
  return set;
}

// UTF-8 of code points [first, last] as sequences of byte ranges: cut where the number of bytes changes, and where a
// leading byte does not stand before all of its continuations.
void append_utf8(uint32_t first, uint32_t last, std::vector<std::vector<std::pair<uint32_t, uint32_t>>>& sequences) {
  for (const uint32_t limit : {0x7Fu, 0x7FFu, 0xFFFFu}) {
    if (first > limit || last <= limit) continue;
    append_utf8(first, limit, sequences);
    append_utf8(limit + 1, last, sequences);
    return;
  }
  const std::string low = utf8_of(first), high = utf8_of(last);
  for (size_t tail = 1; tail < low.size(); ++tail) {
    const uint32_t mask = (1u << (6 * tail)) - 1;
    if ((first & ~mask) == (last & ~mask)) continue;
    if ((first & mask) != 0) {
      append_utf8(first, first | mask, sequences);
      append_utf8((first | mask) + 1, last, sequences);
      return;
    }
    if ((last & mask) != mask) {
      append_utf8(first, (last & ~mask) - 1, sequences);
      append_utf8(last & ~mask, last, sequences);
      return;
    }
  }
  auto& sequence = sequences.emplace_back();
  for (size_t i = 0; i < low.size(); ++i)
    sequence.emplace_back(static_cast<unsigned char>(low[i]), static_cast<unsigned char>(high[i]));
}

class GrammarCompiler {
 public:
  GrammarCompiler(const Grammar& grammar, const ByteSet& writable, const std::string& where)
      : grammar_(grammar), writable_(writable), where_(where) {}
  ByteGrammar compile();

 private:
  using Sequence = std::vector<int32_t>;
  void check_size(size_t coming) const;
  int32_t new_rule(int32_t named);
  void add_alternative(int32_t rule, const Sequence& sequence);
  void add_alternatives(int32_t rule, const GrammarExpression& expression);
  void append(const GrammarExpression& expression, Sequence& sequence);
  void append_repetition(const GrammarExpression& expression, Sequence& sequence);
  int32_t set_of(const ByteSet& set);
  int32_t characters_of(const std::vector<CharacterRange>& ranges);
  std::vector<bool> deriving(bool with_bytes) const;
  void leave_out_unwritable();
  void refuse_left_recursion() const;

  const Grammar& grammar_;
  const ByteSet& writable_;
  const std::string& where_;
  ByteGrammar result_;
  int32_t current_ = 0;         // the rule of `grammar_` that is being compiled
  std::vector<int32_t> named_;  // by rule of the result: the rule of `grammar_` that it came from
  std::map<std::vector<std::pair<uint32_t, uint32_t>>, int32_t> classes_;
  std::map<std::string, int32_t> sets_;
};

void GrammarCompiler::check_size(size_t coming) const {
  if (result_.elements.size() + result_.rules.size() + coming <= kMostElements) return;
  throw_input("{}: rule '{}' makes the grammar larger than {} elements; repeat less often, or nest less", where_,
              grammar_.rules[static_cast<size_t>(current_)].name, kMostElements);
}

int32_t GrammarCompiler::new_rule(int32_t named) {
  result_.rules.emplace_back();
  named_.push_back(named);
  return static_cast<int32_t>(result_.rules.size()) - 1;
}

void GrammarCompiler::add_alternative(int32_t rule, const Sequence& sequence) {
  check_size(sequence.size());
  result_.rules[static_cast<size_t>(rule)].push_back(static_cast<int32_t>(result_.elements.size()));
  result_.elements.insert(result_.elements.end(), sequence.begin(), sequence.end());
  result_.elements.push_back(ByteGrammar::kEnd);
}

void GrammarCompiler::add_alternatives(int32_t rule, const GrammarExpression& expression) {
  if (expression.kind == GrammarExpression::Kind::kAlternatives) {
    for (const GrammarExpression& part : expression.parts) add_alternatives(rule, part);
    return;
  }
  Sequence sequence;
  append(expression, sequence);
  add_alternative(rule, sequence);
}

int32_t GrammarCompiler::set_of(const ByteSet& set) {
  const auto [found, is_new] = sets_.emplace(set.to_string(), static_cast<int32_t>(result_.sets.size()));
  if (is_new) result_.sets.push_back(set & writable_);
  return found->second;
}

// An element for one character of these: a set where all are ASCII, else a rule.
int32_t GrammarCompiler::characters_of(const std::vector<CharacterRange>& ranges) {
  std::vector<std::pair<uint32_t, uint32_t>> key;
  for (const CharacterRange& range : ranges) key.emplace_back(range.first, range.last);
  if (const auto found = classes_.find(key); found != classes_.end()) return found->second;
  ByteSet single;
  std::vector<std::vector<std::pair<uint32_t, uint32_t>>> sequences;
  for (const auto& [first, last] : key) append_utf8(first, last, sequences);
  for (const auto& sequence : sequences)
    if (sequence.size() == 1) single |= range_set(sequence[0].first, sequence[0].second);
  int32_t element = set_of(single);
  if (!key.empty() && key.back().second > 0x7F) {
    const int32_t rule = new_rule(current_);
    if (single.any()) add_alternative(rule, {element});
    for (const auto& sequence : sequences) {
      Sequence bytes;
      for (const auto& [first, last] : sequence) bytes.push_back(set_of(range_set(first, last)));
      if (bytes.size() > 1) add_alternative(rule, bytes);
    }
    element = ByteGrammar::element_of(rule);
  }
  return classes_[key] = element;
}

void GrammarCompiler::append(const GrammarExpression& expression, Sequence& sequence) {
  switch (expression.kind) {
    case GrammarExpression::Kind::kLiteral:
      for (const char c : expression.text) {
        const auto byte = static_cast<unsigned char>(c);
        sequence.push_back(set_of(range_set(byte, byte)));
      }
      return;
    case GrammarExpression::Kind::kCharacters:
      sequence.push_back(characters_of(expression.ranges));
      return;
    case GrammarExpression::Kind::kRule:
      sequence.push_back(ByteGrammar::element_of(expression.rule));
      return;
    case GrammarExpression::Kind::kSequence:
      for (const GrammarExpression& part : expression.parts) append(part, sequence);
      return;
    case GrammarExpression::Kind::kAlternatives: {
      const int32_t rule = new_rule(current_);
      add_alternatives(rule, expression);
      sequence.push_back(ByteGrammar::element_of(rule));
      return;
    }
    case GrammarExpression::Kind::kRepetition:
      append_repetition(expression, sequence);
      return;
  }
}

// x{2,4} becomes x x up2 with up2 ::= x up1 | "", up1 ::= x | ""; x{2,} becomes x x all with all ::= x all | "".
void GrammarCompiler::append_repetition(const GrammarExpression& expression, Sequence& sequence) {
  Sequence part;
  append(expression.parts[0], part);
  if (part.empty() || expression.most == 0) return;
  int32_t element = part[0];
  if (part.size() > 1) {
    const int32_t rule = new_rule(current_);
    add_alternative(rule, part);
    element = ByteGrammar::element_of(rule);
  }
  check_size(sequence.size() + static_cast<size_t>(expression.least));
  sequence.insert(sequence.end(), static_cast<size_t>(expression.least), element);
  if (expression.most < 0) {
    const int32_t all = new_rule(current_);
    add_alternative(all, {element, ByteGrammar::element_of(all)});
    add_alternative(all, {});
    sequence.push_back(ByteGrammar::element_of(all));
    return;
  }
  int32_t next = -1;
  for (int64_t count = expression.least; count < expression.most; ++count) {
    const int32_t rule = new_rule(current_);
    add_alternative(rule, next < 0 ? Sequence{element} : Sequence{element, ByteGrammar::element_of(next)});
    add_alternative(rule, {});
    next = rule;
  }
  if (next >= 0) sequence.push_back(ByteGrammar::element_of(next));
}

// By rule: whether one of its alternatives has only elements that derive something: rules that do, and, with_bytes,
// sets that are not empty. So with bytes the rules that can be written to their end, without those that may be empty.
std::vector<bool> GrammarCompiler::deriving(bool with_bytes) const {
  std::vector<std::vector<std::pair<int32_t, int32_t>>> uses(result_.rules.size());  // alternatives, and their rules
  std::vector<int32_t> missing(result_.elements.size());  // by start of an alternative: elements that wait for a rule
  std::vector<bool> is_deriving(result_.rules.size());
  std::vector<int32_t> found;
  const auto mark = [&](int32_t rule) {
    if (is_deriving[static_cast<size_t>(rule)]) return;
    is_deriving[static_cast<size_t>(rule)] = true;
    found.push_back(rule);
  };
  for (size_t rule = 0; rule < result_.rules.size(); ++rule) {
    for (const int32_t start : result_.rules[rule]) {
      bool can_derive = true;
      for (auto at = static_cast<size_t>(start); result_.elements[at] != ByteGrammar::kEnd; ++at) {
        const int32_t element = result_.elements[at];
        if (!ByteGrammar::is_rule(element)) {
          can_derive = can_derive && with_bytes && result_.sets[static_cast<size_t>(element)].any();
          continue;
        }
        uses[static_cast<size_t>(ByteGrammar::rule_of(element))].emplace_back(start, static_cast<int32_t>(rule));
        ++missing[static_cast<size_t>(start)];
      }
      if (!can_derive)
        missing[static_cast<size_t>(start)] = -1;
      else if (missing[static_cast<size_t>(start)] == 0)
        mark(static_cast<int32_t>(rule));
    }
  }
  while (!found.empty()) {
    const int32_t rule = found.back();
    found.pop_back();
    for (const auto& [start, user] : uses[static_cast<size_t>(rule)]) {
      int32_t& left = missing[static_cast<size_t>(start)];
      if (left > 0 && --left == 0) mark(user);
    }
  }
  return is_deriving;
}

void GrammarCompiler::leave_out_unwritable() {
  const std::vector<bool> is_writable = deriving(true);
  if (!is_writable[static_cast<size_t>(result_.root)]) {
    std::string names;
    for (size_t rule = 0; rule < grammar_.rules.size() && names.size() < 200; ++rule)
      if (!is_writable[rule]) names += (names.empty() ? "'" : ", '") + grammar_.rules[rule].name + "'";
    throw_input(
        "{}: no text can be written: rules {} never end, or need bytes that no token of the vocabulary has; give them "
        "an alternative that ends",
        where_, names);
  }
  const auto has_dead_part = [&](int32_t start) {
    for (auto at = static_cast<size_t>(start); result_.elements[at] != ByteGrammar::kEnd; ++at) {
      const int32_t element = result_.elements[at];
      if (ByteGrammar::is_rule(element) ? !is_writable[static_cast<size_t>(ByteGrammar::rule_of(element))]
                                        : result_.sets[static_cast<size_t>(element)].none())
        return true;
    }
    return false;
  };
  for (std::vector<int32_t>& starts : result_.rules) std::erase_if(starts, has_dead_part);
}

// Rules that come round to themselves before a byte is written, with something of theirs left to write behind: a
// stack that grows for ever. Looks for strongly connected rules (Tarjan, without recursion) with such an edge inside.
void GrammarCompiler::refuse_left_recursion() const {
  struct Edge {
    int32_t to;
    bool is_last;  // nothing of the alternative comes behind
  };
  const std::vector<bool> may_be_empty = deriving(false);
  const size_t count = result_.rules.size();
  std::vector<std::vector<Edge>> edges(count);
  for (size_t rule = 0; rule < count; ++rule) {
    for (const int32_t start : result_.rules[rule]) {
      for (auto at = static_cast<size_t>(start); ByteGrammar::is_rule(result_.elements[at]); ++at) {
        const int32_t to = ByteGrammar::rule_of(result_.elements[at]);
        edges[rule].push_back({to, result_.elements[at + 1] == ByteGrammar::kEnd});
        if (!may_be_empty[static_cast<size_t>(to)]) break;
      }
    }
  }
  std::vector<int32_t> number(count, -1), lowest(count), component(count, -1), open;
  std::vector<std::pair<size_t, size_t>> path;  // rules, and the next edge of each
  int32_t next = 0;
  for (size_t first = 0; first < count; ++first) {
    if (number[first] >= 0) continue;
    path.emplace_back(first, 0);
    while (!path.empty()) {
      const size_t rule = path.back().first;
      if (path.back().second == 0 && number[rule] < 0) {
        number[rule] = lowest[rule] = next++;
        open.push_back(static_cast<int32_t>(rule));
      }
      if (path.back().second < edges[rule].size()) {
        const auto to = static_cast<size_t>(edges[rule][path.back().second++].to);
        if (number[to] < 0)
          path.emplace_back(to, 0);
        else if (component[to] < 0)
          lowest[rule] = std::min(lowest[rule], number[to]);
        continue;
      }
      path.pop_back();
      if (!path.empty()) lowest[path.back().first] = std::min(lowest[path.back().first], lowest[rule]);
      if (lowest[rule] != number[rule]) continue;
      for (int32_t member = -1; member != static_cast<int32_t>(rule); open.pop_back()) {
        member = open.back();
        component[static_cast<size_t>(member)] = static_cast<int32_t>(rule);
      }
    }
  }
  for (size_t rule = 0; rule < count; ++rule) {
    for (const Edge& edge : edges[rule]) {
      if (edge.is_last || component[static_cast<size_t>(edge.to)] != component[rule]) continue;
      throw_input(
          "{}: rule '{}' begins with itself (left recursion, over '{}'); write what it begins with first, and repeat "
          "the rest with *",
          where_, grammar_.rules[static_cast<size_t>(named_[rule])].name,
          grammar_.rules[static_cast<size_t>(named_[static_cast<size_t>(edge.to)])].name);
    }
  }
}

ByteGrammar GrammarCompiler::compile() {
  const auto count = static_cast<int32_t>(grammar_.rules.size());
  for (int32_t rule = 0; rule < count; ++rule) new_rule(rule);
  for (current_ = 0; current_ < count; ++current_)
    add_alternatives(current_, grammar_.rules[static_cast<size_t>(current_)].body);
  result_.root = grammar_.root;
  refuse_left_recursion();
  leave_out_unwritable();
  return std::move(result_);
}

}  // namespace

ByteGrammar compile_grammar(const Grammar& grammar, const ByteSet& writable, const std::string& where) {
  OCKHAM_CHECK(grammar.root >= 0 && grammar.root < static_cast<int32_t>(grammar.rules.size()));
  return GrammarCompiler(grammar, writable, where).compile();
}

}  // namespace ockham
