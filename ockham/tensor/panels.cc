// Tiles of some inputs by one panel, whose sums fill three quarters of AVX2's registers and half of AVX-512's. A panel
// stays in the first cache while the inputs of one chunk pass, the chunk in the second.
#include "ockham/tensor/panels.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>

#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"
#include "ockham/tensor/parallel.h"
#include "ockham/tensor/simd.h"

OCKHAM_KERNEL_SOURCE

namespace ockham {
namespace {

constexpr int64_t kChunkFloats = int64_t{64} * 1024;  // inputs of a chunk: 256 KiB
// Numbers of a matrix; above, BLAS has nothing to lose.
int64_t largest(Simd simd) {
  return simd == Simd::kAvx512 ? int64_t{256} * 1024 : int64_t{4} * 1024 * 1024;
}
constexpr int64_t kFewestProducts = int64_t{64} * 1024;  // per thread

struct Operands {
  const float* x;       // [count, columns]
  const float* panels;  // [panels, columns, width]
  const float* bias;    // [rows] or null
  float* out;           // [count, rows]
  int64_t rows, columns;
};

#if defined(__x86_64__)
OCKHAM_BEGIN_AVX2
namespace avx2 {
constexpr int kLanes = 8, kHeight = 6;
#include "ockham/tensor/panels_kernel.h"
}  // namespace avx2
OCKHAM_END_TARGET
OCKHAM_BEGIN_AVX512
namespace avx512 {
constexpr int kLanes = 16, kHeight = 8;
#include "ockham/tensor/panels_kernel.h"
}  // namespace avx512
OCKHAM_END_TARGET
#endif

int64_t width_of(Simd simd) {
  return simd == Simd::kAvx512 ? 32 : 16;
}

void multiply([[maybe_unused]] int64_t width, [[maybe_unused]] const Operands& operands, [[maybe_unused]] int64_t begin,
              [[maybe_unused]] int64_t end, [[maybe_unused]] int64_t first, [[maybe_unused]] int64_t last) {
#if defined(__x86_64__)
  width == avx512::kWidth ? avx512::multiply(operands, begin, end, first, last)
                          : avx2::multiply(operands, begin, end, first, last);
#endif
}

}  // namespace

bool suits_panels(const Tensor& weight) {
  return best_simd() != Simd::kNone && weight.dim() == 2 && weight.is_cpu() && weight.scalar_type() == at::kFloat &&
         weight.numel() > 0 && weight.numel() <= largest(best_simd());
}

PanelMatrix make_panels(const Tensor& weight, Simd simd) {
  OCKHAM_CHECK(suits_panels(weight) && simd != Simd::kNone && simd <= best_simd());
  const int64_t rows = weight.size(0), columns = weight.size(1), width = width_of(simd);
  const int64_t panels = (rows + width - 1) / width;
  Tensor padded = at::zeros({panels * width, columns}, weight.options());
  padded.narrow(0, 0, rows).copy_(weight);
  PanelMatrix result;
  result.rows = rows;
  result.columns = columns;
  result.values = padded.view({panels, width, columns}).transpose(1, 2).contiguous();
  return result;
}

Tensor PanelMatrix::product(const Tensor& x, const Tensor& bias) const {
  OCKHAM_CHECK(x.scalar_type() == at::kFloat && x.size(-1) == columns);
  const Tensor source = x.contiguous(), start = bias.defined() ? bias.contiguous() : bias;
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = rows;
  Tensor result = at::empty(shape, x.options());
  const int64_t count = source.numel() / columns, panels = values.size(0), width = values.size(2);
  const Operands operands = {source.const_data_ptr<float>(),
                             values.const_data_ptr<float>(),
                             start.defined() ? start.const_data_ptr<float>() : nullptr,
                             result.mutable_data_ptr<float>(),
                             rows,
                             columns};
  // Whole tiles, as many as the second cache holds. Few inputs are shared out by panels instead.
  const int64_t chunk = std::max<int64_t>(1, kChunkFloats / columns / kWholeTiles) * kWholeTiles;
  const int64_t chunks = (count + chunk - 1) / chunk, threads = at::get_num_threads();
  if (chunks >= 2 * threads || panels < threads) {
    parallel_rows(0, chunks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        multiply(width, operands, i * chunk, std::min(count, (i + 1) * chunk), 0, panels);
    });
  } else {
    const int64_t per_panel = std::max<int64_t>(1, count * columns * width);
    parallel_rows(0, panels, std::max<int64_t>(1, kFewestProducts / per_panel), [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < chunks; ++i)
        multiply(width, operands, i * chunk, std::min(count, (i + 1) * chunk), begin, end);
    });
  }
  return result;
}

}  // namespace ockham
