// Keys and values of all sequences in pages of 32 tokens. A page holds its tokens for every block of the model; it may
// belong to several sequences that share a prefix, and is copied when one of them writes into it.
//
// Within a page, for each block: keys [kv_heads, D, 32], values [kv_heads, 32, W] (W: D rounded up to 16), which is how
// attention multiplies with them: queries [., D] by keys, weights [., 32] by values, nothing to be turned. Of int8 keys
// and values the scales follow, [32] each.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "ockham/core/dtype.h"
#include "ockham/kernels/buffer.h"
#include "ockham/runtime/vectors.h"

namespace ockham {

struct KvShape {
  int64_t blocks = 0, kv_heads = 0, head_dim = 0;
  // Or kBF16, which rounds keys and values to nearest, or kI8: 127 steps of the largest magnitude of each token and
  // head.
  DType type = DType::kF32;
};

class PagedCache {
 public:
  static constexpr int64_t kPageTokens = kPageKeys;
  // Memory for so many pages is reserved here and taken from the system when it is first written.
  // `longest`: tokens of a sequence for which no list grows any more.
  PagedCache(const KvShape& shape, int64_t pages, int64_t longest);

  // Bytes of one page, and how many pages `tokens` tokens need.
  static int64_t page_bytes(const KvShape& shape);
  static int64_t pages_of(int64_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

  // A new sequence without tokens. Numbers of closed sequences are given out again.
  int32_t open();
  // A new sequence that begins with the first `tokens` tokens of another, without copying them.
  int32_t fork(int32_t sequence, int64_t tokens);
  void close(int32_t sequence);
  int64_t length(int32_t sequence) const { return at(sequence).length; }  // tokens stored
  // The position that the next token gets: one more than that of the last.
  int32_t next_position(int32_t sequence) const { return at(sequence).next_position; }

  int64_t pages() const { return static_cast<int64_t>(references_.size()); }
  int64_t free_pages() const { return static_cast<int64_t>(free_.size()); }
  // Free pages that append() will take.
  int64_t missing_pages(int32_t sequence, int64_t tokens) const;
  // Room for `tokens` more at the positions that follow. Error(kResource) where no page is free.
  void append(int32_t sequence, int64_t tokens);
  // Writes token `index` of a sequence for one block: k and v [kv_heads * D]. Different tokens may be written from
  // different threads.
  void store(int64_t block, int32_t sequence, int64_t index, const float* k, const float* v);

  // What attention reads of one page of a sequence, for one block and one head of keys.
  int64_t views(int32_t sequence) const { return pages_of(length(sequence)); }
  AttentionPage view(int32_t sequence, int64_t page, int64_t block, int64_t head) const;

  const KvShape& shape() const { return shape_; }
  int64_t value_width() const { return value_width_; }
  int64_t references(int32_t sequence, int64_t page) const {
    return references_[static_cast<size_t>(at(sequence).pages[static_cast<size_t>(page)])];
  }

 private:
  struct Sequence {
    std::vector<int32_t> pages;
    int64_t length = 0;
    int32_t next_position = 0;
    bool is_open = false;
  };
  const Sequence& at(int32_t sequence) const { return sequences_[static_cast<size_t>(sequence)]; }
  Sequence& at(int32_t sequence) { return sequences_[static_cast<size_t>(sequence)]; }
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
  template <typename Element>
  Slot<Element> slot(int64_t block, int32_t sequence, int64_t index, int64_t head);

  KvShape shape_;
  int64_t value_width_, head_bytes_, block_bytes_, page_bytes_, longest_;
  Buffer memory_;
  std::vector<int32_t> positions_;   // [pages, 32]
  std::vector<int32_t> references_;  // sequences that hold each page
  // Smallest and largest position in each page; of tokens that a fork left behind, too.
  struct Range {
    int32_t first = std::numeric_limits<int32_t>::max(), last = -1;
  };
  std::vector<Range> ranges_;
  std::vector<int32_t> free_;  // the one that was used last is taken first
  std::vector<Sequence> sequences_;
  std::vector<int32_t> closed_;  // numbers to give out again
};

}  // namespace ockham
