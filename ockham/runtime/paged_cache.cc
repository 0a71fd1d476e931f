#include "ockham/runtime/paged_cache.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ockham/core/error.h"
#include "ockham/core/half.h"

namespace ockham {
namespace {

constexpr int64_t kPage = PagedCache::kPageTokens;

int64_t width_of(const KvShape& shape) {
  return (shape.head_dim + 15) / 16 * 16;
}
// Keys and values of one head in a page.
int64_t bytes_of_head(const KvShape& shape) {
  const int64_t scales = shape.type == DType::kI8 ? 2 * kPage * static_cast<int64_t>(sizeof(float)) : 0;
  return kPage * (shape.head_dim + width_of(shape)) * dtype_size(shape.type) + scales;
}

// Codes of x [count], `step` apart; what they are multiplied by.
float round_to_bytes(const float* x, int64_t count, int8_t* codes, int64_t step) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(x[i]));
  const float inverse = largest > 0 ? 127 / largest : 0;
  for (int64_t i = 0; i < count; ++i) codes[i * step] = static_cast<int8_t>(std::nearbyint(x[i] * inverse));
  return largest / 127;
}

}  // namespace

int64_t PagedCache::page_bytes(const KvShape& shape) {
  return shape.blocks * shape.kv_heads * bytes_of_head(shape);
}

PagedCache::PagedCache(const KvShape& shape, int64_t pages, int64_t longest)
    : shape_(shape),
      value_width_(width_of(shape)),
      head_bytes_(bytes_of_head(shape)),
      block_bytes_(shape.kv_heads * head_bytes_),
      page_bytes_(page_bytes(shape)),
      longest_(longest),
      memory_(pages * page_bytes_) {
  OCKHAM_CHECK(shape.type == DType::kF32 || shape.type == DType::kBF16 || shape.type == DType::kI8);
  positions_.resize(static_cast<size_t>(pages * kPage));
  references_.resize(static_cast<size_t>(pages));
  ranges_.resize(static_cast<size_t>(pages));
  for (int64_t page = pages; page-- > 0;) free_.push_back(static_cast<int32_t>(page));
}

int32_t PagedCache::open() {
  if (closed_.empty()) {
    closed_.push_back(static_cast<int32_t>(sequences_.size()));
    sequences_.emplace_back();
    closed_.reserve(sequences_.size());
    sequences_.back().pages.reserve(static_cast<size_t>(pages_of(longest_)));
  }
  const int32_t sequence = closed_.back();
  closed_.pop_back();
  at(sequence).is_open = true;
  return sequence;
}

int32_t PagedCache::fork(int32_t sequence, int64_t tokens) {
  OCKHAM_CHECK(at(sequence).is_open && tokens >= 0 && tokens <= length(sequence));
  const int32_t child = open();
  const Sequence& parent = at(sequence);
  Sequence& result = at(child);
  const int64_t pages = pages_of(tokens);
  result.pages.assign(parent.pages.begin(), parent.pages.begin() + pages);
  for (const int32_t page : result.pages) ++references_[static_cast<size_t>(page)];
  result.length = tokens;
  result.next_position =
      tokens == 0 ? 0 : positions_[static_cast<size_t>(result.pages.back() * kPage + (tokens - 1) % kPage)] + 1;
  return child;
}

void PagedCache::close(int32_t sequence) {
  Sequence& closed = at(sequence);
  OCKHAM_CHECK(closed.is_open);
  for (const int32_t page : closed.pages) release_page(page);
  closed.pages.clear();
  closed.length = closed.next_position = 0;
  closed.is_open = false;
  closed_.push_back(sequence);
}

int32_t PagedCache::take_page() {
  if (free_.empty()) {
    throw_error(ErrorKind::kResource, "the KV cache of {} tokens is full; allow it more memory or ask for less at once",
                pages() * kPage);
  }
  const int32_t page = free_.back();
  free_.pop_back();
  references_[static_cast<size_t>(page)] = 1;
  ranges_[static_cast<size_t>(page)] = {};
  return page;
}

void PagedCache::release_page(int32_t page) {
  if (--references_[static_cast<size_t>(page)] == 0) free_.push_back(page);
}

void PagedCache::make_own(int32_t& page) {
  if (references_[static_cast<size_t>(page)] == 1) return;
  const int32_t copy = take_page();
  std::memcpy(data(copy), data(page), static_cast<size_t>(page_bytes_));
  std::copy_n(positions_.begin() + page * kPage, kPage, positions_.begin() + copy * kPage);
  ranges_[static_cast<size_t>(copy)] = ranges_[static_cast<size_t>(page)];
  release_page(page);
  page = copy;
}

int64_t PagedCache::missing_pages(int32_t sequence, int64_t tokens) const {
  const Sequence& own = at(sequence);
  const bool copies = tokens > 0 && own.length % kPage != 0 && references_[static_cast<size_t>(own.pages.back())] > 1;
  return pages_of(own.length + tokens) - static_cast<int64_t>(own.pages.size()) + (copies ? 1 : 0);
}

void PagedCache::append(int32_t sequence, int64_t tokens) {
  Sequence& own = at(sequence);
  OCKHAM_CHECK(own.is_open && tokens >= 0);
  if (tokens > 0 && own.length % kPage != 0) make_own(own.pages.back());
  for (int64_t i = 0; i < tokens; ++i, ++own.length) {
    if (own.length % kPage == 0) own.pages.push_back(take_page());
    Range& range = ranges_[static_cast<size_t>(own.pages.back())];
    range = {std::min(range.first, own.next_position), std::max(range.last, own.next_position)};
    positions_[static_cast<size_t>(own.pages.back() * kPage + own.length % kPage)] = own.next_position++;
  }
}

template <typename Element>
PagedCache::Slot<Element> PagedCache::slot(int64_t block, int32_t sequence, int64_t index, int64_t head) {
  const int64_t place = index % kPage;
  uint8_t* page = data(at(sequence).pages[static_cast<size_t>(index / kPage)]);
  auto* keys = reinterpret_cast<Element*>(page + block * block_bytes_ + head * head_bytes_);
  Element* values = keys + kPage * shape_.head_dim;
  auto* scales = reinterpret_cast<float*>(values + kPage * value_width_);
  return {keys + place, values + place * value_width_, scales + place, scales + kPage + place};
}

void PagedCache::store(int64_t block, int32_t sequence, int64_t index, const float* k, const float* v) {
  const int64_t dim = shape_.head_dim;
  for (int64_t head = 0; head < shape_.kv_heads; ++head, k += dim, v += dim) {
    if (shape_.type == DType::kI8) {
      const Slot<int8_t> to = slot<int8_t>(block, sequence, index, head);
      *to.key_scale = round_to_bytes(k, dim, to.keys, kPage);
      *to.value_scale = round_to_bytes(v, dim, to.values, 1);
    } else if (shape_.type == DType::kBF16) {
      const Slot<uint16_t> to = slot<uint16_t>(block, sequence, index, head);
      for (int64_t d = 0; d < dim; ++d) to.keys[d * kPage] = float_to_bfloat16(k[d]);
      for (int64_t d = 0; d < dim; ++d) to.values[d] = float_to_bfloat16(v[d]);
    } else {
      const Slot<float> to = slot<float>(block, sequence, index, head);
      for (int64_t d = 0; d < dim; ++d) to.keys[d * kPage] = k[d];
      std::copy_n(v, dim, to.values);
    }
  }
}

AttentionPage PagedCache::view(int32_t sequence, int64_t page, int64_t block, int64_t head) const {
  const Sequence& own = at(sequence);
  const int32_t number = own.pages[static_cast<size_t>(page)];
  const uint8_t* keys = data(number) + block * block_bytes_ + head * head_bytes_;
  const int32_t* positions = positions_.data() + number * kPage;
  const int64_t count = std::min(kPage, own.length - page * kPage);
  const auto [first, last] = ranges_[static_cast<size_t>(number)];
  const uint8_t* values = keys + kPage * shape_.head_dim * dtype_size(shape_.type);
  AttentionPage result{keys, values, positions, count, first, last};
  if (shape_.type == DType::kI8) {
    result.key_scales = reinterpret_cast<const float*>(values + kPage * value_width_);
    result.value_scales = result.key_scales + kPage;
  }
  return result;
}

}  // namespace ockham
