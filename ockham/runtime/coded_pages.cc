#include "ockham/runtime/coded_pages.h"

#include <sys/mman.h>

#include <cstring>
#include <numeric>

#include "ockham/core/error.h"

namespace ockham {
namespace {

// Numbers 0 to count - 1, the first at the end.
std::vector<int32_t> descending(int64_t count) {
  std::vector<int32_t> numbers(static_cast<size_t>(count));
  std::iota(numbers.rbegin(), numbers.rend(), 0);
  return numbers;
}

// Memory that the system takes, as far as its own pages lie within: it holds zeros when it is written again.
void give_back(uint8_t* from, int64_t bytes) {
  constexpr uintptr_t kPage = 4096;
  const auto begin = reinterpret_cast<uintptr_t>(from), end = begin + static_cast<uintptr_t>(bytes);
  const uintptr_t first = (begin + kPage - 1) / kPage * kPage, last = end / kPage * kPage;
  if (first < last) madvise(from + (first - begin), last - first, MADV_DONTNEED);
}

}  // namespace

int64_t CodedShape::pages_of(int64_t tokens, int64_t shared) const {
  return tokens / CodedPages::kTokens - shared / CodedPages::kTokens + tail_pages();
}

CodedPages::Pieces::Pieces(int64_t count, int64_t bytes_of_one, int64_t pages_of_one)
    : memory(count * bytes_of_one),
      bytes(bytes_of_one),
      pages(pages_of_one),
      free(descending(count)),
      is_written(static_cast<size_t>(count)) {}

CodedPages::CodedPages(const CodedShape& shape, int64_t pages, int64_t longest)
    : shape_(shape),
      longest_(longest),
      free_count_(pages),
      codes_(pages, shape.page_bytes(), 1),
      tails_(pages / shape.tail_pages(), shape.blocks * shape.tail_bytes, shape.tail_pages()),
      references_(static_cast<size_t>(pages)) {}

bool CodedPages::release_one(Pieces& from) {
  for (const int32_t piece : from.free) {
    if (!from.is_written[static_cast<size_t>(piece)]) continue;
    give_back(from.at(piece), from.bytes);
    from.is_written[static_cast<size_t>(piece)] = false;
    written_count_ -= from.pages;
    return true;
  }
  return false;
}

int32_t CodedPages::take(Pieces& from) {
  const int32_t piece = from.free.back();
  from.free.pop_back();
  free_count_ -= from.pages;
  if (from.is_written[static_cast<size_t>(piece)]) return piece;
  from.is_written[static_cast<size_t>(piece)] = true;
  written_count_ += from.pages;
  while (written_count_ > pages() && (release_one(tails_) || release_one(codes_))) {
  }
  return piece;
}

void CodedPages::open(int32_t sequence) {
  const auto wanted = static_cast<size_t>(sequence) + 1;
  while (sequences_.size() < wanted)
    sequences_.emplace_back().pages.reserve(static_cast<size_t>(longest_ / kTokens + 1));
}

void CodedPages::fork(int32_t parent, int32_t child, int64_t tokens, int64_t length) {
  open(child);
  const Sequence& from = at(parent);
  Sequence& to = at(child);
  const bool has_tail = tokens % kTokens != 0;
  OCKHAM_CHECK(!has_tail || tokens / kTokens == length / kTokens);
  if (has_tail) {
    if (free_count_ < shape_.tail_pages())
      throw_error(ErrorKind::kResource, "the KV cache is full; allow it more memory or ask for less at once");
    to.tail = take(tails_);
    std::memcpy(tail(child, 0), tail(parent, 0), static_cast<size_t>(shape_.blocks * shape_.tail_bytes));
  }
  to.pages.assign(from.pages.begin(), from.pages.begin() + tokens / kTokens);
  for (const int32_t page : to.pages) ++references_[static_cast<size_t>(page)];
}

void CodedPages::close(int32_t sequence) {
  Sequence& closed = at(sequence);
  for (const int32_t page : closed.pages) {
    if (--references_[static_cast<size_t>(page)] > 0) continue;
    codes_.free.push_back(page);
    ++free_count_;
  }
  closed.pages.clear();
  if (closed.tail < 0) return;
  tails_.free.push_back(closed.tail);
  free_count_ += shape_.tail_pages();
  closed.tail = -1;
}

int64_t CodedPages::missing_pages(int32_t sequence, int64_t length, int64_t tokens) const {
  if (tokens == 0) return 0;
  return (length + tokens) / kTokens - length / kTokens + (at(sequence).tail < 0 ? shape_.tail_pages() : 0);
}

void CodedPages::append(int32_t sequence, int64_t length, int64_t tokens) {
  if (missing_pages(sequence, length, tokens) > free_count_)
    throw_error(ErrorKind::kResource, "the KV cache of {} tokens is full; allow it more memory or ask for less at once",
                (pages() - shape_.tail_pages()) * kTokens);
  if (tokens == 0) return;
  Sequence& own = at(sequence);
  if (own.tail < 0) own.tail = take(tails_);
  for (int64_t number = length / kTokens; number < (length + tokens) / kTokens; ++number) {
    own.pages.push_back(take(codes_));
    references_[static_cast<size_t>(own.pages.back())] = 1;
  }
}

}  // namespace ockham
