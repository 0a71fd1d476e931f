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
    const HessianFactor& factor = hessian_factor(stats, linear, damping_);
    if (!std::holds_alternative<DenseWeight>(linear.weight) && !std::holds_alternative<SparseWeight>(linear.weight))
      throw_input("{}: the weight is quantized already, expected pruning before quantization; reorder the steps",
                  linear.name);
    const Tensor original = weight_values(linear.weight);
    Tensor weights = at::empty(original.sizes(), at::kFloat);
    weights.copy_(original).masked_fill_(factor.is_dead, 0);
    // N:M starts from the zeros that are there, unstructured masks are filled in block by block.
    const Tensor pruned = weights == 0;
    const double errors =
        pattern_.group > 0 ? walk_groups(weights, factor, pruned) : walk_blocks(weights, factor, pruned);
    const bool is_updated =
        !keeps_better_ || updates_are_better(linear, stats, original, pruned, factor, errors, weights);
    Tensor result = at::empty_like(original);
    for (int64_t first = 0; first < result.size(0); first += kStrip) {
      const int64_t count = std::min(kStrip, result.size(0) - first);
      const Tensor start = start_of(original.narrow(0, first, count), factor);
      result.narrow(0, first, count)
          .copy_(is_updated ? start + weights.narrow(0, first, count)
                            : start.masked_fill(pruned.narrow(0, first, count), 0));
    }
    linear.weight = DenseWeight{result};
  }

 private:
  static constexpr int64_t kStrip = 256;  // rows that are in float32 at a time

  // What the walk starts from: rows of the weights in float32, without those of dead inputs.
  static Tensor start_of(const Tensor& rows, const HessianFactor& factor) {
    return rows.to(at::kFloat).masked_fill(factor.is_dead, 0);
  }

  // Unstructured: the mask of a block is chosen when the walk reaches it. Both walks return what walk_columns does.
  // `pruned` holds the zeros that were there, and afterwards the mask.
  double walk_blocks(Tensor& weights, const HessianFactor& factor, const Tensor& pruned) const {
    const int64_t columns = weights.size(1);
    const Tensor squares = factor.root.diagonal().square();
    bool* mask = pruned.mutable_data_ptr<bool>();
    return walk_columns(
        weights, factor.root, block_,
        [&](int64_t begin, int64_t end, const Tensor& current) {
          const int64_t width = end - begin;
          Tensor part = pruned.narrow(1, begin, width);
          // Zeros of an earlier step count first.
          const Tensor scores = current.square().mul_(squares.narrow(0, begin, width)).masked_fill_(part, -1);
          const int64_t index = static_cast<int64_t>(static_cast<double>(scores.numel()) * pattern_.sparsity);
          if (index == scores.numel()) {
            part.fill_(true);
          } else if (index > 0) {
            part.logical_or_(scores <= kth_lowest(scores, index));
          }
        },
        [&](const WalkStep& step) {
          const bool* from = mask + step.row * columns + step.column;
          for (int64_t lane = 0; lane < step.rows; ++lane)
            step.kept[lane] = from[lane * columns] ? 0.0F : step.values[lane];
        });
  }

  double walk_groups(Tensor& weights, const HessianFactor& factor, const Tensor& pruned) const {
    const int64_t columns = weights.size(1), group = pattern_.group;
    bool* mask = pruned.mutable_data_ptr<bool>();
    const Tensor diagonal = factor.root.diagonal().contiguous();
    const float* factors = diagonal.const_data_ptr<float>();
    return walk_columns(
        weights, factor.root, block_, [](int64_t, int64_t, const Tensor&) {},
        [&](const WalkStep& step) {
          for (int64_t lane = 0; lane < step.rows; ++lane) {
            bool* from = mask + (step.row + lane) * columns + step.column;
            if (step.column % group == 0) choose_group(step.values + lane, factors + step.column, from);
            step.kept[lane] = *from ? 0.0F : step.values[lane];
          }
        });
  }

  // Marks the `zeros` lowest of a group; those that are zero already come first, ties go to the left. The saliencies
  // are (values[i * kWalkRows] * factors[i])^2.
  void choose_group(const float* values, const float* factors, bool* pruned) const {
    int64_t missing = pattern_.zeros - std::count(pruned, pruned + pattern_.group, true);
    for (; missing > 0; --missing) {
      int64_t lowest = -1;
      double least = std::numeric_limits<double>::infinity();
      for (int64_t i = 0; i < pattern_.group; ++i) {
        const double ratio = static_cast<double>(values[i * kWalkRows]) * factors[i];
        if (pruned[i] || ratio * ratio >= least) continue;
        least = ratio * ratio;
        lowest = i;
      }
      if (lowest < 0) break;
      pruned[lowest] = true;
    }
  }

  // Compensation goes to columns that may be removed later, so that it can do harm; then the same mask without any
  // change of the other weights is the better result. `changes` are those of the walk.
  static bool updates_are_better(const Linear& linear, const LayerStats& stats, const Tensor& original,
                                 const Tensor& pruned, const HessianFactor& factor, double squared_errors,
                                 const Tensor& changes) {
    const auto removed = [&](int64_t first, int64_t last, int64_t step) {
      const Tensor stays = pruned.slice(0, first, last, step).logical_not();
      return start_of(original.slice(0, first, last, step), factor).masked_fill_(stays, 0).neg_();
    };
    const auto [updated, plain] = compare_walk(squared_errors, factor, changes, {}, removed, stats.gram);
    if (updated <= plain) return true;
    if (stats.note)
      stats.note(
          fmt::format("{}: the update made the output error worse ({:.3g} instead of {:.3g}); the pruned weights "
                      "are kept without it",
                      linear.name, updated, plain));
    return false;
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
