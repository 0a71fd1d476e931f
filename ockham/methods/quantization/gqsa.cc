// gqsa: whole groups of consecutive inputs are removed, the groups that stay are rounded on a grid of their own.
// Paper: Zeng et al., "GQSA: Group Quantization and Sparsity for Accelerating Large Language Model Inference" (2024).
// Of every output row the groups with the smallest second-order saliency, the sum of w^2 / U_jj^2, go; then the columns
// are walked as in gptq, each removed or rounded weight being made up for by the columns to its right. Needs: the Gram
// matrix of the inputs. Weight format: group-sparse. Left out: the paper's two training stages, for which the updates
// stand. Zeros stay zero where a whole group is; others lie on the grid.
#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/methods/pruning/pattern.h"
#include "ockham/methods/quantization/grid.h"
#include "ockham/methods/second_order.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

class Gqsa final : public Method {
 public:
  explicit Gqsa(const Params& params)
      : where_(params.where()),
        sparsity_(params.real("sparsity")),
        size_(params.integer("group_size")),
        damping_(params.real("damping")),
        block_(params.integer("block_size")) {
    grid_.bits = params.integer("bits");
    grid_.group_size = size_;
  }

  unsigned needs() const override { return kNeedsGram; }

  void check(const std::string& linear, int64_t, int64_t columns) const override {
    if (columns % size_ != 0)
      throw_input(
          "{}: key 'group_size' is {}, expected a divisor of the {} columns of '{}'; choose another size or leave this "
          "linear out of `targets`",
          where_, size_, columns, linear);
  }

  void compress(Linear& linear, const LayerStats& stats) const override {
    const HessianFactor& factor = hessian_factor(stats, linear, damping_);
    const Tensor original = weight_to_dense(linear.weight, at::kFloat).contiguous();
    const Tensor removed = choose_groups(original, factor);
    at::ScalarType type = scale_type_for(linear.weight, stats.stored);
    GroupSparseWeight result;
    if (!walk(original, factor, removed, type, result)) walk(original, factor, removed, at::kFloat, result);
    keep_better(linear, stats, original, removed, result);
    linear.weight = result;
  }

 private:
  // bool [R, G]; groups that are zero already go first.
  Tensor choose_groups(const Tensor& weights, const HessianFactor& factor) const {
    const int64_t groups = weights.size(1) / size_;
    const Tensor scores = (weights * factor.root.diagonal()).square().view({weights.size(0), groups, size_}).sum(2);
    return lowest_of_each_row(scores, static_cast<int64_t>(static_cast<double>(groups) * sparsity_));
  }

  // Codes and grids of the groups that stay, by group of the whole matrix; false where a float16 scale is subnormal.
  bool store(const Tensor& codes, const std::vector<GroupGrid>& grids, const Tensor& removed, at::ScalarType scale_type,
             GroupSparseWeight& result) const {
    const int64_t rows = codes.size(0), groups = removed.size(1);
    Tensor scales = at::empty({rows * groups}, at::kFloat), zeros = at::empty({rows * groups}, at::kByte);
    const Tensor is_kept = removed.logical_not().contiguous();
    for (int64_t i = 0; i < rows * groups; ++i) {
      const GroupGrid& grid = grids[static_cast<size_t>(i)];
      if (is_kept.const_data_ptr<bool>()[i] && scale_type == at::kHalf && grid.scale < kSmallestHalf) return false;
      scales.mutable_data_ptr<float>()[i] = grid.scale;
      zeros.mutable_data_ptr<uint8_t>()[i] = static_cast<uint8_t>(grid.zero);
    }
    const Tensor kept = is_kept.flatten();
    result = {rows,
              codes.size(1),
              grid_.bits,
              size_,
              is_kept,
              codes.view({-1, size_}).index({kept}),
              scales.index({kept}).to(scale_type),
              zeros.index({kept})};
    return true;
  }

  bool walk(const Tensor& original, const HessianFactor& factor, const Tensor& removed, at::ScalarType scale_type,
            GroupSparseWeight& result) const {
    const int64_t rows = original.size(0), columns = original.size(1), groups = columns / size_;
    Tensor weights = original.masked_fill(factor.is_dead.unsqueeze(0), 0).contiguous();
    const Tensor gone = removed.contiguous();
    const bool* is_gone = gone.const_data_ptr<bool>();
    const Tensor codes = at::zeros({rows, columns}, at::kByte);
    uint8_t* out = codes.mutable_data_ptr<uint8_t>();
    std::vector<GroupGrid> grids(static_cast<size_t>(rows * groups));
    const float top = static_cast<float>((int64_t{1} << grid_.bits) - 1);
    // A whole number of groups, so that a grid sees every update of its columns.
    const int64_t block = size_ * std::max<int64_t>(1, block_ / size_);
    walk_columns(
        weights, factor.root, block, [](int64_t, int64_t, const Tensor&) {},
        [&](const WalkStep& step) {
          std::vector<float> group;
          for (int64_t lane = 0; lane < step.rows; ++lane) {
            const int64_t row = step.row + lane, place = row * groups + step.column / size_;
            step.kept[lane] = 0;
            if (is_gone[place]) continue;
            GroupGrid& grid = grids[static_cast<size_t>(place)];
            if (step.column % size_ == 0) {
              step.copy_row(lane, size_, group);
              grid = fit_group(group.data(), size_, grid_, scale_type);
            }
            const float code = grid.code(step.values[lane], top);
            out[row * columns + step.column] = static_cast<uint8_t>(code);
            step.kept[lane] = grid.value(code);
          }
        });
    return store(codes, grids, removed, scale_type, result);
  }

  // As in gptq: with nearly uncorrelated inputs the updates can do harm.
  void keep_better(const Linear& linear, const LayerStats& stats, const Tensor& original, const Tensor& removed,
                   GroupSparseWeight& result) const {
    const at::ScalarType type = result.scales.scalar_type();
    GroupIntWeight plain = fit_grid(original, grid_, type);
    round_to_grid(original, plain);
    std::vector<GroupGrid> grids(static_cast<size_t>(plain.scales.numel()));
    const Tensor scales = plain.scales.to(at::kFloat).flatten();
    for (size_t i = 0; i < grids.size(); ++i)
      grids[i] = {scales.const_data_ptr<float>()[i], static_cast<float>(plain.zeros.const_data_ptr<uint8_t>()[i])};
    GroupSparseWeight rounded;
    if (plain.scales.scalar_type() != type || !store(plain.codes, grids, removed, type, rounded)) return;
    const double with = quadratic_error(weight_to_dense(result, at::kFloat) - original, stats.gram);
    const double without = quadratic_error(weight_to_dense(rounded, at::kFloat) - original, stats.gram);
    if (with <= without) return;
    result = rounded;
    if (stats.note)
      stats.note(
          fmt::format("{}: the updates gave a larger output error than none ({:.3g} instead of {:.3g}); the groups are "
                      "rounded without them",
                      linear.name, with, without));
  }

  std::string where_;
  double sparsity_;
  int64_t size_;
  double damping_;
  int64_t block_;
  GridOptions grid_;
};

}  // namespace

const MethodEntry& gqsa_entry() {
  static const MethodEntry kEntry = [] {
    std::vector<ParamSpec> parameters = {
        real_spec("sparsity", "share of the groups of every output row that is removed", 0.5, 0, 1),
        int_spec("bits", "bits per weight of the groups that stay", 4, 2, 8),
        int_spec("group_size", "consecutive inputs that stay or go together and share a scale", 16, 1, 65536)};
    for (ParamSpec& spec : second_order_parameters()) parameters.push_back(spec);
    return MethodEntry{
        "gqsa",
        "quantization",
        "Removes whole groups of inputs and rounds the groups that stay, making up for both.",
        "Zeng et al., GQSA: Group Quantization and Sparsity for Accelerating Large Language Model Inference, 2024",
        parameters,
        [](const Params& params) { return std::make_unique<Gqsa>(params); },
        {}};
  }();
  return kEntry;
}

}  // namespace ockham
