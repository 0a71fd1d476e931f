// Sixteen floats at a time, in the compiler's own vector types: one source, compiled for several instruction sets by
// the functions that include it. bf16 is held as its upper sixteen bits.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

// Passing vectors by value between functions of different instruction sets is only a question for calls, and all are
// inlined.
#pragma GCC diagnostic ignored "-Wpsabi"

#define OCKHAM_INLINE inline __attribute__((always_inline))
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define OCKHAM_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define OCKHAM_CLONES
#endif

namespace ockham {

constexpr int64_t kLanes = 16;
using Lanes = float __attribute__((vector_size(64)));
using LaneBits = uint32_t __attribute__((vector_size(64)));
using LaneInts = int32_t __attribute__((vector_size(64)));
using HalfBits = uint16_t __attribute__((vector_size(32)));

OCKHAM_INLINE Lanes spread(float value) {
  return Lanes{} + value;
}

OCKHAM_INLINE Lanes load_lanes(const float* from) {
  Lanes value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}
OCKHAM_INLINE Lanes load_lanes(const uint16_t* from) {
  HalfBits half;
  std::memcpy(&half, from, sizeof(half));
  const LaneBits wide = __builtin_convertvector(half, LaneBits) << 16;
  Lanes value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}
OCKHAM_INLINE void store_lanes(float* to, const Lanes& value) {
  std::memcpy(to, &value, sizeof(value));
}
// Round to nearest, ties to even; NaN does not occur here (the loss is checked every step).
OCKHAM_INLINE void store_lanes(uint16_t* to, const Lanes& value) {
  LaneBits bits;
  std::memcpy(&bits, &value, sizeof(bits));
  bits += 0x7fffu + ((bits >> 16) & 1u);
  const HalfBits half = __builtin_convertvector(bits >> 16, HalfBits);
  std::memcpy(to, &half, sizeof(half));
}

OCKHAM_INLINE float sum_lanes(const Lanes& lanes) {
  Lanes v = lanes;
  v += __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
  v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  return v[0] + v[1];
}
OCKHAM_INLINE Lanes max_lanes(const Lanes& a, const Lanes& b) {
  return a > b ? a : b;
}

// e^x for x in [-87, 88], clamped below; relative error below 3e-7 (a polynomial of degree 6 on [-ln2/2, ln2/2]).
OCKHAM_INLINE Lanes exp_lanes(const Lanes& power) {
  const Lanes x = max_lanes(power, spread(-87.0f));
  const float magic = 12582912.0f;  // adding it rounds to an integer and leaves that in the low bits
  const Lanes shifted = x * 1.44269504f + magic;
  const Lanes whole = shifted - magic;
  const Lanes r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
  Lanes p = spread(1.0f / 720);
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  LaneInts bits, exponent;
  std::memcpy(&exponent, &shifted, sizeof(exponent));
  std::memcpy(&bits, &p, sizeof(bits));
  bits += exponent << 23;  // the magic number's own low bits are zero
  std::memcpy(&p, &bits, sizeof(p));
  return p;
}

}  // namespace ockham
