// How sources of kernels are compiled. OCKHAM_KERNEL_SOURCE stands before the kernels: everything is optimized for
// speed, and vectors wider than the default target's may be passed, since they are to inlined functions only. What
// stands between OCKHAM_BEGIN_... and OCKHAM_END_TARGET is compiled for such a processor; a template takes the target
// under which it is written, not that under which it is used.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define OCKHAM_INLINE inline __attribute__((always_inline))
#define OCKHAM_LAMBDA_INLINE __attribute__((always_inline))
// Into the second cache: weights are read once, in order, and more lines than the first cache can wait for are asked
// for (a fifth more bandwidth than with the processor's own foresight alone). Addresses beyond the end do no harm.
#define OCKHAM_PREFETCH(address) __builtin_prefetch(address, 0, 2)
#define OCKHAM_PRAGMA(...) _Pragma(#__VA_ARGS__)
#if defined(__clang__)
#define OCKHAM_KERNEL_SOURCE OCKHAM_PRAGMA(clang diagnostic ignored "-Wpsabi")
#define OCKHAM_BEGIN_AVX2 \
  OCKHAM_PRAGMA(clang attribute push(__attribute__((target("avx2,fma,f16c,bmi,bmi2,popcnt"))), apply_to = function))
#define OCKHAM_BEGIN_AVX512                                                                              \
  OCKHAM_PRAGMA(clang attribute push(                                                                    \
      __attribute__((target("avx2,fma,f16c,bmi,bmi2,popcnt,avx512f,avx512bw,avx512cd,avx512dq,avx512vl," \
                            "avx512vnni,avx512vbmi,avx512vbmi2,avx512bitalg"))),                         \
      apply_to = function))
#define OCKHAM_BEGIN_AMX                                                                                 \
  OCKHAM_PRAGMA(clang attribute push(                                                                    \
      __attribute__((target("avx2,fma,f16c,bmi,bmi2,popcnt,avx512f,avx512bw,avx512cd,avx512dq,avx512vl," \
                            "avx512vnni,avx512vbmi,avx512vbmi2,avx512bitalg,avx512bf16"))),              \
      apply_to = function))
#define OCKHAM_END_TARGET OCKHAM_PRAGMA(clang attribute pop)
#else
// GCC 12 warns about its own intrinsics (bug 105593).
#define OCKHAM_KERNEL_SOURCE                              \
  OCKHAM_PRAGMA(GCC optimize("O3"))                       \
  OCKHAM_PRAGMA(GCC diagnostic ignored "-Wpsabi")         \
  OCKHAM_PRAGMA(GCC diagnostic ignored "-Wuninitialized") \
  OCKHAM_PRAGMA(GCC diagnostic ignored "-Wmaybe-uninitialized")
#define OCKHAM_BEGIN_AVX2 OCKHAM_PRAGMA(GCC push_options) OCKHAM_PRAGMA(GCC target("avx2,fma,f16c,bmi,bmi2,popcnt"))
#define OCKHAM_BEGIN_AVX512       \
  OCKHAM_PRAGMA(GCC push_options) \
  OCKHAM_PRAGMA(GCC target("arch=x86-64-v4,avx512vnni,avx512vbmi,avx512vbmi2,avx512bitalg,prefer-vector-width=512"))
#define OCKHAM_BEGIN_AMX                                                                     \
  OCKHAM_PRAGMA(GCC push_options)                                                            \
  OCKHAM_PRAGMA(                                                                             \
      GCC target("arch=x86-64-v4,avx512vnni,avx512vbmi,avx512vbmi2,avx512bitalg,avx512bf16," \
                 "prefer-vector-width=512"))
#define OCKHAM_END_TARGET OCKHAM_PRAGMA(GCC pop_options)
#endif
