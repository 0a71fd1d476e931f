// Plain loops, compiled for several instruction sets and chosen when the program starts.
#include "ockham/tensor/fused.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"
#include "ockham/tensor/parallel.h"
#include "ockham/tensor/simd.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define OCKHAM_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define OCKHAM_CLONES
#endif

namespace ockham {
namespace {

constexpr int64_t kRowsPerPart = 256;

// bf16 is held as its sixteen bits.
OCKHAM_INLINE float widen(float value) {
  return value;
}
OCKHAM_INLINE float widen(uint16_t value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof(wide));
  return wide;
}
OCKHAM_INLINE void narrow(float value, float& out) {
  out = value;
}
// Round to nearest, ties to even; NaN stays NaN.
OCKHAM_INLINE void narrow(float value, uint16_t& out) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  const uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  out = static_cast<uint16_t>((bits & 0x7fffffffU) > 0x7f800000U ? 0x7fc0U : rounded);
}
template <typename T>
OCKHAM_INLINE float rounded(float value) {
  T out;
  narrow(value, out);
  return widen(out);
}

template <typename T>
OCKHAM_INLINE void norm_rows(const T* x, const T* weight, T* y, int64_t rows, int64_t n, float eps) {
  constexpr int64_t kLanes = 16;  // independent sums, so that additions do not wait for each other
  for (int64_t row = 0; row < rows; ++row, x += n, y += n) {
    float sums[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      for (int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += widen(x[i + lane]) * widen(x[i + lane]);
    }
    float total = 0;
    for (; i < n; ++i) total += widen(x[i]) * widen(x[i]);
    for (const float sum : sums) total += sum;
    const float inverse = 1.0f / std::sqrt(total / static_cast<float>(n) + eps);
    for (i = 0; i < n; ++i) narrow(rounded<T>(widen(x[i]) * inverse) * widen(weight[i]), y[i]);
  }
}

// All heads of some tokens. Elements from one token to the next, in x and in the tables, and from head to head.
struct RopeStrides {
  int64_t token, table, head;
};
template <typename T>
OCKHAM_INLINE void rotate_heads(T* x, const T* __restrict cos, const T* __restrict sin, const RopeStrides& strides,
                                int64_t tokens, int64_t heads, int64_t half) {
  for (int64_t token = 0; token < tokens; ++token, x += strides.token, cos += strides.table, sin += strides.table) {
    for (int64_t head = 0; head < heads; ++head) {
      T* __restrict first = x + head * strides.head, * __restrict second = first + half;
      for (int64_t i = 0; i < half; ++i) {
        const float a = widen(first[i]), b = widen(second[i]);
        narrow(a * widen(cos[i]) - b * widen(sin[i]), first[i]);
        narrow(b * widen(cos[i + half]) + a * widen(sin[i + half]), second[i]);
      }
    }
  }
}

// `a` where the mask's bits are set, `b` elsewhere. No branch: one would keep the loop around it from being vectorized.
OCKHAM_INLINE int32_t select(int32_t mask, int32_t a, int32_t b) {
  return (a & mask) | (b & ~mask);
}
OCKHAM_INLINE int32_t bits_of(float value) {
  int32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}
OCKHAM_INLINE float float_of(int32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// e^-|x| within 2 units in the last place: 2^k times a polynomial of the rest (Cephes' coefficients).
OCKHAM_INLINE float exp_negative(float x) {
  const int32_t magnitude = bits_of(x) & 0x7fffffff;
  constexpr int32_t kMost = 0x42ae0000;  // 87
  const float size = float_of(select((magnitude - kMost) >> 31, magnitude, kMost));
  constexpr float kRoundOff = 12582912.0f;  // 1.5 * 2^23: adding and subtracting it rounds to the nearest integer
  const float k = (kRoundOff - size * 1.44269504f) - kRoundOff;
  const float r = (-size - k * 0.693359375f) + k * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float value = p * r * r + r + 1.0f;
  return value * float_of((static_cast<int32_t>(k) + 127) << 23);
}

template <typename T>
OCKHAM_INLINE void silu_values(T* gate, const T* up, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float x = widen(gate[i]), e = exp_negative(x);
    const float numerator = float_of(select(bits_of(x) >> 31, bits_of(e), bits_of(1.0f)));
    narrow(rounded<T>(x * (numerator / (1.0f + e))) * widen(up[i]), gate[i]);
  }
}

template <typename T>
OCKHAM_INLINE void add_squares(const T* x, int64_t rows, int64_t n, float* sums) {
  for (int64_t row = 0; row < rows; ++row, x += n) {
    for (int64_t i = 0; i < n; ++i) sums[i] += widen(x[i]) * widen(x[i]);
  }
}

// One compiled function per type and instruction set.
OCKHAM_CLONES void norm_kernel(const float* x, const float* weight, float* y, int64_t rows, int64_t n, float eps) {
  norm_rows(x, weight, y, rows, n, eps);
}
OCKHAM_CLONES void rope_kernel(float* x, const float* cos, const float* sin, const RopeStrides& strides, int64_t tokens,
                               int64_t heads, int64_t half) {
  rotate_heads(x, cos, sin, strides, tokens, heads, half);
}
OCKHAM_CLONES void silu_kernel(float* gate, const float* up, int64_t n) {
  silu_values(gate, up, n);
}
OCKHAM_CLONES void squares_kernel(const float* x, int64_t rows, int64_t n, float* sums) {
  add_squares(x, rows, n, sums);
}
OCKHAM_CLONES void norm_kernel(const uint16_t* x, const uint16_t* weight, uint16_t* y, int64_t rows, int64_t n,
                               float eps) {
  norm_rows(x, weight, y, rows, n, eps);
}
OCKHAM_CLONES void rope_kernel(uint16_t* x, const uint16_t* cos, const uint16_t* sin, const RopeStrides& strides,
                               int64_t tokens, int64_t heads, int64_t half) {
  rotate_heads(x, cos, sin, strides, tokens, heads, half);
}
OCKHAM_CLONES void silu_kernel(uint16_t* gate, const uint16_t* up, int64_t n) {
  silu_values(gate, up, n);
}
OCKHAM_CLONES void squares_kernel(const uint16_t* x, int64_t rows, int64_t n, float* sums) {
  add_squares(x, rows, n, sums);
}

// Calls run(pointer type tag) with float or uint16_t.
template <typename Run>
void with_type(const Tensor& tensor, Run run) {
  if (tensor.scalar_type() == at::kFloat) {
    run(float{});
  } else {
    run(uint16_t{});
  }
}
template <typename T>
const T* data_of(const Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}
template <typename T>
T* mutable_data_of(const Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

}  // namespace

bool can_fuse(const Tensor& tensor) {
  return !at::GradMode::is_enabled() && tensor.is_cpu() &&
         (tensor.scalar_type() == at::kBFloat16 || tensor.scalar_type() == at::kFloat);
}

Tensor fused_rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  const Tensor source = x.contiguous(), scale = weight.contiguous();
  Tensor result = at::empty_like(source);
  const int64_t n = source.size(-1), rows = n == 0 ? 0 : source.numel() / n;
  OCKHAM_CHECK(scale.size(0) == n && scale.scalar_type() == source.scalar_type());
  with_type(source, [&](auto tag) {
    using T = decltype(tag);
    parallel_rows(0, rows, std::max<int64_t>(1, 32768 / n), [&](int64_t begin, int64_t end) {
      norm_kernel(data_of<T>(source) + begin * n, data_of<T>(scale), mutable_data_of<T>(result) + begin * n,
                  end - begin, n, static_cast<float>(eps));
    });
  });
  return result;
}

void fused_rope(Tensor& x, const Tensor& cos, const Tensor& sin) {
  const int64_t batch = x.size(0), heads = x.size(1), tokens = x.size(2), dim = x.size(3);
  OCKHAM_CHECK(x.stride(3) == 1 && cos.stride(-1) == 1 && sin.stride(-1) == 1 && cos.scalar_type() == x.scalar_type());
  const bool is_per_row = cos.dim() == 3;
  const int64_t table_row = cos.stride(-2), table_batch = is_per_row ? cos.stride(0) : 0;
  OCKHAM_CHECK(sin.stride(-2) == table_row && sin.dim() == cos.dim() && (!is_per_row || sin.stride(0) == table_batch));
  with_type(x, [&](auto tag) {
    using T = decltype(tag);
    T* data = mutable_data_of<T>(x);
    const RopeStrides strides = {x.stride(2), table_row, x.stride(1)};
    parallel_rows(0, batch * tokens, std::max<int64_t>(1, 32768 / (heads * dim)), [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t row = begin / tokens, token = begin % tokens, count = std::min(tokens - token, end - begin);
        const int64_t offset = row * table_batch + token * table_row;
        rope_kernel(data + row * x.stride(0) + token * x.stride(2), data_of<T>(cos) + offset, data_of<T>(sin) + offset,
                    strides, count, heads, dim / 2);
        begin += count;
      }
    });
  });
}

void fused_silu_multiply(Tensor& gate, const Tensor& up) {
  OCKHAM_CHECK(gate.is_contiguous() && up.is_contiguous() && gate.sizes() == up.sizes() &&
               gate.scalar_type() == up.scalar_type());
  with_type(gate, [&](auto tag) {
    using T = decltype(tag);
    parallel_rows(0, gate.numel(), 32768, [&](int64_t begin, int64_t end) {
      silu_kernel(mutable_data_of<T>(gate) + begin, data_of<T>(up) + begin, end - begin);
    });
  });
}

Tensor fused_column_squares(const Tensor& x) {
  const Tensor source = x.contiguous();
  const int64_t rows = source.size(0), columns = source.size(1), parts = (rows + kRowsPerPart - 1) / kRowsPerPart;
  const Tensor sums = at::zeros({parts, columns}, at::kFloat);
  with_type(source, [&](auto tag) {
    using T = decltype(tag);
    parallel_rows(0, parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        const int64_t first = part * kRowsPerPart;
        squares_kernel(data_of<T>(source) + first * columns, std::min(kRowsPerPart, rows - first), columns,
                       mutable_data_of<float>(sums) + part * columns);
      }
    });
  });
  return sums.sum({0}, false, at::kDouble);
}

}  // namespace ockham
