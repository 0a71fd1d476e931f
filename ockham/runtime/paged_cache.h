// Keys and values of all sequences in pages of 32 tokens of one block of the model. A page may belong to several
// sequences that share a prefix, and is copied when one of them writes into it. Where pages are counted (pages(),
// free_pages(), missing_pages(), page_bytes()), one stands for 32 tokens in every block.
//
// Within a page: keys [kv_heads, D, 32], values [kv_heads, 32, W] (W: D rounded up to 16), which is how attention
// multiplies with them: queries [., D] by keys, weights [., 32] by values, nothing to be turned. Of int8 keys and
// values the scales follow, [32] each.
//
// Where a policy stores every token in codes, pages are those of CodedPages: what was said of a page's tokens is true
// of two pages of floats for each sequence, which hold the tokens of its last block of 64. A block is coded once, by
// encode(), when its last token is there. A query sees the tokens of its own block as floats and all before it in
// codes, so what it sees does not depend on how a text was cut into passes; the engine stores, attends and encodes
// block by block.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ockham/core/dtype.h"
#include "ockham/core/kv_policy.h"
#include "ockham/kernels/buffer.h"
#include "ockham/runtime/coded_pages.h"
#include "ockham/runtime/kv_choice.h"
#include "ockham/runtime/vectors.h"

namespace ockham {

struct KvShape {
  int64_t blocks = 0, kv_heads = 0, head_dim = 0;
  // Or kBF16, which rounds keys and values to nearest, or kI8: 127 steps of the largest magnitude of each token and
  // head.
  DType type = DType::kF32;
  KvPolicy policy = {};  // how tokens are stored; which ones stay is each sequence's own

  // Every token stays, in blocks of codes. Tokens that may be dropped are in codes one by one.
  bool is_coded() const { return policy.is_quantized() && !policy.evicts(); }
  bool has_coded_tokens() const { return policy.is_quantized() && policy.evicts(); }
};

// What has happened since the last reset, of all sequences.
struct KvUse {
  int64_t most_pages = 0;                    // in use at once
  int64_t page_bytes = 0;                    // of each
  int64_t tokens_read = 0, tokens_kept = 0;  // when sequences were closed
  int64_t pages_kept = 0;                    // then, as if nothing were shared
  int64_t prompt_cuts = 0;                   // evictions behind prompts and chunks of them
  double mass = 0;                           // sum over these of the share of accumulated attention that stayed
  int64_t most_bytes() const { return most_pages * page_bytes; }
  double kept_share() const {
    return tokens_read > 0 ? static_cast<double>(tokens_kept) / static_cast<double>(tokens_read) : 1;
  }
  double bytes_per_token() const {
    return tokens_read > 0 ? static_cast<double>(pages_kept * page_bytes) / static_cast<double>(tokens_read) : 0;
  }
  double kept_mass() const { return prompt_cuts > 0 ? mass / static_cast<double>(prompt_cuts) : 1; }
};

// What happens behind the tokens of a span: nothing, eviction as behind a prompt, or as behind one token.
enum class KvCut { kNone, kPrompt, kStep };

class PagedCache {
 public:
  static constexpr int64_t kPageTokens = kPageKeys;
  // Memory for so many pages is reserved here and taken from the system when it is first written.
  // `longest`: tokens of a sequence for which no list grows any more.
  PagedCache(const KvShape& shape, int64_t pages, int64_t longest);

  // Bytes of one page; pages of floats for so many tokens.
  static int64_t page_bytes(const KvShape& shape);
  static int64_t pages_of(int64_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }
  // Pages of a sequence of so many tokens, beyond those of `shared` tokens that it has in common with another.
  static int64_t needed_pages(const KvShape& shape, int64_t tokens, int64_t shared = 0);
  int64_t needed_pages(int64_t tokens, int64_t shared = 0) const { return needed_pages(shape_, tokens, shared); }
  // Pages that a sequence takes at most, alone, under a policy: most_kv_slots() of all blocks.
  static int64_t claimed_pages(const KvShape& shape, const KvPolicy& policy, int64_t prompt, int64_t longest);
  // Tokens of the longest sequence that fits.
  int64_t capacity() const;
  // The longest beginning of `tokens` common tokens that fork() takes of any sequence that has them.
  int64_t shareable(int64_t tokens) const {
    return codes_ ? tokens / CodedPages::kTokens * CodedPages::kTokens : tokens;
  }

  // A new sequence without tokens. Numbers of closed sequences are given out again.
  int32_t open();
  // The same under a policy; `slots`: most_kv_slots(), for which no list grows any more. One that evicts nothing is as
  // none: how tokens are stored is the cache's own.
  int32_t open(const KvPolicy& policy, int64_t slots);
  // A new sequence that begins with the first `tokens` tokens of another, without copying them; of codes: a number that
  // is shareable(), or one in the parent's last block, whose floats are copied.
  int32_t fork(int32_t sequence, int64_t tokens);
  // Under a policy: with all tokens of the other, or with those before its first eviction where nobody counts their
  // attention.
  bool can_fork(int32_t sequence, int64_t tokens) const;
  void close(int32_t sequence);
  int64_t length(int32_t sequence) const { return at(sequence).length; }  // tokens read
  // The position that the next token gets: one more than that of the last.
  int32_t next_position(int32_t sequence) const { return static_cast<int32_t>(length(sequence)); }

  int64_t pages() const { return codes_ ? codes_->pages() : static_cast<int64_t>(references_.size()) / shape_.blocks; }
  int64_t free_pages() const {
    return codes_ ? codes_->free_pages() : static_cast<int64_t>(free_.size()) / shape_.blocks;
  }
  // Free pages that append() and an eviction behind it will take, at most.
  int64_t missing_pages(int32_t sequence, int64_t tokens, KvCut cut = KvCut::kNone) const;
  // Free pages that a sequence may still take until it has `longest` tokens, the first `prompt` of them read.
  int64_t claimed_pages(int32_t sequence, int64_t prompt, int64_t longest) const;
  // Room for `tokens` more at the positions that follow. Error(kResource) where no page is free.
  void append(int32_t sequence, int64_t tokens);
  // Writes token `index` of a sequence for one block: k and v [kv_heads * D], k not rotated where is_rolling().
  // Different tokens may be written from different threads.
  void store(int64_t block, int32_t sequence, int64_t index, const float* k, const float* v);

  // What attention reads of 32 tokens of a sequence, for one block and one head of keys; of codes, where the last query
  // is that of token `seen` - 1.
  int64_t views(int32_t sequence, int64_t block = 0) const { return pages_of(slots(sequence, block)); }
  AttentionPage view(int32_t sequence, int64_t page, int64_t block, int64_t head, int64_t seen) const {
    AttentionPage result;
    view(sequence, page, block, head, seen, {&result, 1});
    return result;
  }
  AttentionPage view(int32_t sequence, int64_t page, int64_t block, int64_t head) const {
    return view(sequence, page, block, head, slots(sequence, block));
  }
  // The same of pages [page, page + views.size()).
  void view(int32_t sequence, int64_t page, int64_t block, int64_t head, int64_t seen,
            std::span<AttentionPage> views) const;

  // Where tokens are in codes: their layout, otherwise null.
  const KvCodeLayout* codes() const { return layout_.bits > 0 ? &layout_ : nullptr; }
  // Codes of block `number` of 64 tokens out of the floats that are there now. In parts, which may be in different
  // threads: the keys of each head, then the values of all.
  int64_t encoding_parts() const { return shape_.kv_heads + 1; }
  void encode(int64_t block, int32_t sequence, int64_t number, int64_t part, KvBlockWriter& writer);
  // The codes of the first block for all others, too: caches that are to be measured, not used.
  void repeat_first_block(int32_t sequence);

  bool evicts(int32_t sequence) const { return at(sequence).evicts; }
  bool is_rolling(int32_t sequence) const {
    return evicts(sequence) && at(sequence).choice.policy().positions == KvPolicy::Positions::kRolling;
  }
  bool counts_attention(int32_t sequence) const {
    return evicts(sequence) && at(sequence).choice.policy().needs_scores();
  }
  // Places of keys and values that each head of a block holds; the first block has the most.
  int64_t slots(int32_t sequence, int64_t block = 0) const { return slots(at(sequence), block); }
  KvChoice& choice(int32_t sequence) { return at(sequence).choice; }

  // Eviction behind the tokens that came last. begin_cut(), false where nothing goes; then for each block
  // prepare_cut() and cut_head() of every head, these in parallel; then end_cut(). Or cut(), which is all of it.
  bool begin_cut(int32_t sequence, KvCut cut);
  void prepare_cut(int32_t sequence, int64_t block);
  void cut_head(int32_t sequence, int64_t block, int64_t head);
  void end_cut(int32_t sequence);
  // Whether a cut that has begun drops a token of each head by that head's own attention: then it may follow when that
  // is counted, before other heads are through.
  bool drops_by_head(int32_t sequence) const;
  void cut(int32_t sequence, KvCut cut);

  KvUse use() const;
  void reset_use();

  const KvShape& shape() const { return shape_; }
  int64_t value_width() const { return value_width_; }
  int64_t references(int32_t sequence, int64_t page) const {
    if (codes_) return codes_->references(sequence, page);
    return references_[static_cast<size_t>(at(sequence).pages[0][static_cast<size_t>(page)])];
  }

 private:
  struct Sequence {
    std::vector<std::vector<int32_t>> pages;  // of each block
    int64_t length = 0;
    bool is_open = false;
    bool evicts = false;  // then `choice` says what is where
    KvChoice choice;
    KvCut cut = KvCut::kNone;  // that is going on
    bool compacts = false;
    std::vector<float> room;  // [kv_heads, 4, D], of merging
  };
  const Sequence& at(int32_t sequence) const { return sequences_[static_cast<size_t>(sequence)]; }
  Sequence& at(int32_t sequence) { return sequences_[static_cast<size_t>(sequence)]; }
  static int64_t slots(const Sequence& own, int64_t block) { return own.evicts ? own.choice.slots(block) : own.length; }
  void reserve_positions(int64_t tokens);
  int32_t take_page();
  void release_page(int32_t page);
  void make_own(int32_t& page);
  uint8_t* data(int32_t page) { return memory_.data() + page * page_bytes_; }
  const uint8_t* data(int32_t page) const { return memory_.data() + page * page_bytes_; }
  // The place of one token: `keys` kPageTokens apart, `values` one after another.
  template <typename Element>
  struct Slot {
    Element *keys, *values;
    float *key_scale, *value_scale;
  };
  // `index`: of a page's slots, counted through.
  template <typename Element>
  Slot<Element> slot(int64_t block, int32_t sequence, int64_t index, int64_t head);
  // Where slot `index` of a sequence is: its page, of floats where there are blocks of codes.
  uint8_t* page_at(int64_t block, int32_t sequence, int64_t index);
  // Of a page of floats or bytes: where the head's keys and values are.
  AttentionPage stored_page(const uint8_t* from, int64_t head) const;
  template <typename Element>
  void gather(int64_t block, int32_t sequence, int64_t part, float* x);
  // body(Slot<Element>, ...) of the cache's type for each of the slots.
  template <typename Body, typename... Indices>
  void with_slots(int64_t block, int32_t sequence, int64_t head, const Body& body, Indices... indices);
  void write(int64_t block, int32_t sequence, int64_t index, int64_t head, const float* k, const float* v);
  void read(int64_t block, int32_t sequence, int64_t index, int64_t head, float* k, float* v);
  void note_errors(Sequence& own, int64_t block, int64_t head, int64_t index, const float* k, const float* v) const;
  void move_kept(int32_t sequence, int64_t block, int64_t head);
  void merge(int32_t sequence, int64_t block, int64_t head, int64_t victim, std::span<const int32_t> kept);
  int64_t missing_blocks(const Sequence& own, int64_t tokens, KvCut cut) const;
  int64_t shared_pages(const std::vector<int32_t>& list, int64_t count) const;

  KvShape shape_;
  KvCodeLayout layout_;
  int64_t value_width_, head_bytes_, page_bytes_, longest_;
  Buffer memory_;
  std::vector<int32_t> references_;  // sequences that hold each page
  std::vector<int32_t> free_;        // the one that was used last is taken first
  std::vector<int32_t> positions_;   // 0, 1, ...: of the tokens of a sequence that keeps all
  std::vector<Sequence> sequences_;
  std::vector<int32_t> closed_;  // numbers to give out again
  KvUse use_;
  std::optional<CodedPages> codes_;
};

template <typename Element>
PagedCache::Slot<Element> PagedCache::slot(int64_t block, int32_t sequence, int64_t index, int64_t head) {
  const int64_t place = index % kPageTokens;
  auto* keys = reinterpret_cast<Element*>(page_at(block, sequence, index) + head * head_bytes_);
  Element* values = keys + kPageTokens * shape_.head_dim;
  auto* scales = reinterpret_cast<float*>(values + kPageTokens * value_width_);
  return {keys + place, values + place * value_width_, scales + place, scales + kPageTokens + place};
}

template <typename Body, typename... Indices>
void PagedCache::with_slots(int64_t block, int32_t sequence, int64_t head, const Body& body, Indices... indices) {
  if (shape_.type == DType::kI8) return body(slot<int8_t>(block, sequence, indices, head)...);
  if (shape_.type == DType::kBF16) return body(slot<uint16_t>(block, sequence, indices, head)...);
  body(slot<float>(block, sequence, indices, head)...);
}

}  // namespace ockham
