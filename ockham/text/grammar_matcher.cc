#include "ockham/text/grammar_matcher.h"

#include <map>

namespace ockham {
namespace {

uint64_t key_of(int32_t element, int32_t below) {
  return static_cast<uint64_t>(static_cast<uint32_t>(element)) << 32 | static_cast<uint32_t>(below);
}

}  // namespace

size_t GrammarMatcher::StacksHash::operator()(const std::pair<Stacks, bool>& state) const {
  uint64_t hash = state.second ? 0x9E3779B97F4A7C15u : 0;
  for (const int32_t stack : state.first) {
    hash = (hash ^ static_cast<uint32_t>(stack)) * 0xFF51AFD7ED558CCDu;
    hash ^= hash >> 32;
  }
  return hash;
}

GrammarMatcher::GrammarMatcher(ByteGrammar grammar) : grammar_(std::move(grammar)) {
  find_classes();
  clear();
}

void GrammarMatcher::find_classes() {
  class_of_.fill(0);
  size_t count = 1;
  for (const ByteSet& set : grammar_.sets) {
    std::map<std::pair<uint8_t, bool>, uint8_t> parts;
    for (size_t byte = 0; byte < 256; ++byte) {
      const auto part = parts.emplace(std::pair(class_of_[byte], set[byte]), static_cast<uint8_t>(parts.size())).first;
      class_of_[byte] = part->second;
    }
    count = parts.size();
  }
  classes_.resize(count);
  for (size_t byte = 0; byte < 256; ++byte) classes_[class_of_[byte]] = static_cast<uint8_t>(byte);
}

void GrammarMatcher::clear() {
  frames_.assign(1, Frame{-1, -1});
  frame_ids_.clear();
  states_.clear();
  state_ids_.clear();
  steps_.clear();
  bytes_ = 0;
  for (const int32_t start : grammar_.rules[static_cast<size_t>(grammar_.root)]) open_.push_back({start, 0});
  start_ = expand();
}

int32_t GrammarMatcher::frame(int32_t element, int32_t below) {
  const auto [found, is_new] = frame_ids_.emplace(key_of(element, below), static_cast<int32_t>(frames_.size()));
  if (is_new) {
    frames_.push_back({element, below});
    bytes_ += 64;
  }
  return found->second;
}

int32_t GrammarMatcher::expand() {
  Stacks stacks;
  bool is_accepting = false;
  seen_.clear();
  while (!open_.empty()) {
    const Frame top = open_.back();
    open_.pop_back();
    if (!seen_.insert(key_of(top.element, top.below)).second) continue;
    if (!stacks.empty() && (seen_.size() > 16 * kMostStacks || stacks.size() >= kMostStacks)) continue;
    const int32_t element = grammar_.elements[static_cast<size_t>(top.element)];
    if (element == ByteGrammar::kEnd) {
      if (top.below == 0)
        is_accepting = true;
      else
        open_.push_back(frames_[static_cast<size_t>(top.below)]);
    } else if (ByteGrammar::is_rule(element)) {
      // What stands last leaves nothing to come back to.
      const bool is_last = grammar_.elements[static_cast<size_t>(top.element) + 1] == ByteGrammar::kEnd;
      const int32_t below = is_last ? top.below : frame(top.element + 1, top.below);
      const std::vector<int32_t>& starts = grammar_.rules[static_cast<size_t>(ByteGrammar::rule_of(element))];
      for (auto start = starts.rbegin(); start != starts.rend(); ++start) open_.push_back({*start, below});
    } else {
      stacks.push_back(frame(top.element, top.below));
    }
  }
  return state_of(std::move(stacks), is_accepting);
}

int32_t GrammarMatcher::state_of(Stacks stacks, bool is_accepting) {
  if (stacks.empty() && !is_accepting) return kDead;
  const auto [found, is_new] =
      state_ids_.emplace(std::pair(std::move(stacks), is_accepting), static_cast<int32_t>(states_.size()));
  if (is_new) {
    states_.push_back({found->first.first, is_accepting});
    steps_.resize(steps_.size() + classes_.size(), kUnknown);
    bytes_ += 160 + 8 * states_.back().stacks.size() + 4 * classes_.size();
  }
  return found->second;
}

int32_t GrammarMatcher::find_next(int32_t state, size_t byte_class) {
  for (const int32_t stack : states_[static_cast<size_t>(state)].stacks) {
    const Frame top = frames_[static_cast<size_t>(stack)];
    const auto set = static_cast<size_t>(grammar_.elements[static_cast<size_t>(top.element)]);
    if (grammar_.sets[set][classes_[byte_class]]) open_.push_back({top.element + 1, top.below});
  }
  const int32_t next = open_.empty() ? kDead : expand();
  steps_[static_cast<size_t>(state) * classes_.size() + byte_class] = next;
  return next;
}

}  // namespace ockham
