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

// weights float32 [R, C] contiguous, replaced in place. begin_block(begin, end) is called before the columns [begin,
// end) are walked, when `weights` holds every update from the columns before. choose(row, column, values) gives the
// value that stays at `column`; values[0 .. end - column) are the row's working weights from there to the end of the
// block. Returns the sum of squared errors e^2 = (w - q)^2 / U_jj^2, which equals trace(D H_damped D^T).
double walk_columns(Tensor& weights, const Tensor& upper, int64_t block,
                    const std::function<void(int64_t begin, int64_t end)>& begin_block,
                    const std::function<float(int64_t row, int64_t column, const float* values)>& choose);

// What `keep_better` compares: the output errors trace(D H D^T), H = gram, of a walk that changed the weights by
// `walked` and of the other choice, which changes them by `plain`, both float32 [R, C]. The first follows from the sum
// that walk_columns returned, the second from a sample of rows, without further products of the whole; where these
// leave a doubt both are computed in full.
struct WalkErrors {
  double walked, plain;
};
WalkErrors compare_walk(double squared_errors, const InverseFactor& factor, const Tensor& walked, const Tensor& plain,
                        const Tensor& gram);

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
