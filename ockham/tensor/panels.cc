// Tiles of six inputs by one panel: twelve of the sixteen registers hold sums, two the panel's current column, one an
// input. A panel stays in the first cache while the inputs of one chunk pass, the chunk in the second.
#include "ockham/tensor/panels.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"
#include "ockham/tensor/parallel.h"
#include "ockham/tensor/simd.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ockham {
namespace {

constexpr int64_t kWidth = PanelMatrix::kWidth;
constexpr int kTallest = 6;                              // inputs of a tile
constexpr int64_t kChunkFloats = int64_t{64} * 1024;     // inputs of a chunk: 256 KiB
constexpr int64_t kLargest = int64_t{4} * 1024 * 1024;   // numbers of a matrix; above, BLAS has nothing to lose
constexpr int64_t kFewestProducts = int64_t{64} * 1024;  // per thread

struct Operands {
  const float* x;       // [count, columns]
  const float* panels;  // [panels, columns, 16]
  const float* bias;    // [rows] or null
  float* out;           // [count, rows]
  int64_t rows, columns;
};

#if defined(__x86_64__)

template <int Height>
__attribute__((target("avx2,fma"))) void tile(const Operands& o, int64_t first, int64_t panel) {
  const float* x = o.x + first * o.columns;
  const float* w = o.panels + panel * o.columns * kWidth;
  const int64_t row = panel * kWidth, width = std::min(kWidth, o.rows - row);
  alignas(32) float start[kWidth] = {};
  if (o.bias != nullptr) std::memcpy(start, o.bias + row, static_cast<size_t>(width) * sizeof(float));
  __m256 low[Height], high[Height];
#pragma GCC unroll 6
  for (int i = 0; i < Height; ++i) {
    low[i] = _mm256_load_ps(start);
    high[i] = _mm256_load_ps(start + 8);
  }
  for (int64_t k = 0; k < o.columns; ++k) {
    const __m256 w_low = _mm256_loadu_ps(w + k * kWidth), w_high = _mm256_loadu_ps(w + k * kWidth + 8);
#pragma GCC unroll 6
    for (int i = 0; i < Height; ++i) {
      const __m256 value = _mm256_broadcast_ss(x + i * o.columns + k);
      low[i] = _mm256_fmadd_ps(value, w_low, low[i]);
      high[i] = _mm256_fmadd_ps(value, w_high, high[i]);
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < Height; ++i) {
    float* out = o.out + (first + i) * o.rows + row;
    if (width == kWidth) {
      _mm256_storeu_ps(out, low[i]);
      _mm256_storeu_ps(out + 8, high[i]);
    } else {
      alignas(32) float rest[kWidth];
      _mm256_store_ps(rest, low[i]);
      _mm256_store_ps(rest + 8, high[i]);
      std::memcpy(out, rest, static_cast<size_t>(width) * sizeof(float));
    }
  }
}

using Tile = void (*)(const Operands&, int64_t first, int64_t panel);
constexpr std::array<Tile, kTallest> kTiles = {tile<1>, tile<2>, tile<3>, tile<4>, tile<5>, tile<6>};

#else

using Tile = void (*)(const Operands&, int64_t first, int64_t panel);
constexpr std::array<Tile, kTallest> kTiles = {};

#endif

// Inputs [begin, end) with panels [first, last).
void multiply(const Operands& operands, int64_t begin, int64_t end, int64_t first, int64_t last) {
  for (int64_t panel = first; panel < last; ++panel) {
    for (int64_t at = begin; at < end; at += kTallest) {
      const int64_t height = std::min<int64_t>(kTallest, end - at);
      kTiles[static_cast<size_t>(height - 1)](operands, at, panel);
    }
  }
}

}  // namespace

bool suits_panels(const Tensor& weight) {
  return best_simd() == Simd::kAvx2 && weight.dim() == 2 && weight.is_cpu() && weight.scalar_type() == at::kFloat &&
         weight.numel() > 0 && weight.numel() <= kLargest;
}

PanelMatrix make_panels(const Tensor& weight) {
  OCKHAM_CHECK(suits_panels(weight));
  const int64_t rows = weight.size(0), columns = weight.size(1), panels = (rows + kWidth - 1) / kWidth;
  Tensor padded = at::zeros({panels * kWidth, columns}, weight.options());
  padded.narrow(0, 0, rows).copy_(weight);
  PanelMatrix result;
  result.rows = rows;
  result.columns = columns;
  result.values = padded.view({panels, kWidth, columns}).transpose(1, 2).contiguous();
  return result;
}

Tensor PanelMatrix::product(const Tensor& x, const Tensor& bias) const {
  OCKHAM_CHECK(x.scalar_type() == at::kFloat && x.size(-1) == columns);
  const Tensor source = x.contiguous(), start = bias.defined() ? bias.contiguous() : bias;
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = rows;
  Tensor result = at::empty(shape, x.options());
  const int64_t count = source.numel() / columns, panels = values.size(0);
  const Operands operands = {source.const_data_ptr<float>(),
                             values.const_data_ptr<float>(),
                             start.defined() ? start.const_data_ptr<float>() : nullptr,
                             result.mutable_data_ptr<float>(),
                             rows,
                             columns};
  // Whole tiles, as many as the second cache holds. Few inputs are shared out by panels instead.
  const int64_t chunk = std::max<int64_t>(1, kChunkFloats / columns / kTallest) * kTallest;
  const int64_t chunks = (count + chunk - 1) / chunk, threads = at::get_num_threads();
  if (chunks >= 2 * threads || panels < threads) {
    parallel_rows(0, chunks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) multiply(operands, i * chunk, std::min(count, (i + 1) * chunk), 0, panels);
    });
  } else {
    const int64_t per_panel = std::max<int64_t>(1, count * columns * kWidth);
    parallel_rows(0, panels, std::max<int64_t>(1, kFewestProducts / per_panel), [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < chunks; ++i) multiply(operands, i * chunk, std::min(count, (i + 1) * chunk), begin, end);
    });
  }
  return result;
}

}  // namespace ockham
