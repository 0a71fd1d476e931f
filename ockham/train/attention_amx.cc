// Causal attention of one document with AMX tiles, bf16, head_dim 32.
//
// Scores are kept transposed (rows are keys, lanes are queries): maxima, sums and log-sum-exps are then plain lane-wise
// operations, keys and values are tile operands as they lie in memory, and only queries and gradients need transposing.
#include "ockham/train/attention.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "ockham/train/amx_tiles.h"

namespace ockham {

OCKHAM_TILES void attention_forward_amx(const AttentionShape& shape, const Segment& segment, int64_t kv_head,
                                        const uint16_t* qkv, uint16_t* out, float* log_sums) {
  thread_local TileScratch scratch;
  const FlushDenormals flush;
  configure_tiles();
  const int64_t n = segment.length, padded = (n + 31) / 32 * 32, stride = shape.stride(), bytes = stride * 2;
  const int64_t group = shape.heads / shape.kv_heads;
  const uint16_t* keys = qkv + segment.begin * stride + (shape.heads + kv_head) * kTileDim;
  const uint16_t* values = keys + shape.kv_heads * kTileDim;
  auto* scores = static_cast<float*>(scratch.reserve(padded * (32 * 4 + 64)));  // [keys][32 queries]
  auto* values_t = reinterpret_cast<uint16_t*>(scores + padded * 32);           // two tiles per 32 keys
  for (int64_t k = 0; k < n; k += 32) pack_left_transposed(values + k * stride, stride, values_t + k * kTileDim);
  alignas(64) uint16_t queries_t[2 * kTile], p_tiles[2 * kTile];
  alignas(64) float result[32 * 32];
  const __m512i order = pair_order();
  const Lanes scale = spread(shape.scale);

  for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (int64_t q = 0; q < n; q += 32) {
      const uint16_t* query = qkv + (segment.begin + q) * stride + head * kTileDim;
      pack_transposed(query, stride, queries_t);
      pack_transposed(query + 16 * stride, stride, queries_t + kTile);
      load_right(queries_t);
      Lanes top[2] = {spread(-1e30f), spread(-1e30f)};
      const Lanes index[2] = {kLaneIndex + static_cast<float>(q), kLaneIndex + static_cast<float>(q + 16)};
      // All products before the first use: a vector load soon after a tile store of the same bytes waits for it.
      for (int64_t k = 0; k < q + 32; k += 16) {
        tile_load<4>(keys + k * stride, bytes);
        tile_zero<0>();
        tile_zero<1>();
        tile_multiply<0, 4, 6>();
        tile_multiply<1, 4, 7>();
        tile_store<0>(scores + k * 32, 128);
        tile_store<1>(scores + k * 32 + 16, 128);
      }
      for (int64_t k = 0; k < q; ++k) {
        for (int64_t j = 0; j < 2; ++j) top[j] = max_lanes(top[j], load_lanes(scores + k * 32 + j * 16));
      }
      for (int64_t k = q; k < q + 32; ++k) {
        for (int64_t j = 0; j < 2; ++j) {
          float* at = scores + k * 32 + j * 16;
          const Lanes s = spread(static_cast<float>(k)) <= index[j] ? load_lanes(at) : spread(-1e30f);
          store_lanes(at, s);
          top[j] = max_lanes(top[j], s);
        }
      }
      for (int64_t j = 0; j < 2; ++j) top[j] *= scale;
      Lanes sum[2] = {};
      sum_zero();
      for (int64_t k = 0; k <= q; k += 32) {
        for (int64_t i = 0; i < 16; ++i) {
          const float* row = scores + (k + 2 * i) * 32;
          for (int64_t j = 0; j < 2; ++j) {
            const Lanes a = exp_lanes(load_lanes(row + j * 16) * scale - top[j]);
            const Lanes b = exp_lanes(load_lanes(row + 32 + j * 16) * scale - top[j]);
            sum[j] += a + b;
            _mm512_store_si512(p_tiles + j * kTile + i * 32, pair_lanes(a, b, order));
          }
        }
        load_left(values_t + k * kTileDim);
        load_right(p_tiles);
        sum_multiply();
      }
      sum_store(result);
      uint16_t* to = out + (segment.begin + q) * shape.width() + head * kTileDim;
      float* log_sum = log_sums + head * shape.rows + segment.begin + q;
      for (int64_t j = 0; j < 2; ++j) {
        const int64_t rows = n - q - j * 16;
        if (rows <= 0) break;
        write_transposed(result, j * 16, rows, 1.0f / sum[j], to + j * 16 * shape.width(), shape.width(), order);
        for (int64_t i = 0; i < std::min<int64_t>(rows, 16); ++i) log_sum[j * 16 + i] = top[j][i] + std::log(sum[j][i]);
      }
    }
  }
  release_tiles();
}

OCKHAM_TILES void attention_backward_amx(const AttentionShape& shape, const Segment& segment, int64_t kv_head,
                                         const uint16_t* qkv, const uint16_t* out, const float* log_sums,
                                         const uint16_t* grad_out, uint16_t* grad_qkv) {
  thread_local TileScratch scratch;
  const FlushDenormals flush;
  configure_tiles();
  const int64_t n = segment.length, padded = (n + 31) / 32 * 32, stride = shape.stride(), bytes = stride * 2;
  const int64_t group = shape.heads / shape.kv_heads, width = shape.width();
  const uint16_t* keys = qkv + segment.begin * stride + (shape.heads + kv_head) * kTileDim;
  const uint16_t* values = keys + shape.kv_heads * kTileDim;
  auto* grad_keys = static_cast<float*>(scratch.reserve(padded * (4 * kTileDim * 4 + 64)));
  float* grad_values = grad_keys + padded * kTileDim;
  float* all_scores = grad_values + padded * kTileDim;  // [keys][32 queries], and their gradients
  float* all_grad_p = all_scores + padded * 32;
  auto* keys_t = reinterpret_cast<uint16_t*>(all_grad_p + padded * 32);
  std::fill(grad_keys, grad_keys + 2 * padded * kTileDim, 0.0f);
  for (int64_t k = 0; k < n; k += 32) pack_left_transposed(keys + k * stride, stride, keys_t + k * kTileDim);
  alignas(64) uint16_t queries_t[2 * kTile], queries_p[2 * kTile], grads_t[2 * kTile], grads_p[2 * kTile];
  alignas(64) uint16_t p_rows[2 * kTile], ds_rows[2 * kTile], ds_pairs[2 * kTile];
  alignas(64) float grad_query[32 * 32], delta[32], log_sum[32];
  const __m512i order = pair_order();
  const Lanes scale = spread(shape.scale);

  for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (int64_t q = 0; q < n; q += 32) {
      const uint16_t* query = qkv + (segment.begin + q) * stride + head * kTileDim;
      const uint16_t* grad = grad_out + (segment.begin + q) * width + head * kTileDim;
      const uint16_t* output = out + (segment.begin + q) * width + head * kTileDim;
      for (int64_t j = 0; j < 2; ++j) {
        pack_transposed(query + j * 16 * stride, stride, queries_t + j * kTile);
        pack_transposed(grad + j * 16 * width, width, grads_t + j * kTile);
      }
      pack_pairs(query, stride, queries_p);
      pack_pairs(grad, width, grads_p);
      for (int64_t i = 0; i < 32; ++i) {
        const uint16_t *g = grad + i * width, *o = output + i * width;
        delta[i] = sum_lanes(load_lanes(g) * load_lanes(o) + load_lanes(g + 16) * load_lanes(o + 16));
        // Queries behind the end of the document: e^(s - infinity) is 0, so they touch nothing.
        log_sum[i] = q + i < n ? log_sums[head * shape.rows + segment.begin + q + i] : 1e30f;
      }
      const Lanes deltas[2] = {load_lanes(delta), load_lanes(delta + 16)};
      const Lanes sums[2] = {load_lanes(log_sum), load_lanes(log_sum + 16)};
      const Lanes index[2] = {kLaneIndex + static_cast<float>(q), kLaneIndex + static_cast<float>(q + 16)};
      std::fill(grad_query, grad_query + 2 * kLowerTiles, 0.0f);
      for (int64_t k = 0; k <= q; k += 32) {
        float *scores = all_scores + k * 32, *grad_p = all_grad_p + k * 32;
        tile_load<4>(keys + k * stride, bytes);
        tile_load<5>(keys + (k + 16) * stride, bytes);
        load_right(queries_t);
        sum_zero();
        sum_multiply();
        sum_store(scores);
        tile_load<4>(values + k * stride, bytes);
        tile_load<5>(values + (k + 16) * stride, bytes);
        load_right(grads_t);
        sum_zero();
        sum_multiply();
        sum_store(grad_p);
      }
      for (int64_t k = 0; k <= q; k += 32) {
        const float *scores = all_scores + k * 32, *grad_p = all_grad_p + k * 32;
        for (int64_t i = 0; i < 16; ++i) {
          Lanes p[2][2], ds[2][2];  // [key of the pair][half of the queries]
          for (int64_t key = 0; key < 2; ++key) {
            const int64_t row = 2 * i + key;
            for (int64_t j = 0; j < 2; ++j) {
              p[key][j] = exp_lanes(load_lanes(scores + row * 32 + j * 16) * scale - sums[j]);
              if (k == q) p[key][j] = spread(static_cast<float>(k + row)) <= index[j] ? p[key][j] : Lanes{};
              ds[key][j] = p[key][j] * (load_lanes(grad_p + row * 32 + j * 16) - deltas[j]) * scale;
            }
            _mm512_store_si512(p_rows + row * 32, bf16_row(p[key][0], p[key][1]));
            _mm512_store_si512(ds_rows + row * 32, bf16_row(ds[key][0], ds[key][1]));
          }
          for (int64_t j = 0; j < 2; ++j) {
            _mm512_store_si512(ds_pairs + j * kTile + i * 32, pair_lanes(ds[0][j], ds[1][j], order));
          }
        }
        add_product(grad_values + k * kTileDim, p_rows, grads_p);
        add_product(grad_keys + k * kTileDim, ds_rows, queries_p);
        add_product(grad_query, keys_t + k * kTileDim, ds_pairs);
      }
      uint16_t* to = grad_qkv + (segment.begin + q) * stride + head * kTileDim;
      for (int64_t j = 0; j < 2 && n - q - j * 16 > 0; ++j) {
        write_transposed(grad_query, j * 16, n - q - j * 16, spread(1.0f), to + j * 16 * stride, stride, order);
      }
    }
  }
  for (int64_t k = 0; k < n; ++k) {
    uint16_t* to = grad_qkv + (segment.begin + k) * stride + (shape.heads + kv_head) * kTileDim;
    for (int64_t i = 0; i < kTileDim; i += kLanes) {
      store_lanes(to + i, load_lanes(grad_keys + k * kTileDim + i));
      store_lanes(to + shape.kv_heads * kTileDim + i, load_lanes(grad_values + k * kTileDim + i));
    }
  }
  release_tiles();
}

bool has_fast_bf16() {
  static const bool kAvailable = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    const bool has_avx512 = b >> 16 & 1, has_amx = d >> 22 & 1;
    return has_amx || (has_avx512 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1));
  }();
  return kAvailable;
}

bool amx_available() {
  static const bool kAvailable = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    const bool has_tiles = (d >> 22 & 1) && (d >> 24 & 1);                                     // AMX-BF16, AMX-TILE
    const bool has_avx512 = (b >> 16 & 1) && (b >> 17 & 1) && (b >> 30 & 1) && (b >> 31 & 1);  // F, DQ, BW, VL
    if (!has_tiles || !has_avx512 || !__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a >> 5 & 1)) return false;
    // arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)
    return syscall(SYS_arch_prctl, 0x1023L, 18L) == 0;
  }();
  return kAvailable;
}

}  // namespace ockham

#else

namespace ockham {

bool has_fast_bf16() {
  return true;  // of other processors nothing is known
}

bool amx_available() {
  return false;
}
void attention_forward_amx(const AttentionShape&, const Segment&, int64_t, const uint16_t*, uint16_t*, float*) {}
void attention_backward_amx(const AttentionShape&, const Segment&, int64_t, const uint16_t*, const uint16_t*,
                            const float*, const uint16_t*, uint16_t*) {}

}  // namespace ockham
#endif
