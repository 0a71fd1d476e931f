// Inputs are turned so that 64 of them stand side by side for every column: eight registers then hold the sums of one
// output for 64 inputs, and a non-zero is multiplied with eight loads and nothing else. Columns pass in blocks of 96,
// whose inputs (24 KiB) stay in the first cache while 128 rows pass; four such groups of inputs share the weights that
// one block of columns and rows holds, which with their sums stay in the second.
#include "ockham/tensor/sparse_panels.h"

#include <algorithm>
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

constexpr int64_t kRows = SparsePanelMatrix::kRows, kColumns = SparsePanelMatrix::kColumns;
constexpr int64_t kInputs = 64, kGroups = 4;  // inputs side by side; such groups that pass together
constexpr double kFewestZeros = 0.4;          // below, BLAS is as fast

int64_t blocks_of(int64_t count, int64_t size) {
  return (count + size - 1) / size;
}

#if defined(__x86_64__)

// sums[0..64) += the non-zeros of one row times their columns' inputs, [kColumns, 64].
__attribute__((target("avx2,fma"))) void add_row(const float* inputs, const float* values, const uint8_t* places,
                                                 int64_t count, float* sums) {
  __m256 sum[8];
#pragma GCC unroll 8
  for (int64_t i = 0; i < 8; ++i) sum[i] = _mm256_loadu_ps(sums + 8 * i);
  for (int64_t at = 0; at < count; ++at) {
    const __m256 value = _mm256_broadcast_ss(values + at);
    const float* column = inputs + static_cast<size_t>(places[at]) * kInputs;
#pragma GCC unroll 8
    for (int64_t i = 0; i < 8; ++i) sum[i] = _mm256_fmadd_ps(value, _mm256_loadu_ps(column + 8 * i), sum[i]);
  }
#pragma GCC unroll 8
  for (int64_t i = 0; i < 8; ++i) _mm256_storeu_ps(sums + 8 * i, sum[i]);
}

#else

void turn_8x8(const float* in, int64_t in_stride, float* out, int64_t out_stride) {
  for (int64_t i = 0; i < 8; ++i)
    for (int64_t j = 0; j < 8; ++j) out[j * out_stride + i] = in[i * in_stride + j];
}
void add_row(const float* inputs, const float* values, const uint8_t* places, int64_t count, float* sums) {
  for (int64_t at = 0; at < count; ++at)
    for (int64_t i = 0; i < kInputs; ++i) sums[i] += values[at] * inputs[places[at] * kInputs + i];
}

#endif

// in [rows, columns] with a stride, turned: out [columns, rows] with a stride.
void turn(const float* in, int64_t in_stride, int64_t rows, int64_t columns, float* out, int64_t out_stride) {
  const int64_t whole_rows = rows / 8 * 8, whole_columns = columns / 8 * 8;
  for (int64_t i = 0; i < whole_rows; i += 8)
    for (int64_t j = 0; j < whole_columns; j += 8)
      turn_8x8(in + i * in_stride + j, in_stride, out + j * out_stride + i, out_stride);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = i < whole_rows ? whole_columns : 0; j < columns; ++j)
      out[j * out_stride + i] = in[i * in_stride + j];
}

struct Operands {
  const SparsePanelMatrix& weight;
  const float* x;     // [count, columns]
  const float* bias;  // [rows] or null
  float* out;         // [count, rows]
  int64_t count;
};

// The products of up to kGroups * kInputs inputs from `first` on. `turned` holds the inputs, [blocks of columns,
// kGroups, kColumns, kInputs]; `sums` [kGroups, kRows, kInputs].
void multiply(const Operands& o, int64_t first, float* turned, float* sums) {
  const SparsePanelMatrix& w = o.weight;
  const int64_t count = std::min(kGroups * kInputs, o.count - first), groups = blocks_of(count, kInputs);
  const int64_t column_blocks = blocks_of(w.columns, kColumns);
  const auto inputs_of = [turned](int64_t block, int64_t group) {
    return turned + (block * kGroups + group) * kColumns * kInputs;
  };
  for (int64_t block = 0; block < column_blocks; ++block) {
    const int64_t column = block * kColumns, columns = std::min(kColumns, w.columns - column);
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t input = first + group * kInputs, inputs = std::min(kInputs, o.count - input);
      float* out = inputs_of(block, group);
      // Inputs that are missing count as zeros: what is computed for them is finite, and not used.
      if (inputs < kInputs) std::memset(out, 0, static_cast<size_t>(kColumns * kInputs) * sizeof(float));
      turn(o.x + input * w.columns + column, w.columns, inputs, columns, out, kInputs);
    }
  }
  const auto* values = w.values.const_data_ptr<float>();
  const auto* places = w.places.const_data_ptr<uint8_t>();
  const int64_t* starts = w.starts.data();
  for (int64_t row = 0; row < w.rows; row += kRows) {
    const int64_t rows = std::min(kRows, w.rows - row);
    for (int64_t group = 0; group < groups; ++group) {
      for (int64_t i = 0; i < rows; ++i) {
        float* sum = sums + (group * kRows + i) * kInputs;
        std::fill(sum, sum + kInputs, o.bias == nullptr ? 0 : o.bias[row + i]);
      }
    }
    for (int64_t block = 0; block < column_blocks; ++block) {
      for (int64_t group = 0; group < groups; ++group) {
        const float* inputs = inputs_of(block, group);
        for (int64_t i = 0; i < rows; ++i)
          add_row(inputs, values + starts[i], places + starts[i], starts[i + 1] - starts[i],
                  sums + (group * kRows + i) * kInputs);
      }
      starts += rows;
    }
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t input = first + group * kInputs;
      turn(sums + group * kRows * kInputs, kInputs, rows, std::min(kInputs, o.count - input),
           o.out + input * w.rows + row, w.rows);
    }
  }
}

}  // namespace

bool suits_sparse_panels(const Tensor& weight) {
  if (best_simd() != Simd::kAvx2 || weight.dim() != 2 || !weight.is_cpu() || weight.scalar_type() != at::kFloat ||
      weight.numel() == 0)
    return false;
  const auto zeros = static_cast<double>(weight.numel() - weight.count_nonzero().item<int64_t>());
  return zeros >= kFewestZeros * static_cast<double>(weight.numel());
}

SparsePanelMatrix make_sparse_panels(const Tensor& weight) {
  OCKHAM_CHECK(weight.dim() == 2 && weight.is_cpu() && weight.scalar_type() == at::kFloat);
  const Tensor dense = weight.contiguous();
  const auto* in = dense.const_data_ptr<float>();
  SparsePanelMatrix result;
  result.rows = dense.size(0);
  result.columns = dense.size(1);
  const int64_t column_blocks = blocks_of(result.columns, kColumns), row_blocks = blocks_of(result.rows, kRows);
  result.starts.assign(static_cast<size_t>(result.rows * column_blocks) + 1, 0);
  // Calls `work` with every stretch of a row within a block of columns and its place in `starts`.
  const auto each = [&](const auto& work) {
    parallel_rows(0, row_blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin * kRows; row < std::min(result.rows, end * kRows); row += kRows) {
        auto place = static_cast<size_t>(row * column_blocks);
        const int64_t rows = std::min(kRows, result.rows - row);
        for (int64_t column = 0; column < result.columns; column += kColumns)
          for (int64_t i = 0; i < rows; ++i)
            work(in + (row + i) * result.columns + column, std::min(kColumns, result.columns - column), place++);
      }
    });
  };
  each([&](const float* values, int64_t count, size_t place) {
    result.starts[place + 1] = std::count_if(values, values + count, [](float value) { return value != 0; });
  });
  for (size_t i = 1; i < result.starts.size(); ++i) result.starts[i] += result.starts[i - 1];
  result.values = at::empty({result.starts.back()}, at::kFloat);
  result.places = at::empty({result.starts.back()}, at::kByte);
  auto* kept = result.values.mutable_data_ptr<float>();
  auto* places = result.places.mutable_data_ptr<uint8_t>();
  each([&](const float* values, int64_t count, size_t place) {
    int64_t at = result.starts[place];
    for (int64_t i = 0; i < count; ++i) {
      if (values[i] == 0) continue;
      kept[at] = values[i];
      places[at++] = static_cast<uint8_t>(i);
    }
  });
  return result;
}

Tensor SparsePanelMatrix::product(const Tensor& x, const Tensor& bias) const {
  OCKHAM_CHECK(x.scalar_type() == at::kFloat && x.size(-1) == columns);
  const Tensor source = x.contiguous(), start = bias.defined() ? bias.contiguous() : bias;
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = rows;
  Tensor result = at::empty(shape, x.options());
  const Operands operands = {*this, source.const_data_ptr<float>(),
                             start.defined() ? start.const_data_ptr<float>() : nullptr,
                             result.mutable_data_ptr<float>(), source.numel() / columns};
  constexpr int64_t kAtOnce = kGroups * kInputs;
  parallel_rows(0, blocks_of(operands.count, kAtOnce), 1, [&](int64_t begin, int64_t end) {
    const Tensor turned = at::empty({blocks_of(columns, kColumns), kGroups, kColumns, kInputs}, at::kFloat);
    const Tensor sums = at::empty({kGroups, kRows, kInputs}, at::kFloat);
    for (int64_t i = begin; i < end; ++i)
      multiply(operands, i * kAtOnce, turned.mutable_data_ptr<float>(), sums.mutable_data_ptr<float>());
  });
  return result;
}

}  // namespace ockham
