// The walk that SparseGPT and GPTQ share: columns of a weight from left to right, each value replaced by one that may
// stay (zero, or a point of a grid), the error of that pushed onto the columns to the right so that the outputs on the
// calibration data change least. Rows are independent given the factor of the inverse Hessian, so they run in parallel;
// inside a block of columns a row is updated at once, the columns behind the block by one matrix product per block.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "ockham/methods/method.h"
#include "ockham/tensor/linalg.h"

namespace ockham {

// Rows that are walked side by side, as the lanes of a vector.
inline constexpr int64_t kWalkRows = 16;

// The rows [row, row + rows) at a column.
struct WalkStep {
  int64_t row, rows, column;
  const float* values;  // value i of lane l, values[i * kWalkRows + l]: the working weight of row + l at column + i
  float* kept;          // [kWalkRows], zeros; the first `rows` are to become what stays at this column

  // The working weights of one lane from here on.
  void copy_row(int64_t lane, int64_t count, std::vector<float>& row_values) const {
    row_values.resize(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) row_values[static_cast<size_t>(i)] = values[i * kWalkRows + lane];
  }
};
using WalkChoice = std::function<void(const WalkStep&)>;

// weights float32 [R, C] contiguous, replaced by how the walk changed them (what stays minus what was there); `root` as
// in HessianFactor. begin_block(begin, end, current) is called before the columns [begin, end) are walked; `current`
// float32 [R, end - begin] are their weights with every update from the columns before. `choose` is called for each
// column in turn, on several threads; the working weights reach to the end of the block. Returns the sum of squared
// errors e^2 = (w - q)^2 / U_jj^2, which equals trace(D H_damped D^T).
double walk_columns(Tensor& weights, const Tensor& root, int64_t block,
                    const std::function<void(int64_t begin, int64_t end, const Tensor& current)>& begin_block,
                    const WalkChoice& choose);

// What `keep_better` compares: the output errors trace(D H D^T), H = gram, of a walk and of the other choice. `walked`
// float32 [R, C] are the changes that walk_columns left, in `order` where that is defined; plain(first, last, step) are
// those that the other choice makes to the rows first, first + step, ... before last, in their own order. The first
// error follows from the sum that walk_columns returned, the second from a sample of rows; where these leave a doubt
// both are computed in full, some rows at a time.
struct WalkErrors {
  double walked, plain;
};
WalkErrors compare_walk(double squared_errors, const HessianFactor& factor, const Tensor& walked, const Tensor& order,
                        const std::function<Tensor(int64_t first, int64_t last, int64_t step)>& plain,
                        const Tensor& gram);

// The parameters `damping` and `block_size`, alike in both.
std::vector<ParamSpec> second_order_parameters();
// The factor of the linear's Hessian, computed once for all linears that read the same inputs; says so in the
// notes when the damping had to be raised. With `order` int64 [C] rows and columns of the Hessian are permuted first;
// it must be activation_order(stats).
const HessianFactor& hessian_factor(const LayerStats& stats, const Linear& linear, double damping,
                                    const Tensor& order = {});
// Columns by falling mean square of their inputs, the lower index first among equals.
Tensor activation_order(const LayerStats& stats);

}  // namespace ockham
