// The body of attention.cc, included once for each instruction set as tile_kernel.h is, on which it stands.

#include "ockham/tensor/tile_kernel.h"

// 2^x for x <= 0 within 2e-7 of itself, from 2^-100 on, which stands for all that is smaller: products with it are not
// denormal, which would be slow, and beside a sum of at least 1 it is nothing.
OCKHAM_INLINE Vector power_of_two(Vector x) {
  constexpr float kSmallest = -100.0F, kRoundOff = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  const Vector smallest = Vector{} + kSmallest;
  x = smallest > x ? smallest : x;  // NaN stays
  const Vector shifted = x + kRoundOff;
  const Vector rest = x - (shifted - kRoundOff);  // -1/2 .. 1/2
  // The polynomial of fifth degree with the smallest relative error there, 7.5e-8.
  Vector p = 1.327647203e-3F * rest + 9.675541480e-3F;
  p = p * rest + 5.550713275e-2F;
  p = p * rest + 2.402211972e-1F;
  p = p * rest + 6.931469671e-1F;
  p = p * rest + 1.0F;
  const Integers power = load<Integers>(&p) + (load<Integers>(&shifted) << 23);
  return load<Vector>(&power);
}

// Keys [S, D] as panels [ceil(S / kWidth), D, kWidth], zeros behind the last.
OCKHAM_INLINE void pack_keys(const float* k, int64_t token, int64_t keys, int64_t dim, float* out) {
  for (int64_t first = 0; first < keys; first += kWidth, out += dim * kWidth) {
    const int64_t count = std::min(kWidth, keys - first);
    if (count < kWidth) std::memset(out, 0, static_cast<size_t>(dim * kWidth) * sizeof(float));
    int64_t j = 0;
    for (; j + 8 <= count; j += 8) {
      for (int64_t d = 0; d < dim; d += 8) turn_8x8(k + (first + j) * token + d, token, out + d * kWidth + j, kWidth);
    }
    for (; j < count; ++j) {
      for (int64_t d = 0; d < dim; ++d) out[d * kWidth + j] = k[(first + j) * token + d];
    }
  }
}

// Scores of keys that are not seen become -infinity.
OCKHAM_INLINE void hide(const bool* seen, float* scores, int64_t count) {
  int64_t at = 0;
  for (; at + kLanes <= count; at += kLanes) {
    const Integers is_seen = widened(seen + at) != 0;
    store(scores + at, is_seen ? load<Vector>(scores + at) : Vector{} + kUnseen);
  }
  for (; at < count; ++at)
    if (!seen[at]) scores[at] = kUnseen;
}

// Whether any of the queries sees a key of the panel.
OCKHAM_INLINE bool sees_any(const bool* const* mask, int64_t rows, int64_t first, int64_t count) {
  for (int64_t r = 0; r < rows; ++r)
    if (std::memchr(mask[r] + first, 1, static_cast<size_t>(count)) != nullptr) return true;
  return false;
}

// `scratch`: room for the keys and the values, each [keys, dim] with both rounded up to kWidth.
void attend(const Operands& o, const Part& part, float* scratch) {
  const auto [batch, kv_head, begin, end] = part;
  const int64_t shared = o.heads / o.kv_heads, dim = o.dim, panels = (o.keys + kWidth - 1) / kWidth;
  const int64_t wide = (dim + kWidth - 1) / kWidth * kWidth;
  const float* v = o.v + batch * o.v_batch + kv_head * o.v_head;
  const float* q = o.q + batch * o.q_batch + kv_head * shared * o.q_head;
  float* out = o.out + batch * o.queries * o.heads * dim + kv_head * shared * dim;
  float *packed_keys = scratch, *packed_values = scratch + panels * kWidth * dim;
  pack_keys(o.k + batch * o.k_batch + kv_head * o.k_head, o.k_token, o.keys, dim, packed_keys);
  const float* values = v;  // where they are whole tiles wide, else padded with zeros
  int64_t value_row = o.v_token;
  if (wide != dim) {
    values = packed_values;
    value_row = wide;
    for (int64_t s = 0; s < o.keys; ++s) {
      std::memcpy(packed_values + s * wide, v + s * o.v_token, static_cast<size_t>(dim) * sizeof(float));
      std::memset(packed_values + s * wide + dim, 0, static_cast<size_t>(wide - dim) * sizeof(float));
    }
  }

  alignas(64) float scores[kHeight * kKeys], queries[kHeight * kLargestHead], mixed[kHeight * kLargestHead];
  for (int64_t first = begin; first < end; first += kHeight) {
    const int64_t rows = std::min<int64_t>(kHeight, end - first);
    const bool* mask[kHeight] = {};
    int64_t visible[kHeight];  // keys of each query where there is no mask
    int64_t last = 0;
    float highest[kHeight], sums[kHeight];
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t token = (first + r) / shared, head = (first + r) % shared;
      const float* query = q + head * o.q_head + token * o.q_token;
      for (int64_t d = 0; d < dim; ++d) queries[r * dim + d] = query[d] * o.scale;
      visible[r] = o.is_causal ? token + 1 : o.keys;
      last = std::max(last, visible[r]);
      if (o.mask != nullptr) mask[r] = o.mask + batch * o.mask_batch + token * o.mask_token;
      highest[r] = kLowest;
      sums[r] = 0;
    }
    std::memset(mixed, 0, static_cast<size_t>(rows * wide) * sizeof(float));

    for (int64_t start = 0; start < last; start += kKeys) {
      int64_t from = start, to = std::min(start + kKeys, last);
      if (o.mask != nullptr) {
        while (from < to && !sees_any(mask, rows, from, std::min(kWidth, to - from))) from += kWidth;
        while (from < to) {
          const int64_t panel = (to - 1) / kWidth * kWidth;
          if (sees_any(mask, rows, panel, to - panel)) break;
          to = panel;
        }
        if (from >= to) continue;
      }
      const int64_t count = to - from, padded = (count + kWidth - 1) / kWidth * kWidth;
      for (int64_t at = 0; at < padded; at += kWidth)
        tile(rows, queries, dim, packed_keys + (from + at) * dim, kWidth, dim, scores + at, kKeys, false);
      for (int64_t r = 0; r < rows; ++r) {
        float* row = scores + r * kKeys;
        if (o.mask != nullptr) {
          hide(mask[r] + from, row, count);
        }
        for (int64_t at = std::max<int64_t>(0, visible[r] - from); at < padded; ++at) row[at] = kUnseen;
        for (int64_t at = count; at < padded; ++at) row[at] = kUnseen;

        Vector most = Vector{} + highest[r];
        for (int64_t at = 0; at < padded; at += kLanes) {
          const Vector score = load<Vector>(row + at);
          most = score > most ? score : most;
        }
        float top = most[0];
        for (int lane = 1; lane < kLanes; ++lane) top = std::max(top, most[lane]);
        Vector total = {};
        for (int64_t at = 0; at < padded; at += kLanes) {
          const Vector power = power_of_two(load<Vector>(row + at) - top);
          store(row + at, power);
          total += power;
        }
        float sum = 0;
        for (int lane = 0; lane < kLanes; ++lane) sum += total[lane];
        if (top > highest[r]) {
          const float factor = std::exp2(highest[r] - top);
          sums[r] *= factor;
          for (int64_t d = 0; d < wide; ++d) mixed[r * wide + d] *= factor;
          highest[r] = top;
        }
        sums[r] += sum;
      }
      for (int64_t d = 0; d < wide; d += kWidth)
        tile(rows, scores, kKeys, values + from * value_row + d, value_row, count, mixed + d, wide, true);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t token = (first + r) / shared, head = (first + r) % shared;
      float* result = out + token * o.heads * dim + head * dim;
      const float inverse = 1.0F / sums[r];
      for (int64_t d = 0; d < dim; ++d) result[d] = mixed[r * wide + d] * inverse;
    }
  }
}
