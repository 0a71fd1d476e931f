// The deterministic matrices that the methods' worked examples are computed on.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ockham/methods/second_order.h"
#include "ockham/tensor/ops.h"

namespace ockham::test {

// Row by row: s = (1664525 s + 1013904223) mod 2^32, value s / 2^32 - 0.5, first value after one step.
inline at::Tensor lcg(uint32_t seed, int64_t rows, int64_t columns) {
  at::Tensor values = at::empty({rows, columns}, at::kDouble);
  double* out = values.mutable_data_ptr<double>();
  for (int64_t i = 0; i < rows * columns; ++i) {
    seed = 1664525U * seed + 1013904223U;
    out[i] = static_cast<double>(seed) / 4294967296.0 - 0.5;
  }
  return values;
}

inline at::Tensor example_weights() {
  return lcg(1, 4, 8).to(at::kFloat);
}
// Inputs [C, T] with feature j (from 1) multiplied by j.
inline at::Tensor set_a() {
  return lcg(2, 8, 32) * at::arange(1, 9, at::kDouble).unsqueeze(1);
}

// Correlated inputs [C, T]; their Gram matrix has condition 147.
inline at::Tensor set_b() {
  return lcg(4, 8, 8).matmul(lcg(2, 8, 64));
}

inline Linear make_linear(const at::Tensor& weights) {
  Linear linear;
  linear.name = "model.layers.0.mlp.up_proj";
  linear.weight = DenseWeight{weights};
  return linear;
}

inline LayerStats stats_of(const at::Tensor& inputs) {
  LayerStats stats;
  stats.tokens = inputs.size(1);
  stats.mean_square = inputs.square().mean(1).to(at::kFloat);
  stats.contrast_mean_square = inputs.flip(0).square().mean(1).to(at::kFloat);
  stats.max_abs = inputs.abs().amax(1).to(at::kFloat);
  stats.mean = inputs.mean(1).to(at::kFloat);
  stats.variance = (inputs.square().mean(1) - inputs.mean(1).square()).to(at::kFloat);
  stats.gradients.fisher = stats.mean_square;
  stats.tokens_per_sample = static_cast<double>(stats.tokens);
  stats.gram = (inputs.matmul(inputs.t()) / static_cast<double>(inputs.size(1))).to(at::kFloat);
  stats.factors = std::make_shared<std::map<std::pair<double, bool>, HessianFactor>>();
  return stats;
}

// The linear's dense weight after one method.
inline at::Tensor run_method(const std::string& name, const std::map<std::string, ParamValue>& given,
                             const at::Tensor& weights, const LayerStats& stats = {}) {
  const MethodEntry& entry = find_method(name, "test");
  const auto method = entry.make(Params("test", entry.parameters, given));
  Linear linear = make_linear(weights);
  LayerStats given_stats = stats;
  if (!given_stats.original.defined()) given_stats.original = weights;
  method->compress(linear, given_stats);
  return weight_to_dense(linear.weight, at::kFloat);
}

// For walk_columns: weights go like the black fields of a chessboard.
inline void every_other_goes(const WalkStep& step) {
  for (int64_t lane = 0; lane < step.rows; ++lane)
    step.kept[lane] = (step.row + lane + step.column) % 2 == 0 ? 0.0F : step.values[lane];
}

// ||(after - before) X||^2
inline double output_error(const at::Tensor& after, const at::Tensor& before, const at::Tensor& inputs) {
  return (after - before).to(at::kDouble).matmul(inputs).square().sum().item<double>();
}

// One text per row, 1 = pruned.
inline std::string mask_text(const at::Tensor& weights) {
  std::string text;
  for (int64_t row = 0; row < weights.size(0); ++row) {
    if (row > 0) text += ' ';
    for (int64_t column = 0; column < weights.size(1); ++column)
      text += weights[row][column].item<float>() == 0 ? '1' : '0';
  }
  return text;
}

}  // namespace ockham::test
