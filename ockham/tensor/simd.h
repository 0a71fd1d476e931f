// What this processor can do, for kernels that are written for some processors only.
#pragma once

namespace ockham {

// AVX2 and FMA without AVX-512: wider registers would make these kernels slower than a BLAS library's.
inline bool has_avx2_alone() {
#if defined(__x86_64__)
  static const bool kHas =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && !__builtin_cpu_supports("avx512f");
  return kHas;
#else
  return false;
#endif
}

}  // namespace ockham
