#include "ockham/runtime/paged_cache.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "ockham/core/error.h"
#include "ockham/core/integers.h"

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

KvCodeLayout layout_of(const KvShape& shape) {
  return code_layout(shape.policy, shape.kv_heads, shape.head_dim, shape.type);
}
CodedShape coded_shape(const KvShape& shape) {
  return {layout_of(shape), shape.blocks, CodedPages::kTokens / kPage * shape.kv_heads * bytes_of_head(shape)};
}

}  // namespace

int64_t PagedCache::page_bytes(const KvShape& shape) {
  if (shape.is_coded()) return coded_shape(shape).page_bytes();
  return shape.blocks *
         (shape.has_coded_tokens() ? layout_of(shape).page_bytes : shape.kv_heads * bytes_of_head(shape));
}

int64_t PagedCache::needed_pages(const KvShape& shape, int64_t tokens, int64_t shared) {
  return shape.is_coded() ? coded_shape(shape).pages_of(tokens, shared) : pages_of(tokens) - shared / kPage;
}

int64_t PagedCache::claimed_pages(const KvShape& shape, const KvPolicy& policy, int64_t prompt, int64_t longest) {
  if (!policy.evicts()) return needed_pages(shape, longest);
  int64_t pages = 0;
  for (int64_t block = 0; block < shape.blocks; ++block)
    pages += pages_of(most_kv_slots(policy, prompt, longest, block, shape.blocks));
  return ceil_div(pages, shape.blocks);
}

int64_t PagedCache::capacity() const {
  if (!codes_) return pages() * kPage;
  return (pages() - codes_->shape().tail_pages() + 1) * CodedPages::kTokens - 1;
}

PagedCache::PagedCache(const KvShape& shape, int64_t pages, int64_t longest)
    : shape_(shape),
      layout_(layout_of(shape)),
      value_width_(width_of(shape)),
      head_bytes_(bytes_of_head(shape)),
      page_bytes_(shape.has_coded_tokens() ? layout_.page_bytes : shape.kv_heads * head_bytes_),
      longest_(longest),
      memory_(shape.is_coded() ? 0 : pages * shape.blocks * page_bytes_) {
  OCKHAM_CHECK(shape.type == DType::kF32 || shape.type == DType::kBF16 || shape.type == DType::kI8);
  if (shape.is_coded()) codes_.emplace(coded_shape(shape), pages, longest);
  const int64_t all = codes_ ? 0 : pages * shape.blocks;
  references_.resize(static_cast<size_t>(all));
  free_.reserve(static_cast<size_t>(all));
  for (int64_t page = all; page-- > 0;) free_.push_back(static_cast<int32_t>(page));
  reserve_positions(longest);
}

void PagedCache::reserve_positions(int64_t tokens) {
  const size_t known = positions_.size(), wanted = static_cast<size_t>(pages_of(tokens) * kPage);
  if (wanted <= known) return;
  positions_.resize(std::max(wanted, known + known / 2 / kPage * kPage));
  std::iota(positions_.begin() + static_cast<std::ptrdiff_t>(known), positions_.end(), static_cast<int32_t>(known));
}

int32_t PagedCache::open() {
  if (closed_.empty()) {
    closed_.push_back(static_cast<int32_t>(sequences_.size()));
    sequences_.emplace_back().pages.resize(static_cast<size_t>(shape_.blocks));
    closed_.reserve(sequences_.size());
    if (!codes_)
      for (std::vector<int32_t>& list : sequences_.back().pages) list.reserve(static_cast<size_t>(pages_of(longest_)));
  }
  const int32_t sequence = closed_.back();
  closed_.pop_back();
  if (codes_) codes_->open(sequence);
  at(sequence).is_open = true;
  return sequence;
}

int32_t PagedCache::open(const KvPolicy& policy, int64_t slots) {
  const int32_t sequence = open();
  Sequence& own = at(sequence);
  own.evicts = policy.evicts();
  if (!own.evicts) return sequence;
  own.choice.reset(policy, shape_.blocks, shape_.kv_heads, slots);
  if (policy.merges) own.room.resize(static_cast<size_t>(shape_.kv_heads * 4 * shape_.head_dim));
  return sequence;
}

bool PagedCache::can_fork(int32_t sequence, int64_t tokens) const {
  const Sequence& own = at(sequence);
  if (tokens >= own.length || !own.evicts) return tokens <= own.length;
  return own.choice.is_complete() && !own.choice.policy().needs_scores();
}

int32_t PagedCache::fork(int32_t sequence, int64_t tokens) {
  OCKHAM_CHECK(at(sequence).is_open && tokens >= 0 && can_fork(sequence, tokens));
  const int32_t child = open();
  if (codes_) {
    codes_->fork(sequence, child, tokens, length(sequence));
    at(child).length = tokens;
    return child;
  }
  const Sequence& parent = at(sequence);
  Sequence& result = at(child);
  result.evicts = parent.evicts;
  if (parent.evicts) {
    result.choice = parent.choice;
    result.choice.truncate(tokens);
    result.room.resize(parent.room.size());
  }
  result.length = tokens;
  for (size_t block = 0; block < result.pages.size(); ++block) {
    const std::vector<int32_t>& from = parent.pages[block];
    result.pages[block].assign(from.begin(), from.begin() + pages_of(slots(result, static_cast<int64_t>(block))));
    for (const int32_t page : result.pages[block]) ++references_[static_cast<size_t>(page)];
  }
  return child;
}

void PagedCache::close(int32_t sequence) {
  Sequence& closed = at(sequence);
  OCKHAM_CHECK(closed.is_open);
  use_.tokens_read += closed.length;
  int64_t kept = 0, pages = 0;
  for (int64_t block = 0; block < shape_.blocks; ++block) {
    kept += slots(closed, block) - (closed.evicts && closed.choice.has_free_slot(block) ? 1 : 0);
    pages += pages_of(slots(closed, block));
  }
  if (closed.length > 0) use_.pages_kept += codes_ ? needed_pages(closed.length) : ceil_div(pages, shape_.blocks);
  use_.tokens_kept += ceil_div(kept, shape_.blocks);
  for (std::vector<int32_t>& list : closed.pages) {
    for (const int32_t page : list) release_page(page);
    list.clear();
  }
  if (codes_) codes_->close(sequence);
  closed.length = 0;
  closed.is_open = closed.evicts = false;
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
  use_.most_pages = std::max(use_.most_pages, pages() - free_pages());
  return page;
}

void PagedCache::release_page(int32_t page) {
  if (--references_[static_cast<size_t>(page)] == 0) free_.push_back(page);
}

void PagedCache::make_own(int32_t& page) {
  if (references_[static_cast<size_t>(page)] == 1) return;
  const int32_t copy = take_page();
  std::memcpy(data(copy), data(page), static_cast<size_t>(page_bytes_));
  release_page(page);
  page = copy;
}

int64_t PagedCache::shared_pages(const std::vector<int32_t>& list, int64_t count) const {
  const auto end = list.begin() + std::min(count, static_cast<int64_t>(list.size()));
  return std::count_if(list.begin(), end, [&](int32_t page) { return references_[static_cast<size_t>(page)] > 1; });
}

// Pages of single blocks. Under a policy any of those that are shared may be written into.
int64_t PagedCache::missing_blocks(const Sequence& own, int64_t tokens, KvCut cut) const {
  int64_t missing = 0;
  for (int64_t block = 0; block < shape_.blocks; ++block) {
    const std::vector<int32_t>& list = own.pages[static_cast<size_t>(block)];
    const int64_t free = own.evicts && own.choice.has_free_slot(block) ? 1 : 0;
    const int64_t held = slots(own, block), end = held + std::max<int64_t>(tokens - free, 0);
    const bool copies_all = tokens > 0 && own.evicts && (free > 0 || cut != KvCut::kNone);
    const auto count = static_cast<int64_t>(list.size());
    missing += pages_of(end) - count;
    if (copies_all) {
      missing += shared_pages(list, count);
    } else if (tokens > 0 && held % kPage != 0 && references_[static_cast<size_t>(list.back())] > 1) {
      ++missing;
    }
  }
  return missing;
}

int64_t PagedCache::missing_pages(int32_t sequence, int64_t tokens, KvCut cut) const {
  if (codes_) return codes_->missing_pages(sequence, at(sequence).length, tokens);
  return ceil_div(missing_blocks(at(sequence), tokens, cut), shape_.blocks);
}

int64_t PagedCache::claimed_pages(int32_t sequence, int64_t prompt, int64_t longest) const {
  const Sequence& own = at(sequence);
  if (!own.evicts) return missing_pages(sequence, longest - own.length);
  const int64_t unread = own.length < prompt ? prompt : 0;
  int64_t missing = 0;
  for (int64_t block = 0; block < shape_.blocks; ++block) {
    const std::vector<int32_t>& list = own.pages[static_cast<size_t>(block)];
    const int64_t most = most_kv_slots(own.choice.policy(), unread, longest, block, shape_.blocks);
    const auto count = static_cast<int64_t>(list.size());
    missing += std::max<int64_t>(pages_of(most) - count, 0) + shared_pages(list, count);
  }
  return ceil_div(missing, shape_.blocks);
}

void PagedCache::append(int32_t sequence, int64_t tokens) {
  Sequence& own = at(sequence);
  OCKHAM_CHECK(own.is_open && tokens >= 0);
  if (tokens == 0) return;
  const int64_t first = own.length;
  if (codes_) {
    codes_->append(sequence, first, tokens);
    use_.most_pages = std::max(use_.most_pages, pages() - free_pages());
  }
  for (size_t block = 0; block < own.pages.size() && own.evicts; ++block) {
    // What stands before the new tokens in a shared page is not theirs alone.
    const int64_t held = slots(own, static_cast<int64_t>(block));
    const bool fills = own.choice.has_free_slot(static_cast<int64_t>(block));
    if (held % kPage != 0 && tokens > (fills ? 1 : 0)) make_own(own.pages[block].back());
    for (int64_t head = 0; fills && head < shape_.kv_heads; ++head)
      make_own(own.pages[block][static_cast<size_t>(own.choice.free_slot(static_cast<int64_t>(block), head) / kPage)]);
  }
  if (!own.evicts && !codes_ && first % kPage != 0)
    for (std::vector<int32_t>& list : own.pages) make_own(list.back());
  own.length += tokens;
  if (own.evicts) own.choice.append(tokens);
  for (size_t block = 0; block < own.pages.size() && !codes_; ++block) {
    std::vector<int32_t>& list = own.pages[block];
    while (static_cast<int64_t>(list.size()) < pages_of(slots(own, static_cast<int64_t>(block))))
      list.push_back(take_page());
  }
  if (!own.evicts) reserve_positions(own.length);
}

KvUse PagedCache::use() const {
  KvUse result = use_;
  result.page_bytes = page_bytes(shape_);
  return result;
}

void PagedCache::reset_use() {
  use_ = {};
  use_.most_pages = pages() - free_pages();
}

}  // namespace ockham
