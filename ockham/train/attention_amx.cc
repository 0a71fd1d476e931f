// Causal attention of one document with AMX tiles, bf16, head_dim 32.
//
// Scores are kept transposed (rows are keys, lanes are queries): maxima, sums and log-sum-exps are then plain lane-wise
// operations, keys and values are tile operands as they lie in memory, and only queries and gradients need transposing.
// A tile is 16 rows of 64 bytes: as left operand 16 x 32 bf16; as right operand 16 pairs of rows x 16 columns.
#include "ockham/train/attention.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "ockham/train/lanes.h"

// GCC 12 warns about its own intrinsics (bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

#define OCKHAM_TILES __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))
#define OCKHAM_TILES_INLINE inline __attribute__((always_inline, target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))

namespace ockham {
namespace {

constexpr int64_t kDim = 32, kTile = 512;  // bf16 elements of one tile: 16 x 32

struct alignas(64) TileConfig {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
};

// Eight tiles of 16 x 64 bytes; other users of tiles (oneDNN) set their own before each use.
void configure_tiles() {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    config.bytes[i] = 64;
    config.rows[i] = 16;
  }
  asm volatile("ldtilecfg %0" ::"m"(config));
}
void release_tiles() { asm volatile("tilerelease" ::: "memory"); }

template <int tile>
OCKHAM_INLINE void tile_load(const void* from, int64_t stride_bytes) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride_bytes), "i"(tile) : "memory");
}
template <int tile>
OCKHAM_INLINE void tile_store(void* to, int64_t stride_bytes) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride_bytes), "i"(tile) : "memory");
}
template <int tile>
OCKHAM_INLINE void tile_zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(tile));
}
// sum += left * right
template <int sum, int left, int right>
OCKHAM_INLINE void tile_multiply() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sum), "i"(left), "i"(right));
}

// 16 x 16 words of 32 bits, transposed.
OCKHAM_TILES_INLINE void transpose(__m512i r[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

// 16 rows of 32 bf16 -> right operand whose sum runs over the row's elements (pairs of columns x rows).
OCKHAM_TILES_INLINE void pack_transposed(const uint16_t* rows, int64_t stride, uint16_t* tile) {
  __m512i r[16];
  for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_si512(rows + i * stride);
  transpose(r);
  for (int i = 0; i < 16; ++i) _mm512_store_si512(tile + i * 32, r[i]);
}
OCKHAM_TILES_INLINE __m512i interleave(__m512i low, __m512i high, int half) {
  const __m256i a = half ? _mm512_extracti64x4_epi64(low, 1) : _mm512_castsi512_si256(low);
  const __m256i b = half ? _mm512_extracti64x4_epi64(high, 1) : _mm512_castsi512_si256(high);
  return _mm512_or_si512(_mm512_cvtepu16_epi32(a), _mm512_slli_epi32(_mm512_cvtepu16_epi32(b), 16));
}
// 32 rows of 32 bf16 -> two right operands whose sum runs over the rows, columns 0..15 and 16..31.
OCKHAM_TILES_INLINE void pack_pairs(const uint16_t* rows, int64_t stride, uint16_t* tiles) {
  for (int i = 0; i < 16; ++i) {
    const __m512i a = _mm512_loadu_si512(rows + 2 * i * stride), b = _mm512_loadu_si512(rows + (2 * i + 1) * stride);
    for (int half = 0; half < 2; ++half) _mm512_store_si512(tiles + half * kTile + i * 32, interleave(a, b, half));
  }
}
// 32 rows of 32 bf16 -> two left operands: the transposed matrix, its rows 0..15 and 16..31.
OCKHAM_TILES_INLINE void pack_left_transposed(const uint16_t* rows, int64_t stride, uint16_t* tiles) {
  for (int half = 0; half < 2; ++half) {
    __m512i r[16];
    for (int i = 0; i < 16; ++i) {
      r[i] = interleave(_mm512_loadu_si512(rows + 2 * i * stride), _mm512_loadu_si512(rows + (2 * i + 1) * stride), half);
    }
    transpose(r);
    for (int i = 0; i < 16; ++i) _mm512_store_si512(tiles + half * kTile + i * 32, r[i]);
  }
}
// Two rows of 16 floats as bf16 pairs (low, high) per lane.
OCKHAM_TILES_INLINE __m512i pair_lanes(const Lanes& low, const Lanes& high, __m512i order) {
  const __m512i both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(high), reinterpret_cast<__m512>(low)));
  return _mm512_permutexvar_epi16(order, both);
}
OCKHAM_TILES_INLINE __m512i pair_order() {
  alignas(64) uint16_t order[32];
  for (int i = 0; i < 16; ++i) {
    order[2 * i] = static_cast<uint16_t>(i);
    order[2 * i + 1] = static_cast<uint16_t>(16 + i);
  }
  return _mm512_load_si512(order);
}
// [32 columns][32 lanes] floats, lanes `from`..: writes up to `rows` rows of 32 bf16, each lane times its factor.
OCKHAM_TILES_INLINE void write_transposed(const float* values, int from, int64_t rows, const Lanes& factor, uint16_t* to,
                                          int64_t stride, __m512i order) {
  __m512i r[16];
  for (int i = 0; i < 16; ++i) {
    r[i] = pair_lanes(load_lanes(values + 2 * i * 32 + from) * factor, load_lanes(values + (2 * i + 1) * 32 + from) * factor,
                      order);
  }
  transpose(r);
  for (int64_t i = 0; i < std::min<int64_t>(rows, 16); ++i) _mm512_storeu_si512(to + i * stride, r[i]);
}

struct AlignedFree {
  void operator()(void* p) const { std::free(p); }
};
// Grows and never shrinks; one per thread and purpose.
class Scratch {
 public:
  void* reserve(int64_t bytes) {
    if (bytes > bytes_) {
      bytes_ = (bytes + 4095) / 4096 * 4096;
      memory_.reset(std::aligned_alloc(64, static_cast<size_t>(bytes_)));
    }
    return memory_.get();
  }

 private:
  std::unique_ptr<void, AlignedFree> memory_;
  int64_t bytes_ = 0;
};

// Probabilities near e^-87 times anything are denormal numbers, a hundred times slower than others: rounded to zero here.
class FlushDenormals {
 public:
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(saved_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned saved_;
};

const Lanes kLaneIndex = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

}  // namespace

OCKHAM_TILES void attention_forward_amx(const AttentionShape& shape, const Segment& segment, int64_t kv_head,
                                        const uint16_t* qkv, uint16_t* out, float* log_sums) {
  thread_local Scratch scratch;
  const FlushDenormals flush;
  configure_tiles();
  const int64_t n = segment.length, padded = (n + 31) / 32 * 32, stride = shape.stride(), bytes = stride * 2;
  const int64_t group = shape.heads / shape.kv_heads;
  const uint16_t* keys = qkv + segment.begin * stride + (shape.heads + kv_head) * kDim;
  const uint16_t* values = keys + shape.kv_heads * kDim;
  auto* scores = static_cast<float*>(scratch.reserve(padded * (32 * 4 + 64)));  // [keys][32 queries]
  auto* values_t = reinterpret_cast<uint16_t*>(scores + padded * 32);           // two tiles per 32 keys
  for (int64_t k = 0; k < n; k += 32) pack_left_transposed(values + k * stride, stride, values_t + k * kDim);
  alignas(64) uint16_t queries_t[2 * kTile], p_tiles[2 * kTile];
  alignas(64) float result[32 * 32];
  const __m512i order = pair_order();
  const Lanes scale = spread(shape.scale);

  for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (int64_t q = 0; q < n; q += 32) {
      const uint16_t* query = qkv + (segment.begin + q) * stride + head * kDim;
      pack_transposed(query, stride, queries_t);
      pack_transposed(query + 16 * stride, stride, queries_t + kTile);
      tile_load<6>(queries_t, 64);
      tile_load<7>(queries_t + kTile, 64);
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
        for (int j = 0; j < 2; ++j) top[j] = max_lanes(top[j], load_lanes(scores + k * 32 + j * 16));
      }
      for (int64_t k = q; k < q + 32; ++k) {
        for (int j = 0; j < 2; ++j) {
          float* at = scores + k * 32 + j * 16;
          const Lanes s = spread(static_cast<float>(k)) <= index[j] ? load_lanes(at) : spread(-1e30f);
          store_lanes(at, s);
          top[j] = max_lanes(top[j], s);
        }
      }
      for (int j = 0; j < 2; ++j) top[j] *= scale;
      Lanes sum[2] = {};
      tile_zero<0>();
      tile_zero<1>();
      tile_zero<2>();
      tile_zero<3>();
      for (int64_t k = 0; k <= q; k += 32) {
        for (int i = 0; i < 16; ++i) {
          const float* row = scores + (k + 2 * i) * 32;
          for (int j = 0; j < 2; ++j) {
            const Lanes a = exp_lanes(load_lanes(row + j * 16) * scale - top[j]);
            const Lanes b = exp_lanes(load_lanes(row + 32 + j * 16) * scale - top[j]);
            sum[j] += a + b;
            _mm512_store_si512(p_tiles + j * kTile + i * 32, pair_lanes(a, b, order));
          }
        }
        tile_load<4>(values_t + k * kDim, 64);
        tile_load<5>(values_t + k * kDim + kTile, 64);
        tile_load<6>(p_tiles, 64);
        tile_load<7>(p_tiles + kTile, 64);
        tile_multiply<0, 4, 6>();
        tile_multiply<1, 4, 7>();
        tile_multiply<2, 5, 6>();
        tile_multiply<3, 5, 7>();
      }
      tile_store<0>(result, 128);
      tile_store<1>(result + 16, 128);
      tile_store<2>(result + 16 * 32, 128);
      tile_store<3>(result + 16 * 32 + 16, 128);
      uint16_t* to = out + (segment.begin + q) * shape.width() + head * kDim;
      float* log_sum = log_sums + head * shape.rows + segment.begin + q;
      for (int j = 0; j < 2; ++j) {
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
  thread_local Scratch scratch;
  const FlushDenormals flush;
  configure_tiles();
  const int64_t n = segment.length, padded = (n + 31) / 32 * 32, stride = shape.stride(), bytes = stride * 2;
  const int64_t group = shape.heads / shape.kv_heads, width = shape.width();
  const uint16_t* keys = qkv + segment.begin * stride + (shape.heads + kv_head) * kDim;
  const uint16_t* values = keys + shape.kv_heads * kDim;
  auto* grad_keys = static_cast<float*>(scratch.reserve(padded * (4 * kDim * 4 + 64)));
  float* grad_values = grad_keys + padded * kDim;
  float* all_scores = grad_values + padded * kDim;  // [keys][32 queries], and their gradients
  float* all_grad_p = all_scores + padded * 32;
  auto* keys_t = reinterpret_cast<uint16_t*>(all_grad_p + padded * 32);
  std::fill(grad_keys, grad_keys + 2 * padded * kDim, 0.0f);
  for (int64_t k = 0; k < n; k += 32) pack_left_transposed(keys + k * stride, stride, keys_t + k * kDim);
  alignas(64) uint16_t queries_t[2 * kTile], queries_p[2 * kTile], grads_t[2 * kTile], grads_p[2 * kTile];
  alignas(64) uint16_t p_rows[2 * kTile], ds_rows[2 * kTile], ds_pairs[2 * kTile];
  alignas(64) float grad_query[32 * 32], delta[32], log_sum[32];
  const __m512i order = pair_order();
  const Lanes scale = spread(shape.scale);

  for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (int64_t q = 0; q < n; q += 32) {
      const uint16_t* query = qkv + (segment.begin + q) * stride + head * kDim;
      const uint16_t* grad = grad_out + (segment.begin + q) * width + head * kDim;
      const uint16_t* output = out + (segment.begin + q) * width + head * kDim;
      for (int j = 0; j < 2; ++j) {
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
      std::fill(grad_query, grad_query + 32 * 32, 0.0f);
      for (int64_t k = 0; k <= q; k += 32) {
        float *scores = all_scores + k * 32, *grad_p = all_grad_p + k * 32;
        tile_load<4>(keys + k * stride, bytes);
        tile_load<5>(keys + (k + 16) * stride, bytes);
        tile_load<6>(queries_t, 64);
        tile_load<7>(queries_t + kTile, 64);
        tile_zero<0>();
        tile_zero<1>();
        tile_zero<2>();
        tile_zero<3>();
        tile_multiply<0, 4, 6>();
        tile_multiply<1, 4, 7>();
        tile_multiply<2, 5, 6>();
        tile_multiply<3, 5, 7>();
        tile_store<0>(scores, 128);
        tile_store<1>(scores + 16, 128);
        tile_store<2>(scores + 16 * 32, 128);
        tile_store<3>(scores + 16 * 32 + 16, 128);
        tile_load<4>(values + k * stride, bytes);
        tile_load<5>(values + (k + 16) * stride, bytes);
        tile_load<6>(grads_t, 64);
        tile_load<7>(grads_t + kTile, 64);
        tile_zero<0>();
        tile_zero<1>();
        tile_zero<2>();
        tile_zero<3>();
        tile_multiply<0, 4, 6>();
        tile_multiply<1, 4, 7>();
        tile_multiply<2, 5, 6>();
        tile_multiply<3, 5, 7>();
        tile_store<0>(grad_p, 128);
        tile_store<1>(grad_p + 16, 128);
        tile_store<2>(grad_p + 16 * 32, 128);
        tile_store<3>(grad_p + 16 * 32 + 16, 128);
      }
      for (int64_t k = 0; k <= q; k += 32) {
        const float *scores = all_scores + k * 32, *grad_p = all_grad_p + k * 32;
        for (int i = 0; i < 16; ++i) {
          Lanes p[2][2], ds[2][2];  // [key of the pair][half of the queries]
          for (int key = 0; key < 2; ++key) {
            const int row = 2 * i + key;
            for (int j = 0; j < 2; ++j) {
              p[key][j] = exp_lanes(load_lanes(scores + row * 32 + j * 16) * scale - sums[j]);
              if (k == q) p[key][j] = spread(static_cast<float>(k + row)) <= index[j] ? p[key][j] : Lanes{};
              ds[key][j] = p[key][j] * (load_lanes(grad_p + row * 32 + j * 16) - deltas[j]) * scale;
            }
            _mm512_store_si512(p_rows + row * 32, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(
                                                      reinterpret_cast<__m512>(p[key][1]), reinterpret_cast<__m512>(p[key][0]))));
            _mm512_store_si512(ds_rows + row * 32,
                               reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(ds[key][1]),
                                                                             reinterpret_cast<__m512>(ds[key][0]))));
          }
          for (int j = 0; j < 2; ++j) {
            _mm512_store_si512(ds_pairs + j * kTile + i * 32, pair_lanes(ds[0][j], ds[1][j], order));
          }
        }
        const auto add_product = [](float* sum, const uint16_t* left, const uint16_t* right) OCKHAM_TILES {
          tile_load<0>(sum, 128);
          tile_load<1>(sum + 16, 128);
          tile_load<2>(sum + 16 * 32, 128);
          tile_load<3>(sum + 16 * 32 + 16, 128);
          tile_load<4>(left, 64);
          tile_load<5>(left + kTile, 64);
          tile_load<6>(right, 64);
          tile_load<7>(right + kTile, 64);
          tile_multiply<0, 4, 6>();
          tile_multiply<1, 4, 7>();
          tile_multiply<2, 5, 6>();
          tile_multiply<3, 5, 7>();
          tile_store<0>(sum, 128);
          tile_store<1>(sum + 16, 128);
          tile_store<2>(sum + 16 * 32, 128);
          tile_store<3>(sum + 16 * 32 + 16, 128);
        };
        add_product(grad_values + k * kDim, p_rows, grads_p);
        add_product(grad_keys + k * kDim, ds_rows, queries_p);
        add_product(grad_query, keys_t + k * kDim, ds_pairs);
      }
      uint16_t* to = grad_qkv + (segment.begin + q) * stride + head * kDim;
      for (int j = 0; j < 2 && n - q - j * 16 > 0; ++j) {
        write_transposed(grad_query, j * 16, n - q - j * 16, spread(1.0f), to + j * 16 * stride, stride, order);
      }
    }
  }
  for (int64_t k = 0; k < n; ++k) {
    uint16_t* to = grad_qkv + (segment.begin + k) * stride + (shape.heads + kv_head) * kDim;
    for (int64_t i = 0; i < kDim; i += kLanes) {
      store_lanes(to + i, load_lanes(grad_keys + k * kDim + i));
      store_lanes(to + shape.kv_heads * kDim + i, load_lanes(grad_values + k * kDim + i));
    }
  }
  release_tiles();
}

bool amx_available() {
  static const bool available = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    const bool has_tiles = (d >> 22 & 1) && (d >> 24 & 1);                                // AMX-BF16, AMX-TILE
    const bool has_avx512 = (b >> 16 & 1) && (b >> 17 & 1) && (b >> 30 & 1) && (b >> 31 & 1);  // F, DQ, BW, VL
    if (!has_tiles || !has_avx512 || !__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a >> 5 & 1)) return false;
    constexpr long kRequestPermission = 0x1023, kTileData = 18;  // arch_prctl(ARCH_REQ_XCOMP_PERM)
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return available;
}

}  // namespace ockham

#else

namespace ockham {

bool amx_available() { return false; }
void attention_forward_amx(const AttentionShape&, const Segment&, int64_t, const uint16_t*, uint16_t*, float*) {}
void attention_backward_amx(const AttentionShape&, const Segment&, int64_t, const uint16_t*, const uint16_t*, const float*,
                            const uint16_t*, uint16_t*) {}

}  // namespace ockham
#endif
