// Which tokens a sequence keeps under a KV-cache policy, for each block and head of keys. Bookkeeping alone: slots with
// the position of their token, the attention that it has received, what was merged into it; the keys and values lie in
// the pages of PagedCache.
//
// Tokens come by append(). Behind a prompt, or a chunk of one, choose() and compact() leave the budget's tokens in the
// first slots. Behind a single token drop_one() frees a slot, which the next token gets: nothing is moved.
// All heads of a block keep equally many. What happens depends on the tokens and their attention alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ockham/core/kv_policy.h"

namespace ockham {

// What a policy asks for when `read` tokens were read. Tokens are dropped in the order of their ranks; those of rank
// kFree by their score (or age where by_score is false), the others by age, lowest first, ties by the lowest position.
struct KvRule {
  enum Rank { kFree, kColumn, kRecent, kSink };

  int64_t read = 0, kept = 0;
  int64_t sinks = 0, recent = 0;  // the first and the newest tokens
  // Columns of the Sparse Transformer's patterns: position p is one where p mod stride = stride - 1, or where it is
  // among the last `summary` of a stretch; 0: none.
  int64_t stride = 0, stretch = 0, summary = 0;
  bool by_score = false;

  // Strides and stretches are powers of two, so that the columns of a longer text are among those of a shorter one:
  // half of what heavy hitters leave of the budget are columns, half the newest tokens.
  static KvRule of(const KvPolicy& policy, int64_t read, int64_t block = 0, int64_t blocks = 1);
  Rank rank(int64_t position) const;
};

// Slots that a sequence holds at most, in one of a model's blocks, while it reads `prompt` tokens and goes on to
// `longest` of them in all. The first block never holds fewer than another.
int64_t most_kv_slots(const KvPolicy& policy, int64_t prompt, int64_t longest, int64_t block = 0, int64_t blocks = 1);
// Tokens after which the next eviction is due when `read` of a prompt of `prompt` tokens were read: a multiple of the
// policy's chunk, or the whole prompt; behind it every token.
int64_t next_kv_cut(const KvPolicy& policy, int64_t read, int64_t prompt);
// The policy as a text is scored under that has no prompt: its chunk, where it states none, is 32 tokens.
KvPolicy kv_policy_of_text(const KvPolicy& policy);

// The slots of one head of keys; lists that the policy has no use for are null.
struct KvHead {
  int32_t* positions;
  float* scores;                     // accumulated attention: sums of probabilities over queries and their heads
  float *weights, *logs;             // tokens merged into the slot, and the logarithm of that to base 2
  float *key_errors, *value_errors;  // of quantizing the token: L2 norms
  int32_t* places;                   // among the kept, by position: what a rotation is by
};

class KvChoice {
 public:
  // An empty sequence; room for `slots`, more when they are needed.
  void reset(const KvPolicy& policy, int64_t blocks, int64_t heads, int64_t slots);

  const KvPolicy& policy() const { return policy_; }
  int64_t read() const { return read_; }  // tokens
  // In use in a block, the free one among them; the first block has the most.
  int64_t slots(int64_t block = 0) const { return part(block).slots; }
  bool has_free_slot(int64_t block = 0) const { return part(block).has_free; }
  int64_t free_slot(int64_t block, int64_t head) const { return free_[unit(block, head)]; }
  // Nothing was dropped so far.
  bool is_complete() const;
  KvHead head(int64_t block, int64_t head) const;
  // Room for so many, which append() does not have to make.
  void reserve(int64_t slots);

  // Only the first tokens, where is_complete() and nobody counts attention; or all that were read.
  void truncate(int64_t tokens);
  // Slots for the next tokens, the free one first.
  void append(int64_t tokens);
  // Of a token that came since the last eviction.
  int64_t slot(int64_t block, int64_t head, int64_t position) const {
    return position == part(block).filled ? free_[unit(block, head)] : position - (read_ - slots(block));
  }
  // Its place among the kept, of which all blocks have equally many where somebody asks.
  int64_t place(int64_t position) const { return position - (read_ - slots()); }
  // Bounds of the positions in a block's slots [begin, end).
  struct Bounds {
    int32_t first, last;
  };
  Bounds bounds(int64_t block, int64_t begin, int64_t end) const;

  // Tokens beyond the budget, in a block and at most.
  int64_t excess(int64_t block) const;
  int64_t excess() const;
  // Before drop_one() or choose() of the heads of a block that has too many; of one thread. `is_prompt`: errors of
  // quantization are compared with those of all tokens so far, otherwise with those of the prompt.
  void prepare(int64_t block, bool is_prompt);
  // Frees the slot of one token and returns it. Heads in parallel.
  int64_t drop_one(int64_t block, int64_t head);
  // Decides which slots go, by position, and which stay, in ascending order; until compact() or the next call for the
  // same head. Heads in parallel.
  void choose(int64_t block, int64_t head);
  std::span<const int32_t> dropped(int64_t block, int64_t head) const {
    return order(block, head).first(static_cast<size_t>(excess(block)));
  }
  std::span<const int32_t> kept(int64_t block, int64_t head) const {
    return order(block, head).subspan(static_cast<size_t>(excess(block)));
  }
  // Slot i gets what slot kept()[i] has.
  void compact(int64_t block, int64_t head);
  // When all heads of all blocks that had too many are through: after drop_one(), or after compact().
  void finish(bool is_compacted);

  // Of the last choose() of all heads: the share of the accumulated attention that stays; 1 without scores.
  double kept_share() const;

 private:
  size_t unit(int64_t block, int64_t head) const { return static_cast<size_t>(block * heads_ + head); }
  std::span<const int32_t> order(int64_t block, int64_t head) const {
    return {order_.data() + head * stride_, static_cast<size_t>(slots(block))};
  }
  // What is where in one block.
  struct Part {
    int64_t slots = 0;
    int64_t cut_read = 0, cut_slots = 0;  // at the last eviction
    int64_t filled = -1;                  // position of the token that took the free slot since
    bool has_free = false;
  };
  const Part& part(int64_t block) const { return parts_[static_cast<size_t>(block)]; }
  void append(int64_t tokens, int64_t block);
  bool weighs_errors() const { return policy_.attention_weight < 1; }
  const float* combined(int64_t block, int64_t head);
  void sort_by_rank(const KvHead& own, const float* scores, std::span<int32_t> slots, int64_t drops) const;

  KvPolicy policy_;
  KvRule rule_;
  int64_t blocks_ = 0, heads_ = 0, stride_ = 0, read_ = 0;
  std::vector<Part> parts_{1};  // of each block
  std::vector<int32_t> free_;   // [blocks, heads]
  std::vector<int32_t> order_;  // [heads, stride]: slots, those that go first
  std::vector<float> mixed_;    // [heads, stride]: scores of attention and errors together
  // [blocks, heads, stride], or nothing. Mutable: a page's view is constant, what it points at is written by nobody
  // else.
  mutable std::vector<int32_t> positions_, places_;
  mutable std::vector<float> scores_, weights_, logs_, key_errors_, value_errors_;
  // Of one block: what the ranges of scores and errors make of them.
  struct Range {
    float lowest = 0, width = 0;
    bool is_set = false;
  };
  Range score_range_;
  std::vector<Range> key_ranges_, value_ranges_;  // of each block
  std::vector<double> mass_, kept_mass_;          // [blocks, heads]
};

}  // namespace ockham
