// sparsegpt: remove weights column by column and make up for each by changing the columns to its right.
// Paper: Frantar & Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot" (ICML 2023).
// Needs: the Gram matrix of the inputs. Score of a weight: w^2 / U_jj^2 with U the upper Cholesky factor of the damped
// inverse Hessian (equation 5 with the columns to the left fixed), compared within a block of columns of the whole
// matrix (threshold as in magnitude, ties included), or, for N:M, within M columns of a row when the walk reaches them.
// Left out: rounding in the same pass; a `gptq` step behind this one keeps the zeros.
#include <algorithm>
#include <limits>

#include "ockham/core/error.h"
#include "ockham/methods/pruning/pattern.h"
#include "ockham/methods/second_order.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

class SparseGpt final : public Method {
 public:
  explicit SparseGpt(const Params& params)
      : where_(params.where()),
        pattern_(read_sparsity(params)),
        damping_(params.real("damping")),
        block_(params.integer("block_size")),
        keeps_better_(params.flag("keep_better")) {
    if (pattern_.group > 0 && block_ % pattern_.group != 0)
      throw_input("{}: key 'block_size' is {}, expected a multiple of {} for pattern '{}:{}'; correct it", where_,
                  block_, pattern_.group, pattern_.zeros, pattern_.group);
  }

  unsigned needs() const override { return kNeedsGram; }

  void check(const std::string& linear, int64_t, int64_t columns) const override {
    check_pattern(pattern_, where_, linear, columns);
  }

  void compress(Linear& linear, const LayerStats& stats) const override {
    const InverseFactor& factor = inverse_factor(stats, linear, damping_);
    const at::ScalarType type = value_type(linear);
    const Tensor original = weight_to_dense(linear.weight, at::kFloat);
    const bool has_dead = factor.is_dead.any().item<bool>();
    const Tensor start = (has_dead ? original.masked_fill(factor.is_dead.unsqueeze(0), 0) : original).contiguous();
    Tensor weights = start.clone();
    const Tensor was_zero = start == 0;
    const Tensor pruned = pattern_.group > 0 ? was_zero.clone() : at::zeros_like(was_zero);
    const double errors =
        pattern_.group > 0 ? walk_groups(weights, factor, pruned) : walk_blocks(weights, factor, was_zero, pruned);
    if (keeps_better_) keep_better(linear, stats, start, pruned, factor, errors, weights);
    linear.weight = DenseWeight{weights.to(type)};
  }

 private:
  static at::ScalarType value_type(const Linear& linear) {
    if (std::holds_alternative<DenseWeight>(linear.weight) || std::holds_alternative<SparseWeight>(linear.weight))
      return weight_type(linear.weight);
    throw_input("{}: the weight is quantized already, expected pruning before quantization; reorder the steps",
                linear.name);
  }

  // Unstructured: the mask of a block is chosen when the walk reaches it. Both walks return what walk_columns does.
  double walk_blocks(Tensor& weights, const InverseFactor& factor, const Tensor& was_zero, const Tensor& pruned) const {
    const int64_t columns = weights.size(1);
    const Tensor squares = factor.upper.diagonal().square();
    bool* mask = pruned.mutable_data_ptr<bool>();
    return walk_columns(
        weights, factor.upper, block_,
        [&](int64_t begin, int64_t end) {
          Tensor scores = weights.narrow(1, begin, end - begin).square() / squares.narrow(0, begin, end - begin);
          // Zeros of an earlier step count first.
          scores.masked_fill_(was_zero.narrow(1, begin, end - begin), -1);
          const int64_t index = static_cast<int64_t>(static_cast<double>(scores.numel()) * pattern_.sparsity);
          Tensor part = pruned.narrow(1, begin, end - begin);
          if (index == 0) {
            part.copy_(was_zero.narrow(1, begin, end - begin));
          } else if (index == scores.numel()) {
            part.fill_(true);
          } else {
            part.copy_(scores <= std::get<0>(scores.flatten().kthvalue(index + 1)));
            part.logical_or_(was_zero.narrow(1, begin, end - begin));
          }
        },
        [&](int64_t row, int64_t column, const float* values) {
          return mask[row * columns + column] ? 0.0F : *values;
        });
  }

  double walk_groups(Tensor& weights, const InverseFactor& factor, const Tensor& pruned) const {
    const int64_t columns = weights.size(1), group = pattern_.group;
    bool* mask = pruned.mutable_data_ptr<bool>();
    const Tensor diagonal = factor.upper.diagonal().contiguous();
    const float* divisors = diagonal.const_data_ptr<float>();
    return walk_columns(
        weights, factor.upper, block_, [](int64_t, int64_t) {},
        [&](int64_t row, int64_t column, const float* values) {
          bool* from = mask + row * columns + column;
          if (column % group == 0) choose_group(values, divisors + column, from);
          return *from ? 0.0F : *values;
        });
  }

  // Marks the `zeros` lowest of a group; those that are zero already come first, ties go to the left.
  void choose_group(const float* values, const float* divisors, bool* pruned) const {
    int64_t missing = pattern_.zeros - std::count(pruned, pruned + pattern_.group, true);
    for (; missing > 0; --missing) {
      int64_t lowest = -1;
      double least = std::numeric_limits<double>::infinity();
      for (int64_t i = 0; i < pattern_.group; ++i) {
        const double ratio = static_cast<double>(values[i]) / divisors[i];
        if (pruned[i] || ratio * ratio >= least) continue;
        least = ratio * ratio;
        lowest = i;
      }
      if (lowest < 0) break;
      pruned[lowest] = true;
    }
  }

  // Compensation goes to columns that may be removed later, so that it can do harm; then the same mask without any
  // change of the other weights is the better result.
  static void keep_better(const Linear& linear, const LayerStats& stats, const Tensor& start, const Tensor& pruned,
                          const InverseFactor& factor, double squared_errors, Tensor& weights) {
    const Tensor removed = start.masked_fill(pruned.logical_not(), 0).neg_();
    const auto [updated, plain] = compare_walk(squared_errors, factor, weights - start, removed, stats.gram);
    if (updated <= plain) return;
    weights = start.masked_fill(pruned, 0);
    if (stats.note)
      stats.note(
          fmt::format("{}: the update made the output error worse ({:.3g} instead of {:.3g}); the pruned weights "
                      "are kept without it",
                      linear.name, updated, plain));
  }

  std::string where_;
  SparsityPattern pattern_;
  double damping_;
  int64_t block_;
  bool keeps_better_;
};

}  // namespace

const MethodEntry& sparsegpt_entry() {
  static const MethodEntry kEntry = [] {
    std::vector<ParamSpec> parameters = sparsity_parameters();
    for (ParamSpec& spec : second_order_parameters()) parameters.push_back(spec);
    parameters.push_back(
        flag_spec("keep_better", "where the update makes a linear's output error worse, prune without it", true));
    return MethodEntry{
        "sparsegpt",
        "pruning",
        "Removes weights by their second-order saliency and updates the remaining ones to make up for it.",
        "Frantar & Alistarh, SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot, "
        "ICML 2023",
        parameters,
        [](const Params& params) { return std::make_unique<SparseGpt>(params); },
        {}};
  }();
  return kEntry;
}

}  // namespace ockham
