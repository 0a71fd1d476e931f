// Walks through the texts of a grammar byte by byte: a pushdown automaton whose states are found as they are needed.
//
// A state is a set of stacks; stacks share their lower parts and are kept once, as are states and the steps between
// them. So a place in a text that looks alike costs only the first time. A state with more than kMostStacks keeps the
// first ones: the grammar gets narrower there, never wrong. Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "ockham/text/byte_grammar.h"

namespace ockham {

class GrammarMatcher {
 public:
  static constexpr int32_t kDead = -1;  // the state behind a byte that does not fit
  static constexpr size_t kMostStacks = 8192;

  explicit GrammarMatcher(ByteGrammar grammar);
  int32_t start() const { return start_; }
  int32_t next(int32_t state, uint8_t byte) {
    const int32_t known = steps_[static_cast<size_t>(state) * classes_.size() + class_of_[byte]];
    return known != kUnknown ? known : find_next(state, class_of_[byte]);
  }
  // Whether the text may end here.
  bool is_accepting(int32_t state) const { return states_[static_cast<size_t>(state)].is_accepting; }
  // Whether anything may follow.
  bool may_go_on(int32_t state) const { return !states_[static_cast<size_t>(state)].stacks.empty(); }

  size_t states() const { return states_.size(); }
  // Of all that was found so far, roughly.
  size_t bytes() const { return bytes_; }
  // Forgets all that was found; states but start() are no longer valid.
  void clear();

 private:
  static constexpr int32_t kUnknown = -2;
  using Stacks = std::vector<int32_t>;
  // `element` is where to go on, `below` the frame behind its alternative; frame 0 is the end of the text.
  struct Frame {
    int32_t element, below;
  };
  struct State {
    Stacks stacks;  // frames whose element is a set, in the order of the grammar
    bool is_accepting = false;
  };
  struct StacksHash {
    size_t operator()(const std::pair<Stacks, bool>& state) const;
  };
  void find_classes();
  int32_t find_next(int32_t state, size_t byte_class);
  int32_t frame(int32_t element, int32_t below);
  // The state of all stacks that `open_` comes to.
  int32_t expand();
  int32_t state_of(Stacks stacks, bool is_accepting);

  ByteGrammar grammar_;
  std::array<uint8_t, 256> class_of_{};  // bytes that no set tells apart are of one class
  std::vector<uint8_t> classes_;         // one byte of each
  std::vector<Frame> frames_;
  std::unordered_map<uint64_t, int32_t> frame_ids_;
  std::vector<State> states_;
  std::unordered_map<std::pair<Stacks, bool>, int32_t, StacksHash> state_ids_;
  std::vector<int32_t> steps_;  // [states, classes]
  std::vector<Frame> open_;     // of expand()
  std::unordered_set<uint64_t> seen_;
  size_t bytes_ = 0;
  int32_t start_ = 0;
};

}  // namespace ockham
