// What this processor can do, for kernels that are written for some processors only, and what such kernels share.
#pragma once

#include <cstdint>

// For the small functions of a kernel, whose values are registers.
#define OCKHAM_INLINE inline __attribute__((always_inline))

// OCKHAM_KERNEL_SOURCE stands before the kernels of a source: everything is optimized for speed, and vectors wider than
// the default target's may be passed, since they are to inlined functions only. What stands between one of the next two
// and OCKHAM_END_TARGET is compiled for such a processor.
#define OCKHAM_PRAGMA(...) _Pragma(#__VA_ARGS__)
#if defined(__clang__)
#define OCKHAM_KERNEL_SOURCE
#define OCKHAM_BEGIN_AVX2 OCKHAM_PRAGMA(clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function))
#define OCKHAM_BEGIN_AVX512                                                                                           \
  OCKHAM_PRAGMA(clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512bw,avx512cd,avx512dq,avx512vl"))), \
                                     apply_to = function))
#define OCKHAM_END_TARGET OCKHAM_PRAGMA(clang attribute pop)
#else
#define OCKHAM_KERNEL_SOURCE OCKHAM_PRAGMA(GCC optimize("O3")) OCKHAM_PRAGMA(GCC diagnostic ignored "-Wpsabi")
#define OCKHAM_BEGIN_AVX2 OCKHAM_PRAGMA(GCC push_options) OCKHAM_PRAGMA(GCC target("avx2,fma"))
#define OCKHAM_BEGIN_AVX512 \
  OCKHAM_PRAGMA(GCC push_options) OCKHAM_PRAGMA(GCC target("arch=x86-64-v4,prefer-vector-width=512"))
#define OCKHAM_END_TARGET OCKHAM_PRAGMA(GCC pop_options)
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ockham {

// Each holds the ones before it. kAvx2: with FMA. kAvx512: F, BW, CD, DQ and VL (x86-64-v4).
enum class Simd { kNone, kAvx2, kAvx512 };

// Rows of a kernel's tiles that both sets share without a rest: six with AVX2, eight with AVX-512.
inline constexpr int64_t kWholeTiles = 24;

inline Simd best_simd() {
#if defined(__x86_64__)
  static const Simd kBest = [] {
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Simd::kNone;
    const bool is_v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                       __builtin_cpu_supports("avx512vl");
    return is_v4 ? Simd::kAvx512 : Simd::kAvx2;
  }();
  return kBest;
#else
  return Simd::kNone;
#endif
}

#if defined(__x86_64__)
// Eight numbers of each of eight rows, turned over: out[j * out_stride + i] = in[i * in_stride + j].
__attribute__((target("avx2,fma"))) inline void turn_8x8(const float* in, int64_t in_stride, float* out,
                                                         int64_t out_stride) {
  __m256 r[8], s[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(in + i * in_stride);
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    s[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    s[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(s[i], s[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(s[i], s[i + 2], 0xEE);
    r[i + 2] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0xEE);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(out + i * out_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(out + (i + 4) * out_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}
#endif

}  // namespace ockham
