// AMX tiles for attention: loads, products and the packing of their operands. Only for sources that check
// amx_available(). A tile is 16 rows of 64 bytes: as left operand 16 x 32 bf16; as right operand 16 pairs of rows x 16
// columns.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "ockham/train/lanes.h"

// GCC 12 warns about its own intrinsics (bug 105593).
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#define OCKHAM_TILES __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))
#define OCKHAM_TILES_INLINE \
  inline __attribute__((always_inline, target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))

namespace ockham {

constexpr int64_t kLowerTiles = 512;           // floats before the second row of tiles of a 32 x 32 matrix
constexpr int64_t kTileDim = 32, kTile = 512;  // bf16 elements of one tile: 16 x 32

struct alignas(64) TileConfig {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
};

// Eight tiles of 16 x 64 bytes; other users of tiles (oneDNN) set their own before each use.
inline void configure_tiles() {
  TileConfig config;
  for (int64_t i = 0; i < 8; ++i) {
    config.bytes[i] = 64;
    config.rows[i] = 16;
  }
  asm volatile("ldtilecfg %0" ::"m"(config));
}
inline void release_tiles() {
  asm volatile("tilerelease" ::: "memory");
}

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

// Tiles 0..3 hold one 32 x 32 float matrix (two tiles a row), 4 and 5 its left, 6 and 7 its right operands.
OCKHAM_INLINE void sum_zero() {
  tile_zero<0>();
  tile_zero<1>();
  tile_zero<2>();
  tile_zero<3>();
}
OCKHAM_INLINE void sum_load(const float* from) {
  tile_load<0>(from, 128);
  tile_load<1>(from + 16, 128);
  tile_load<2>(from + kLowerTiles, 128);
  tile_load<3>(from + kLowerTiles + 16, 128);
}
OCKHAM_INLINE void sum_store(float* to) {
  tile_store<0>(to, 128);
  tile_store<1>(to + 16, 128);
  tile_store<2>(to + kLowerTiles, 128);
  tile_store<3>(to + kLowerTiles + 16, 128);
}
OCKHAM_INLINE void sum_multiply() {
  tile_multiply<0, 4, 6>();
  tile_multiply<1, 4, 7>();
  tile_multiply<2, 5, 6>();
  tile_multiply<3, 5, 7>();
}
// Packed operands, 16 rows of 64 bytes each.
OCKHAM_INLINE void load_left(const uint16_t* tiles) {
  tile_load<4>(tiles, 64);
  tile_load<5>(tiles + kTile, 64);
}
OCKHAM_INLINE void load_right(const uint16_t* tiles) {
  tile_load<6>(tiles, 64);
  tile_load<7>(tiles + kTile, 64);
}
// to += left * right
OCKHAM_INLINE void add_product(float* to, const uint16_t* left, const uint16_t* right) {
  sum_load(to);
  load_left(left);
  load_right(right);
  sum_multiply();
  sum_store(to);
}

// 16 x 16 words of 32 bits, transposed.
OCKHAM_TILES_INLINE void transpose_words(__m512i r[16]) {
  __m512i t[16];
  for (int64_t i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int64_t i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int64_t i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int64_t i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

// 16 rows of 32 bf16 -> right operand whose sum runs over the row's elements (pairs of columns x rows).
OCKHAM_TILES_INLINE void pack_transposed(const uint16_t* rows, int64_t stride, uint16_t* tile) {
  __m512i r[16];
  for (int64_t i = 0; i < 16; ++i) r[i] = _mm512_loadu_si512(rows + i * stride);
  transpose_words(r);
  for (int64_t i = 0; i < 16; ++i) _mm512_store_si512(tile + i * 32, r[i]);
}
OCKHAM_TILES_INLINE __m512i interleave_words(__m512i low, __m512i high, int64_t half) {
  const __m256i a = half ? _mm512_extracti64x4_epi64(low, 1) : _mm512_castsi512_si256(low);
  const __m256i b = half ? _mm512_extracti64x4_epi64(high, 1) : _mm512_castsi512_si256(high);
  return _mm512_or_si512(_mm512_cvtepu16_epi32(a), _mm512_slli_epi32(_mm512_cvtepu16_epi32(b), 16));
}
// 32 rows of 32 bf16 -> two right operands whose sum runs over the rows, columns 0..15 and 16..31.
OCKHAM_TILES_INLINE void pack_pairs(const uint16_t* rows, int64_t stride, uint16_t* tiles) {
  for (int64_t i = 0; i < 16; ++i) {
    const __m512i a = _mm512_loadu_si512(rows + 2 * i * stride), b = _mm512_loadu_si512(rows + (2 * i + 1) * stride);
    for (int64_t half = 0; half < 2; ++half)
      _mm512_store_si512(tiles + half * kTile + i * 32, interleave_words(a, b, half));
  }
}
// 32 rows of 32 bf16 -> two left operands: the transposed matrix, its rows 0..15 and 16..31.
OCKHAM_TILES_INLINE void pack_left_transposed(const uint16_t* rows, int64_t stride, uint16_t* tiles) {
  for (int64_t half = 0; half < 2; ++half) {
    __m512i r[16];
    for (int64_t i = 0; i < 16; ++i) {
      r[i] = interleave_words(_mm512_loadu_si512(rows + 2 * i * stride),
                              _mm512_loadu_si512(rows + (2 * i + 1) * stride), half);
    }
    transpose_words(r);
    for (int64_t i = 0; i < 16; ++i) _mm512_store_si512(tiles + half * kTile + i * 32, r[i]);
  }
}
// 32 floats as one row of bf16.
OCKHAM_TILES_INLINE __m512i bf16_row(const Lanes& low, const Lanes& high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(high), reinterpret_cast<__m512>(low)));
}
// Two rows of 16 floats as bf16 pairs (low, high) per lane.
OCKHAM_TILES_INLINE __m512i pair_lanes(const Lanes& low, const Lanes& high, __m512i order) {
  return _mm512_permutexvar_epi16(order, bf16_row(low, high));
}
OCKHAM_TILES_INLINE __m512i pair_order() {
  alignas(64) uint16_t order[32];
  for (int64_t i = 0; i < 16; ++i) {
    order[2 * i] = static_cast<uint16_t>(i);
    order[2 * i + 1] = static_cast<uint16_t>(16 + i);
  }
  return _mm512_load_si512(order);
}
// [32 columns][32 lanes] floats, lanes `from`..: writes up to `rows` rows of 32 bf16, each lane times its factor.
OCKHAM_TILES_INLINE void write_transposed(const float* values, int64_t from, int64_t rows, const Lanes& factor,
                                          uint16_t* to, int64_t stride, __m512i order) {
  __m512i r[16];
  for (int64_t i = 0; i < 16; ++i) {
    r[i] = pair_lanes(load_lanes(values + 2 * i * 32 + from) * factor,
                      load_lanes(values + (2 * i + 1) * 32 + from) * factor, order);
  }
  transpose_words(r);
  for (int64_t i = 0; i < std::min<int64_t>(rows, 16); ++i) _mm512_storeu_si512(to + i * stride, r[i]);
}

struct AlignedFree {
  void operator()(void* p) const { std::free(p); }
};
// Grows and never shrinks; one per thread and purpose.
class TileScratch {
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

// Probabilities near e^-87 times anything are denormal numbers, a hundred times slower than others: rounded to zero
// here.
class FlushDenormals {
 public:
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(saved_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned saved_;
};

inline const Lanes kLaneIndex = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

}  // namespace ockham
