// Memory of sequences that keep every token in codes: full blocks of 64 tokens in pages of codes (kv_codes.h), which
// several sequences may share, since nobody writes into them again; the newest tokens in a tail of floats of the
// sequence's own. Counted in pages, of which one stands for 64 tokens in every block of the model; a tail counts for as
// many as its bytes are.
#pragma once

#include <cstdint>
#include <vector>

#include "ockham/kernels/buffer.h"
#include "ockham/runtime/kv_codes.h"

namespace ockham {

struct CodedShape {
  KvCodeLayout layout;
  int64_t blocks = 0;      // of the model
  int64_t tail_bytes = 0;  // of one of them
  int64_t page_bytes() const { return blocks * layout.page_bytes; }
  int64_t tail_pages() const { return (blocks * tail_bytes + page_bytes() - 1) / page_bytes(); }
  // Of a sequence with so many tokens, beyond the pages that it shares with another of which it has `shared` tokens.
  int64_t pages_of(int64_t tokens, int64_t shared) const;
};

class CodedPages {
 public:
  static constexpr int64_t kTokens = 64;
  // Memory for so many pages, and again for as many tails as that, is reserved and taken from the system when it is
  // first written. What is free gives way there when written memory would be more than `pages` pages: so it is where
  // short texts come, which take tails, and then long ones.
  CodedPages(const CodedShape& shape, int64_t pages, int64_t longest);

  const CodedShape& shape() const { return shape_; }
  int64_t pages() const { return static_cast<int64_t>(references_.size()); }
  int64_t free_pages() const { return free_count_; }
  int64_t written_pages() const { return written_count_; }
  void open(int32_t sequence);
  // `child` begins with the first `tokens` of `length` tokens: blocks, or what the tail has.
  void fork(int32_t parent, int32_t child, int64_t tokens, int64_t length);
  void close(int32_t sequence);
  int64_t missing_pages(int32_t sequence, int64_t length, int64_t tokens) const;
  // Error(kResource), and nothing done, where pages are missing.
  void append(int32_t sequence, int64_t length, int64_t tokens);

  uint8_t* tail(int32_t sequence, int64_t block) { return tails_.at(at(sequence).tail) + block * shape_.tail_bytes; }
  const uint8_t* tail(int32_t sequence, int64_t block) const {
    return const_cast<CodedPages*>(this)->tail(sequence, block);
  }
  uint8_t* page(int32_t sequence, int64_t number, int64_t block) {
    const int32_t page = at(sequence).pages[static_cast<size_t>(number)];
    return codes_.at(page) + block * shape_.layout.page_bytes;
  }
  const uint8_t* page(int32_t sequence, int64_t number, int64_t block) const {
    return const_cast<CodedPages*>(this)->page(sequence, number, block);
  }
  int64_t references(int32_t sequence, int64_t number) const {
    return references_[static_cast<size_t>(at(sequence).pages[static_cast<size_t>(number)])];
  }

 private:
  struct Sequence {
    std::vector<int32_t> pages;
    int32_t tail = -1;
  };
  const Sequence& at(int32_t sequence) const { return sequences_[static_cast<size_t>(sequence)]; }
  Sequence& at(int32_t sequence) { return sequences_[static_cast<size_t>(sequence)]; }
  // Pieces of one kind, pages or tails: which were given out since the system had their memory last.
  struct Pieces {
    Buffer memory;
    int64_t bytes = 0, pages = 0;  // of each; pages that it counts for
    std::vector<int32_t> free;     // the one that was used last is taken first
    std::vector<bool> is_written;
    Pieces(int64_t count, int64_t bytes, int64_t pages);
    uint8_t* at(int64_t index) { return memory.data() + index * bytes; }
  };
  int32_t take(Pieces& from);
  // Whether there was a free piece whose memory the system got.
  bool release_one(Pieces& from);

  CodedShape shape_;
  int64_t longest_, free_count_, written_count_ = 0;
  Pieces codes_, tails_;
  std::vector<int32_t> references_;  // sequences that hold each page
  std::vector<Sequence> sequences_;
};

}  // namespace ockham
