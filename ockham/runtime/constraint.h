// Which tokens may come next, so that a text belongs to a grammar.
//
// TokenTrie holds a vocabulary by bytes, TokenGrammar a grammar over it with all masks found so far, for any number of
// sequences at once; TokenConstraint is one sequence's place in a text.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "ockham/text/grammar.h"
#include "ockham/text/grammar_matcher.h"

namespace ockham {

// Bit `id` of word `id / 64`: the token may come.
using TokenMask = std::vector<uint64_t>;

class TokenTrie {
 public:
  // `bytes` by id, "" for tokens that are no text; ids from `vocabulary` on, which the model does not know, are left
  // out.
  TokenTrie(std::vector<std::string> bytes, int64_t vocabulary);

  struct Node {
    int32_t parent_depth;             // 0 below the root
    int32_t end;                      // the first node that is not below this one
    int32_t first_token, last_token;  // of tokens() those that end here, without the last
    uint8_t byte;
  };
  const std::vector<Node>& nodes() const { return nodes_; }  // in depth-first order, without the root
  const std::vector<int32_t>& tokens() const { return tokens_; }
  const std::string& bytes(int32_t id) const { return bytes_[static_cast<size_t>(id)]; }
  int64_t vocabulary() const { return vocabulary_; }
  int32_t longest() const { return longest_; }  // bytes of a token
  // Bytes that are tokens of their own, so that every text of them can be written.
  const ByteSet& single_bytes() const { return single_bytes_; }

 private:
  int64_t vocabulary_;
  std::vector<std::string> bytes_;
  std::vector<Node> nodes_;
  std::vector<int32_t> tokens_;
  ByteSet single_bytes_;
  int32_t longest_ = 0;
};

// Thread-safe.
class TokenGrammar {
 public:
  // `where` names the grammar in errors; see compile_grammar() for them. What was found is forgotten where it takes
  // more than `most_bytes`.
  TokenGrammar(const Grammar& grammar, std::shared_ptr<const TokenTrie> trie, const std::string& where,
               size_t most_bytes = size_t{256} << 20);
  const TokenTrie& trie() const { return *trie_; }

 private:
  friend class TokenConstraint;
  std::shared_ptr<const TokenMask> find_mask(int32_t state);
  void forget_if_full();

  std::shared_ptr<const TokenTrie> trie_;
  std::mutex mutex_;
  GrammarMatcher matcher_;
  std::vector<std::shared_ptr<const TokenMask>> masks_;  // by state
  std::vector<int32_t> path_;                            // states along a token
  size_t most_bytes_, mask_bytes_ = 0;
  uint64_t epoch_ = 0;  // how often all was forgotten
};

class TokenConstraint {
 public:
  explicit TokenConstraint(std::shared_ptr<TokenGrammar> grammar);
  // The tokens that may come; valid until the next call of a member that is not const.
  const TokenMask& mask();
  // False, and nothing changes, where the token may not come.
  bool advance(int32_t id);
  // Whether the text may end here.
  bool is_accepting() const { return is_accepting_; }
  // Whether it must.
  bool is_complete() const { return is_complete_; }

 private:
  void find_state();
  void look_at(int32_t state);

  std::shared_ptr<TokenGrammar> grammar_;
  std::string text_;  // so far
  int32_t state_ = 0;
  uint64_t epoch_ = 0;  // of state_
  bool is_accepting_ = false, is_complete_ = false;
  std::shared_ptr<const TokenMask> mask_;
};

}  // namespace ockham
