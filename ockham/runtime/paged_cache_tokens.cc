// Keys and values of single tokens: where they are, how they are written and read, and what attention sees of them.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "ockham/core/half.h"
#include "ockham/runtime/paged_cache.h"

namespace ockham {
namespace {

// Codes of x [count], `step` apart; what they are multiplied by.
float round_to_bytes(const float* x, int64_t count, int8_t* codes, int64_t step) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(x[i]));
  const float inverse = largest > 0 ? 127 / largest : 0;
  for (int64_t i = 0; i < count; ++i) codes[i * step] = static_cast<int8_t>(std::nearbyint(x[i] * inverse));
  return largest / 127;
}

}  // namespace

uint8_t* PagedCache::page_at(int64_t block, int32_t sequence, int64_t index) {
  if (codes_) return codes_->tail(sequence, block) + index % CodedPages::kTokens / kPageTokens * page_bytes_;
  return data(at(sequence).pages[static_cast<size_t>(block)][static_cast<size_t>(index / kPageTokens)]);
}

void PagedCache::write(int64_t block, int32_t sequence, int64_t index, int64_t head, const float* k, const float* v) {
  if (shape_.has_coded_tokens())
    return write_token(layout_, head, index % kPageTokens, k, v, page_at(block, sequence, index));
  const int64_t dim = shape_.head_dim;
  const auto write_to = [&]<typename Element>(const Slot<Element>& to) {
    if constexpr (sizeof(Element) == 1) {
      *to.key_scale = round_to_bytes(k, dim, to.keys, kPageTokens);
      *to.value_scale = round_to_bytes(v, dim, to.values, 1);
    } else if constexpr (sizeof(Element) == 2) {
      for (int64_t d = 0; d < dim; ++d) to.keys[d * kPageTokens] = float_to_bfloat16(k[d]);
      for (int64_t d = 0; d < dim; ++d) to.values[d] = float_to_bfloat16(v[d]);
    } else {
      for (int64_t d = 0; d < dim; ++d) to.keys[d * kPageTokens] = k[d];
      std::copy_n(v, dim, to.values);
    }
  };
  with_slots(block, sequence, head, write_to, index);
}

void PagedCache::read(int64_t block, int32_t sequence, int64_t index, int64_t head, float* k, float* v) {
  if (shape_.has_coded_tokens())
    return read_token(layout_, head, index % kPageTokens, page_at(block, sequence, index), k, v);
  const auto read_from = [&]<typename Element>(const Slot<Element>& from) {
    for (int64_t d = 0; d < shape_.head_dim; ++d) {
      if constexpr (sizeof(Element) == 1) {
        k[d] = static_cast<float>(from.keys[d * kPageTokens]) * *from.key_scale;
        v[d] = static_cast<float>(from.values[d]) * *from.value_scale;
      } else if constexpr (sizeof(Element) == 2) {
        k[d] = bfloat16_to_float(from.keys[d * kPageTokens]);
        v[d] = bfloat16_to_float(from.values[d]);
      } else {
        k[d] = from.keys[d * kPageTokens];
        v[d] = from.values[d];
      }
    }
  };
  with_slots(block, sequence, head, read_from, index);
}

void PagedCache::store(int64_t block, int32_t sequence, int64_t index, const float* k, const float* v) {
  Sequence& own = at(sequence);
  for (int64_t head = 0; head < shape_.kv_heads; ++head, k += shape_.head_dim, v += shape_.head_dim) {
    const int64_t place = own.evicts ? own.choice.slot(block, head, index) : index;
    write(block, sequence, place, head, k, v);
    if (own.evicts && own.choice.policy().attention_weight < 1) note_errors(own, block, head, place, k, v);
  }
}

// Keys of one head [64, D], or values [64, kv_heads * D], out of the floats of a whole block.
template <typename Element>
void PagedCache::gather(int64_t block, int32_t sequence, int64_t part, float* x) {
  const auto number = [](Element value) {
    if constexpr (sizeof(Element) == 2) return bfloat16_to_float(value);
    return static_cast<float>(value);
  };
  const int64_t dim = shape_.head_dim, heads = shape_.kv_heads;
  for (int64_t token = 0; token < CodedPages::kTokens; ++token) {
    if (part < heads) {
      const Element* from = slot<Element>(block, sequence, token, part).keys;
      for (int64_t d = 0; d < dim; ++d) x[token * dim + d] = number(from[d * kPageTokens]);
      continue;
    }
    for (int64_t head = 0; head < heads; ++head) {
      const Element* from = slot<Element>(block, sequence, token, head).values;
      for (int64_t d = 0; d < dim; ++d) x[(token * heads + head) * dim + d] = number(from[d]);
    }
  }
}

void PagedCache::encode(int64_t block, int32_t sequence, int64_t number, int64_t part, KvBlockWriter& writer) {
  float* const x = writer.room();
  if (shape_.type == DType::kBF16) {
    gather<uint16_t>(block, sequence, part, x);
  } else {
    gather<float>(block, sequence, part, x);
  }
  uint8_t* const page = codes_->page(sequence, number, block);
  if (part < shape_.kv_heads) return writer.write_keys(x, shape_.head_dim, part, page);
  writer.write_values(x, shape_.kv_heads * shape_.head_dim, page);
}

void PagedCache::repeat_first_block(int32_t sequence) {
  for (int64_t number = 1; number < length(sequence) / CodedPages::kTokens; ++number)
    std::memcpy(codes_->page(sequence, number, 0), codes_->page(sequence, 0, 0),
                static_cast<size_t>(codes_->shape().page_bytes()));
}

AttentionPage PagedCache::stored_page(const uint8_t* from, int64_t head) const {
  AttentionPage result;
  const uint8_t* keys = from + head * head_bytes_;
  const uint8_t* values = keys + kPageTokens * shape_.head_dim * dtype_size(shape_.type);
  result.keys = keys;
  result.values = values;
  if (shape_.type == DType::kI8) {
    result.key_scales = reinterpret_cast<const float*>(values + kPageTokens * value_width_);
    result.value_scales = result.key_scales + kPageTokens;
  }
  return result;
}

void PagedCache::view(int32_t sequence, int64_t page, int64_t block, int64_t head, int64_t seen,
                      std::span<AttentionPage> views) const {
  const Sequence& own = at(sequence);
  const int64_t in_codes = codes_ ? (seen - 1) / CodedPages::kTokens * CodedPages::kTokens : 0;
  const KvHead slots = own.evicts ? own.choice.head(block, head) : KvHead{};
  int64_t first = page * kPageTokens;
  for (AttentionPage& result : views) {
    const bool is_block = first < in_codes;
    const uint8_t* const from = is_block ? codes_->page(sequence, first / CodedPages::kTokens, block)
                                         : const_cast<PagedCache*>(this)->page_at(block, sequence, first);
    if (is_block || shape_.has_coded_tokens()) {
      result = {};
      result.codes = from;
      result.head = static_cast<int32_t>(head);
      result.half = static_cast<int32_t>(first % layout_.tokens() / kPageTokens);
    } else {
      result = stored_page(from, head);
    }
    result.count = std::min(kPageTokens, seen - first);
    if (own.evicts) {
      const auto [lowest, highest] = own.choice.bounds(block, first, first + result.count);
      result.positions = slots.positions + first;
      result.first = lowest;
      result.last = highest;
      result.logs = slots.logs != nullptr ? slots.logs + first : nullptr;
      result.places = slots.places != nullptr ? slots.places + first : nullptr;
    } else {
      result.positions = positions_.data() + first;
      result.first = static_cast<int32_t>(first);
      result.last = static_cast<int32_t>(first + result.count - 1);
    }
    first += kPageTokens;
  }
}

}  // namespace ockham
