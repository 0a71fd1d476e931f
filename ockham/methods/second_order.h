// The walk that SparseGPT and GPTQ share: columns of a weight from left to right, each value replaced by one that may
// stay (zero, or a point of a grid), the error of that pushed onto the columns to the right so that the outputs on the
// calibration data change least. Rows are independent given the factor of the inverse Hessian, so they run in parallel;
// inside a block of columns a row is updated at once, the columns behind the block by one matrix product per block.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "ockham/methods/method.h"
#include "ockham/tensor/linalg.h"
#include "ockham/tensor/ops.h"

namespace ockham {

// weights float32 [R, C] contiguous, replaced in place. begin_block(begin, end) is called before the columns [begin,
// end) are walked, when `weights` holds every update from the columns before. choose(row, column, values) gives the
// value that stays at `column`; values[0 .. end - column) are the row's working weights from there to the end of the
// block. Returns the sum of squared errors e^2 = (w - q)^2 / U_jj^2, which equals trace(D H_damped D^T).
template <typename BeginBlock, typename Choose>
double walk_columns(Tensor& weights, const Tensor& upper, int64_t block, BeginBlock&& begin_block, Choose&& choose) {
  const int64_t rows = weights.size(0), columns = weights.size(1);
  const float* u = upper.const_data_ptr<float>();
  float* w = weights.mutable_data_ptr<float>();
  std::vector<double> row_errors(static_cast<size_t>(rows), 0.0);
  for (int64_t begin = 0; begin < columns; begin += block) {
    const int64_t end = std::min(begin + block, columns), width = end - begin;
    begin_block(begin, end);
    Tensor errors = at::empty({rows, width}, at::kFloat);
    float* e = errors.mutable_data_ptr<float>();
    at::parallel_for(0, rows, 8, [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) {
        float* values = w + row * columns;
        double sum = 0;
        for (int64_t c = begin; c < end; ++c) {
          const float* factors = u + c * columns;
          const float kept = choose(row, c, values + c);
          const float error = (values[c] - kept) / factors[c];
          e[row * width + c - begin] = error;
          sum += static_cast<double>(error) * error;
          values[c] = kept;
          for (int64_t k = c + 1; k < end; ++k) values[k] -= error * factors[k];
        }
        row_errors[static_cast<size_t>(row)] += sum;
      }
    });
    if (end == columns) break;
    Tensor rest = weights.narrow(1, end, columns - end);
    rest.addmm_(errors, upper.narrow(0, begin, width).narrow(1, end, columns - end), 1, -1);
  }
  double total = 0;
  for (const double error : row_errors) total += error;
  return total;
}

// The parameters `damping` and `block_size`, alike in both.
std::vector<ParamSpec> second_order_parameters();
// The factor of the linear's inverse Hessian, computed once for all linears that read the same inputs; says so in the
// notes when the damping had to be raised. With `order` int64 [C] rows and columns of the Hessian are permuted first;
// it must be activation_order(stats).
const InverseFactor& inverse_factor(const LayerStats& stats, const Linear& linear, double damping,
                                    const Tensor& order = {});
// Columns by falling mean square of their inputs, the lower index first among equals.
Tensor activation_order(const LayerStats& stats);

}  // namespace ockham
