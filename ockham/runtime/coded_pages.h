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
  // first written.
  CodedPages(const CodedShape& shape, int64_t pages, int64_t longest);

  const CodedShape& shape() const { return shape_; }
  int64_t pages() const { return static_cast<int64_t>(references_.size()); }
  int64_t free_pages() const { return free_count_; }
  void open(int32_t sequence);
  // `child` begins with the first `tokens` of `length` tokens: blocks, or what the tail has.
  void fork(int32_t parent, int32_t child, int64_t tokens, int64_t length);
  void close(int32_t sequence);
  int64_t missing_pages(int32_t sequence, int64_t length, int64_t tokens) const;
  // Error(kResource), and nothing done, where pages are missing.
  void append(int32_t sequence, int64_t length, int64_t tokens);

  uint8_t* tail(int32_t sequence, int64_t block) {
    return tails_.data() + (at(sequence).tail * shape_.blocks + block) * shape_.tail_bytes;
  }
  const uint8_t* tail(int32_t sequence, int64_t block) const {
    return const_cast<CodedPages*>(this)->tail(sequence, block);
  }
  uint8_t* page(int32_t sequence, int64_t number, int64_t block) {
    const int32_t page = at(sequence).pages[static_cast<size_t>(number)];
    return codes_.data() + (page * shape_.blocks + block) * shape_.layout.page_bytes;
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
  void take_tail(Sequence& sequence);

  CodedShape shape_;
  int64_t longest_, free_count_;
  Buffer codes_, tails_;
  std::vector<int32_t> references_;               // sequences that hold each page
  std::vector<int32_t> free_codes_, free_tails_;  // the one that was used last is taken first
  std::vector<Sequence> sequences_;
};

}  // namespace ockham
