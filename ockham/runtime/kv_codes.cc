#include "ockham/runtime/kv_codes.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ockham/core/error.h"
#include "ockham/core/half.h"
#include "ockham/core/integers.h"

namespace ockham {
namespace {

constexpr int64_t kHalf = 32;

uint8_t* half_of(const KvCodeLayout& layout, int64_t head, int64_t half, uint8_t* page) {
  return page + head * layout.head_bytes + half * layout.half_bytes;
}

// `place`: of the scale among `count` steps; minima follow.
void put_scale(uint8_t* scales, int64_t count, int64_t place, const CodeScale& scale) {
  const uint16_t bits[] = {float_to_half(scale.step), float_to_half(scale.minimum)};
  std::memcpy(scales + 2 * place, &bits[0], 2);
  std::memcpy(scales + 2 * (count + place), &bits[1], 2);
}

template <typename T>
T read_bits(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
float stands_for(const uint8_t* scales, int64_t count, int64_t place, uint32_t code) {
  return static_cast<float>(code) * half_to_float(read_bits<uint16_t>(scales + 2 * place)) +
         half_to_float(read_bits<uint16_t>(scales + 2 * (count + place)));
}

// The bits there become 0 first.
void put_key_code(const KvCodeLayout& layout, uint8_t* half, int64_t token, int64_t channel, uint32_t code) {
  const int64_t fields = 32 / layout.bits;
  const int shift = static_cast<int>(channel % fields) * layout.bits;
  uint8_t* const at = half + 4 * (channel / fields * kHalf + token);
  uint32_t word = 0;
  std::memcpy(&word, at, 4);
  word = (word & ~(((1U << layout.bits) - 1) << shift)) | code << shift;
  std::memcpy(at, &word, 4);
}
void put_value_code(const KvCodeLayout& layout, uint8_t* half, int64_t token, int64_t channel, uint32_t code) {
  const int64_t fields = 8 / layout.bits, chunk = channel / 16;
  const int shift = static_cast<int>(chunk % fields) * layout.bits;
  uint8_t& byte = half[layout.value_codes + (token * layout.value_units + chunk / fields) * 16 + channel % 16];
  byte = static_cast<uint8_t>((byte & ~(((1U << layout.bits) - 1) << shift)) | code << shift);
}

CodeShape shape_of(const KvCodeLayout& layout, bool is_keys) {
  CodeShape shape;
  shape.tokens = layout.tokens();
  shape.heads = is_keys ? 1 : layout.heads;
  shape.dim = layout.dim;
  shape.bits = layout.bits;
  shape.group = is_keys ? layout.key_group : layout.value_group;
  shape.by_channel = is_keys;
  shape.outliers = is_keys ? layout.key_outliers : layout.value_outliers;
  shape.rank = layout.rank;
  return shape;
}

// Column `j` of x [rows, width] as bytes of 127 steps of its largest magnitude; what a step is.
float round_column(const float* x, int64_t rows, int64_t width, int64_t j, int8_t* to) {
  float largest = 0;
  for (int64_t i = 0; i < rows; ++i) largest = std::max(largest, std::fabs(x[i * width + j]));
  if (!(largest > 0 && std::isfinite(127 / largest))) {
    std::fill_n(to, rows, int8_t{0});
    return 0;
  }
  for (int64_t i = 0; i < rows; ++i) to[i] = static_cast<int8_t>(std::nearbyint(x[i * width + j] * (127 / largest)));
  return largest / 127;
}

}  // namespace

KvCodeLayout code_layout(const KvPolicy& policy, int64_t heads, int64_t dim, DType type) {
  KvCodeLayout layout;
  if (policy.bits == 0) return layout;
  if (dim > 256)
    throw_input(
        "the model's heads have {} channels, expected at most 256 for keys and values in codes; choose a "
        "KV-cache policy without 'bits'",
        dim);
  layout.bits = policy.bits;
  layout.by_token = policy.evicts();
  layout.exact = type == DType::kBF16 ? DType::kBF16 : DType::kF32;
  layout.heads = heads;
  layout.dim = dim;
  layout.wide = round_up(dim, 16);
  const int64_t tokens = layout.tokens();
  layout.value_group = std::min(policy.group, layout.wide);
  layout.key_group = layout.by_token ? layout.value_group : std::min(policy.group, tokens);
  layout.value_groups = (dim + layout.value_group - 1) / layout.value_group;
  layout.key_groups = layout.by_token ? layout.value_groups : tokens / layout.key_group;
  if (!layout.by_token) {
    layout.key_outliers = CodeShape::outliers_of(tokens, policy.outliers);
    layout.value_outliers = CodeShape::outliers_of(heads * dim, policy.outliers);
    layout.rank = std::min(policy.rank, std::min(tokens, dim));
  }
  layout.key_words = (dim * layout.bits + 31) / 32;
  layout.value_units = (layout.wide / 16 * layout.bits + 7) / 8;
  layout.value_codes = layout.key_words * kHalf * 4;
  layout.value_scales = layout.value_codes + kHalf * layout.value_units * 16;
  layout.token_key_scales = layout.value_scales + 4 * layout.value_groups * kHalf;
  layout.half_bytes = layout.token_key_scales + (layout.by_token ? 4 * layout.key_groups * kHalf : 0);
  layout.key_scales = tokens / kHalf * layout.half_bytes;
  layout.key_correction = layout.key_scales + (layout.by_token ? 0 : 4 * layout.key_groups * dim);
  layout.value_correction = round_up(layout.key_correction + layout.rank * (tokens + dim), 4) + 4 * layout.rank;
  layout.head_bytes =
      round_up(round_up(layout.value_correction + layout.rank * (tokens + layout.wide), 4) + 4 * layout.rank, 64);
  layout.outlier_starts = heads * layout.head_bytes;
  const int64_t all = layout.all_outliers();
  layout.outlier_values = layout.outlier_starts + (all > 0 ? 2 * (heads * 2 + 1) * 4 : 0);
  layout.outlier_places = layout.outlier_values + all * layout.element_bytes();
  layout.page_bytes = round_up(layout.outlier_places + all * 2, 64);
  return layout;
}

KvBlockWriter::KvBlockWriter(const KvCodeLayout& layout)
    : layout_(layout),
      keys_(shape_of(layout, true)),
      values_(shape_of(layout, false)),
      room_(static_cast<size_t>(layout.tokens() * layout.heads * layout.dim)) {
  OCKHAM_CHECK(layout.bits > 0 && !layout.by_token);
}

void KvBlockWriter::write_keys(const float* x, int64_t stride, int64_t head, uint8_t* page) {
  const int64_t tokens = layout_.tokens(), count = layout_.key_groups * layout_.dim;
  keys_.encode(x, stride);
  uint8_t* const scales = half_of(layout_, head, 0, page) + layout_.key_scales;
  for (int64_t channel = 0; channel < layout_.dim; ++channel) {
    for (int64_t group = 0; group < layout_.key_groups; ++group)
      put_scale(scales, count, group * layout_.dim + channel, keys_.scale(channel, group));
  }
  for (int64_t token = 0; token < tokens; ++token) {
    uint8_t* const half = half_of(layout_, head, token / kHalf, page);
    for (int64_t channel = 0; channel < layout_.dim; ++channel)
      put_key_code(layout_, half, token % kHalf, channel, keys_.code(token, channel));
  }
  write_outliers(keys_, head, page, true);
  write_correction(keys_, 0, half_of(layout_, head, 0, page) + layout_.key_correction, layout_.dim);
}

void KvBlockWriter::write_values(const float* x, int64_t stride, uint8_t* page) {
  const int64_t tokens = layout_.tokens(), dim = layout_.dim, count = layout_.value_groups * kHalf;
  values_.encode(x, stride);
  for (int64_t head = 0; head < layout_.heads; ++head) {
    for (int64_t token = 0; token < tokens; ++token) {
      uint8_t* const half = half_of(layout_, head, token / kHalf, page);
      for (int64_t group = 0; group < layout_.value_groups; ++group)
        put_scale(half + layout_.value_scales, count, group * kHalf + token % kHalf,
                  values_.scale(token * layout_.heads + head, group));
      for (int64_t channel = 0; channel < dim; ++channel)
        put_value_code(layout_, half, token % kHalf, channel, values_.code(token, head * dim + channel));
    }
    write_correction(values_, head, half_of(layout_, head, 0, page) + layout_.value_correction, layout_.wide);
  }
  write_outliers(values_, 0, page, false);
}

// `first_head`: that of the coder's head 0. Keys' outliers stand before values', each in the order of heads and halves.
void KvBlockWriter::write_outliers(const KvCoder& coder, int64_t first_head, uint8_t* page, bool is_keys) {
  if (layout_.all_outliers() == 0) return;
  const int64_t of_keys = 2 * layout_.key_outliers * layout_.dim;
  int64_t next = is_keys ? first_head * of_keys : layout_.heads * of_keys;
  auto* const starts =
      reinterpret_cast<uint32_t*>(page + layout_.outlier_starts) + (is_keys ? 2 * first_head : 2 * layout_.heads + 1);
  int64_t part = 0;
  starts[0] = static_cast<uint32_t>(next);
  const auto reach = [&](int64_t wanted) {
    while (part < wanted) starts[++part] = static_cast<uint32_t>(next);
  };
  for (const KvOutlier& one : coder.outliers()) {
    reach(int64_t{2} * one.head + one.token / kHalf);
    const int64_t token = one.token % kHalf;
    const auto place =
        static_cast<uint16_t>(is_keys ? one.channel * kHalf + token : token * layout_.wide + one.channel);
    std::memcpy(page + layout_.outlier_places + 2 * next, &place, 2);
    if (layout_.exact == DType::kBF16) {
      const uint16_t value = float_to_bfloat16(one.value);
      std::memcpy(page + layout_.outlier_values + 2 * next, &value, 2);
    } else {
      std::memcpy(page + layout_.outlier_values + 4 * next, &one.value, 4);
    }
    ++next;
  }
  // Of keys the start of the next head is its own, or behind the last of them that of the end.
  const bool is_last = !is_keys || first_head + 1 == layout_.heads;
  reach(2 * coder.shape().heads - (is_last ? 0 : 1));
}

void KvBlockWriter::write_correction(const KvCoder& coder, int64_t head, uint8_t* to, int64_t columns) {
  const int64_t rank = layout_.rank, tokens = layout_.tokens(), width = coder.correction_width();
  if (rank == 0) return;
  auto* const by_token = reinterpret_cast<int8_t*>(to);
  int8_t* const by_channel = by_token + rank * tokens;
  auto* const factors = reinterpret_cast<float*>(to + round_up(rank * (tokens + columns), 4));
  for (int64_t j = 0; j < rank; ++j) {
    float factor = 1;
    for (int64_t half = 0; half < tokens / kHalf; ++half) {
      // One step for both halves: a column's is found over all tokens first.
      int8_t column[64];
      factor = round_column(coder.left(head), tokens, width, j, column);
      std::copy_n(column + half * kHalf, kHalf, by_token + (half * rank + j) * kHalf);
    }
    std::fill_n(by_channel + j * columns, columns, int8_t{0});
    factors[j] = factor * round_column(coder.right(head), layout_.dim, width, j, by_channel + j * columns);
  }
}

void write_token(const KvCodeLayout& layout, int64_t head, int64_t slot, const float* k, const float* v,
                 uint8_t* page) {
  uint8_t* const half = half_of(layout, head, 0, page);
  const int64_t count = layout.value_groups * kHalf;
  for (int64_t group = 0; group < layout.value_groups; ++group) {
    const int64_t begin = group * layout.value_group, end = std::min(begin + layout.value_group, layout.dim);
    const CodeScale key = code_scale(k + begin, end - begin, 1, layout.bits),
                    value = code_scale(v + begin, end - begin, 1, layout.bits);
    put_scale(half + layout.token_key_scales, count, group * kHalf + slot, key);
    put_scale(half + layout.value_scales, count, group * kHalf + slot, value);
    for (int64_t channel = begin; channel < end; ++channel) {
      put_key_code(layout, half, slot, channel, code_of(k[channel], key, key.inverse(), layout.bits));
      put_value_code(layout, half, slot, channel, code_of(v[channel], value, value.inverse(), layout.bits));
    }
  }
}

void read_token(const KvCodeLayout& layout, int64_t head, int64_t slot, const uint8_t* page, float* k, float* v) {
  const uint8_t* const half = page + head * layout.head_bytes;
  const int64_t count = layout.value_groups * kHalf, words = 32 / layout.bits, fields = 8 / layout.bits;
  const uint32_t mask = (1U << layout.bits) - 1;
  for (int64_t channel = 0; channel < layout.dim; ++channel) {
    const int64_t place = channel / layout.value_group * kHalf + slot, chunk = channel / 16;
    const auto word = read_bits<uint32_t>(half + 4 * (channel / words * kHalf + slot));
    const uint32_t byte = half[layout.value_codes + (slot * layout.value_units + chunk / fields) * 16 + channel % 16];
    k[channel] =
        stands_for(half + layout.token_key_scales, count, place, word >> (channel % words * layout.bits) & mask);
    v[channel] = stands_for(half + layout.value_scales, count, place, byte >> (chunk % fields * layout.bits) & mask);
  }
}

void copy_token(const KvCodeLayout& layout, int64_t head, int64_t slot, const uint8_t* page, int64_t to_slot,
                uint8_t* to_page) {
  const uint8_t* const from = page + head * layout.head_bytes;
  uint8_t* const to = to_page + head * layout.head_bytes;
  // Rows of 32 slots.
  const auto copy_rows = [&](int64_t offset, int64_t rows, int64_t bytes) {
    for (int64_t row = 0; row < rows; ++row)
      std::memcpy(to + offset + (row * kHalf + to_slot) * bytes, from + offset + (row * kHalf + slot) * bytes,
                  static_cast<size_t>(bytes));
  };
  copy_rows(0, layout.key_words, 4);
  copy_rows(layout.value_codes, 1, layout.value_units * 16);
  copy_rows(layout.value_scales, 2 * layout.value_groups, 2);
  copy_rows(layout.token_key_scales, 2 * layout.key_groups, 2);
}

double code_error(const float* x, int64_t dim, int bits, int64_t group) {
  double sum = 0;
  for (int64_t begin = 0; begin < dim; begin += group) {
    const int64_t end = std::min(begin + group, dim);
    const CodeScale scale = code_scale(x + begin, end - begin, 1, bits);
    for (int64_t i = begin; i < end; ++i) {
      const float code = code_of(x[i], scale, scale.inverse(), bits);
      const double lost = static_cast<double>(x[i]) - (static_cast<double>(code) * scale.step + scale.minimum);
      sum += lost * lost;
    }
  }
  return std::sqrt(sum);
}

}  // namespace ockham
