#include "ockham/runtime/constraint.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "ockham/core/error.h"

namespace ockham {

TokenTrie::TokenTrie(std::vector<std::string> bytes, int64_t vocabulary)
    : vocabulary_(vocabulary), bytes_(std::move(bytes)) {
  bytes_.resize(static_cast<size_t>(vocabulary));
  for (size_t id = 0; id < bytes_.size(); ++id) {
    if (!bytes_[id].empty()) tokens_.push_back(static_cast<int32_t>(id));
    if (bytes_[id].size() == 1) single_bytes_.set(static_cast<unsigned char>(bytes_[id][0]));
  }
  std::stable_sort(tokens_.begin(), tokens_.end(),
                   [this](int32_t a, int32_t b) { return this->bytes(a) < this->bytes(b); });
  std::vector<size_t> path;  // nodes above, by depth
  for (size_t place = 0; place < tokens_.size(); ++place) {
    const std::string& text = this->bytes(tokens_[place]);
    const std::string& before = place == 0 ? std::string() : this->bytes(tokens_[place - 1]);
    const auto common = static_cast<size_t>(
        std::mismatch(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(std::min(text.size(), before.size())),
                      before.begin())
            .first -
        text.begin());
    for (; path.size() > common; path.pop_back()) nodes_[path.back()].end = static_cast<int32_t>(nodes_.size());
    for (size_t depth = common; depth < text.size(); ++depth) {
      path.push_back(nodes_.size());
      nodes_.push_back({static_cast<int32_t>(depth), 0, static_cast<int32_t>(place), static_cast<int32_t>(place),
                        static_cast<uint8_t>(text[depth])});
    }
    nodes_[path.back()].last_token = static_cast<int32_t>(place) + 1;
    longest_ = std::max(longest_, static_cast<int32_t>(text.size()));
  }
  for (const size_t node : path) nodes_[node].end = static_cast<int32_t>(nodes_.size());
}

TokenGrammar::TokenGrammar(const Grammar& grammar, std::shared_ptr<const TokenTrie> trie, const std::string& where,
                           size_t most_bytes)
    : trie_(std::move(trie)),
      matcher_(compile_grammar(grammar, trie_->single_bytes(), where)),
      path_(static_cast<size_t>(trie_->longest()) + 1),
      most_bytes_(most_bytes) {}

// Under the lock, as all below.
void TokenGrammar::forget_if_full() {
  if (matcher_.bytes() + mask_bytes_ <= most_bytes_) return;
  matcher_.clear();
  masks_.clear();
  mask_bytes_ = 0;
  ++epoch_;
}

std::shared_ptr<const TokenMask> TokenGrammar::find_mask(int32_t state) {
  if (masks_.size() < matcher_.states()) masks_.resize(matcher_.states());
  if (const auto& known = masks_[static_cast<size_t>(state)]) return known;
  auto mask = std::make_shared<TokenMask>(static_cast<size_t>((trie_->vocabulary() + 63) / 64));
  const std::vector<TokenTrie::Node>& nodes = trie_->nodes();
  const std::vector<int32_t>& tokens = trie_->tokens();
  path_[0] = state;
  for (size_t i = 0; i < nodes.size();) {
    const TokenTrie::Node& node = nodes[i];
    const auto depth = static_cast<size_t>(node.parent_depth);
    const int32_t next = matcher_.next(path_[depth], node.byte);
    if (next == GrammarMatcher::kDead) {
      i = static_cast<size_t>(node.end);
      continue;
    }
    path_[depth + 1] = next;
    for (int32_t place = node.first_token; place < node.last_token; ++place) {
      const auto id = static_cast<uint32_t>(tokens[static_cast<size_t>(place)]);
      (*mask)[id / 64] |= uint64_t{1} << id % 64;
    }
    ++i;
  }
  masks_.resize(matcher_.states());
  mask_bytes_ += mask->size() * sizeof(uint64_t);
  return masks_[static_cast<size_t>(state)] = std::move(mask);
}

TokenConstraint::TokenConstraint(std::shared_ptr<TokenGrammar> grammar) : grammar_(std::move(grammar)) {
  const std::lock_guard lock(grammar_->mutex_);
  epoch_ = grammar_->epoch_;
  look_at(grammar_->matcher_.start());
}

void TokenConstraint::look_at(int32_t state) {
  state_ = state;
  is_accepting_ = grammar_->matcher_.is_accepting(state);
  is_complete_ = is_accepting_ && !grammar_->matcher_.may_go_on(state);
  mask_.reset();
}

// Anew from the beginning of the text where others had the states forgotten.
void TokenConstraint::find_state() {
  grammar_->forget_if_full();
  if (epoch_ == grammar_->epoch_) return;
  int32_t state = grammar_->matcher_.start();
  for (const char c : text_) state = grammar_->matcher_.next(state, static_cast<uint8_t>(c));
  epoch_ = grammar_->epoch_;
  state_ = state;
}

const TokenMask& TokenConstraint::mask() {
  if (mask_ == nullptr) {
    const std::lock_guard lock(grammar_->mutex_);
    find_state();
    mask_ = grammar_->find_mask(state_);
  }
  return *mask_;
}

bool TokenConstraint::advance(int32_t id) {
  if (id < 0 || id >= grammar_->trie().vocabulary()) return false;
  const std::string& bytes = grammar_->trie().bytes(id);
  if (bytes.empty()) return false;
  const std::lock_guard lock(grammar_->mutex_);
  find_state();
  int32_t state = state_;
  for (const char c : bytes) {
    state = grammar_->matcher_.next(state, static_cast<uint8_t>(c));
    if (state == GrammarMatcher::kDead) return false;
  }
  text_ += bytes;
  look_at(state);
  return true;
}

}  // namespace ockham
