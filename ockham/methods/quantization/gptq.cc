// gptq: round column by column and make up for each error by changing the columns to its right.
// Paper: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers" (ICLR
// 2023). Needs: the Gram matrix of the inputs. The grid is that of rtn. With groups each grid is fitted, when the walk
// reaches it, to the working weights, which hold every update so far (the reference misses those inside a block of
// columns); a block of columns is therefore a whole number of groups. Weights that are zero stay zero and push their
// error on like any other. `act_order` walks the columns by falling mean square of their inputs; its groups are then
// columns that are no neighbours, unless `static_groups` fits all grids beforehand to the original weights.
#include <algorithm>
#include <array>
#include <cmath>

#include "ockham/core/clones.h"
#include "ockham/core/error.h"
#include "ockham/methods/quantization/grid.h"
#include "ockham/methods/second_order.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

// The grids of the rows of a step, and the codes of their weights.
struct Lanes {
  std::array<float, kWalkRows> scales{}, zeros{}, codes{};
};

// As GroupGrid's code() and value(), for all lanes at once.
OCKHAM_CLONES void round_lanes(const float* values, float top, Lanes& lanes, float* kept) {
  for (size_t lane = 0; lane < kWalkRows; ++lane) {
    const float code = std::nearbyint(values[lane] / lanes.scales[lane]) + lanes.zeros[lane];
    lanes.codes[lane] = code < 0 ? 0 : code > top ? top : code;
  }
  for (size_t lane = 0; lane < kWalkRows; ++lane)
    kept[lane] = lanes.scales[lane] * (lanes.codes[lane] - lanes.zeros[lane]);
}

class Gptq final : public Method {
 public:
  explicit Gptq(const Params& params)
      : grid_(read_grid(params)),
        damping_(params.real("damping")),
        block_(params.integer("block_size")),
        is_ordered_(params.flag("act_order")),
        is_static_(params.flag("static_groups")),
        is_true_sequential_(params.flag("true_sequential")),
        keeps_better_(params.flag("keep_better")) {}

  unsigned needs() const override { return kNeedsGram; }
  bool is_true_sequential() const override { return is_true_sequential_; }

  void compress(Linear& linear, const LayerStats& stats) const override {
    const Tensor original = weight_values(linear.weight);
    const at::ScalarType scale_type = scale_type_for(linear.weight, stats.stored);
    GroupIntWeight result;
    if (!walk(linear, stats, original, scale_type, result)) walk(linear, stats, original, at::kFloat, result);
    name_zeros(original == 0, result);
    linear.weight = result;
  }

 private:
  static constexpr int64_t kStrip = 256;  // rows that are in float32 at a time

  // The working state of one walk. Columns are in walking order, `order` leads back to the original.
  struct Walk {
    Tensor weights, zeros_mask, order;  // float32 [R, C], bool [R, C], int64 [C] or undefined
    int64_t group_size = 0, groups = 0;
    at::ScalarType scale_type = at::kFloat;
    std::vector<GroupGrid> grids;   // [R * G]
    std::vector<int64_t> group_of;  // [C] in walking order
    Tensor codes;                   // uint8 [R, C] in walking order
  };

  // False where a float16 scale would be subnormal. `original` [R, C] in any floating type.
  bool walk(const Linear& linear, const LayerStats& stats, const Tensor& original, at::ScalarType scale_type,
            GroupIntWeight& result) const {
    const int64_t rows = original.size(0), columns = original.size(1);
    Walk state;
    state.scale_type = scale_type;
    state.group_size = grid_.group_size < 0 || grid_.group_size > columns ? columns : grid_.group_size;
    state.groups = (columns + state.group_size - 1) / state.group_size;
    if (is_ordered_) state.order = activation_order(stats);
    const HessianFactor& factor = hessian_factor(stats, linear, damping_, state.order);
    state.weights = at::empty({rows, columns}, at::kFloat);
    state.weights.copy_(state.order.defined() ? original.index_select(1, state.order) : original)
        .masked_fill_(factor.is_dead, 0);
    state.zeros_mask = state.weights == 0;
    state.codes = at::empty({rows, columns}, at::kByte);
    // One grid per row cannot wait for updates: it belongs to the first column as much as to the last.
    const bool is_fitted = is_static_ || state.groups == 1;
    const Tensor places =
        is_static_ && state.order.defined() ? state.order.contiguous() : at::arange(columns, at::kLong);
    for (int64_t c = 0; c < columns; ++c)
      state.group_of.push_back(places.const_data_ptr<int64_t>()[c] / state.group_size);
    state.grids =
        is_fitted ? fit_all(original, state) : std::vector<GroupGrid>(static_cast<size_t>(rows * state.groups));
    const double errors = step_through(factor, is_fitted, state);
    if (!finish(state, result)) return false;
    if (keeps_better_) keep_better(linear, stats, original, factor, errors, state, result);
    return true;
  }

  std::vector<GroupGrid> fit_all(const Tensor& original, const Walk& state) const {
    std::vector<GroupGrid> grids;
    for (int64_t first = 0; first < original.size(0); first += kStrip) {
      const Tensor rows = original.slice(0, first, first + kStrip).to(at::kFloat);
      const std::vector<GroupGrid> part = fit_groups(rows, state.group_size, grid_, state.scale_type);
      grids.insert(grids.end(), part.begin(), part.end());
    }
    return grids;
  }

  double step_through(const HessianFactor& factor, bool is_fitted, Walk& state) const {
    const int64_t columns = state.weights.size(1), groups = state.groups, size = state.group_size;
    // A whole number of groups, so that none reaches beyond the columns that are up to date.
    const int64_t block = is_fitted ? block_ : size * std::max<int64_t>(1, block_ / size);
    const float top = static_cast<float>((int64_t{1} << grid_.bits) - 1);
    const bool* zeros = state.zeros_mask.const_data_ptr<bool>();
    uint8_t* codes = state.codes.mutable_data_ptr<uint8_t>();
    return walk_columns(
        state.weights, factor.root, block, [](int64_t, int64_t, const Tensor&) {},
        [&](const WalkStep& step) {
          GroupGrid* grids = state.grids.data() + step.row * groups + state.group_of[static_cast<size_t>(step.column)];
          if (!is_fitted && step.column % size == 0) {
            std::vector<float> group;
            for (int64_t lane = 0; lane < step.rows; ++lane) {
              step.copy_row(lane, std::min(size, columns - step.column), group);
              grids[lane * groups] =
                  fit_group(group.data(), static_cast<int64_t>(group.size()), grid_, state.scale_type);
            }
          }
          Lanes lanes;
          lanes.scales.fill(1);  // of rows beyond the last
          for (int64_t lane = 0; lane < step.rows; ++lane) {
            lanes.scales[lane] = grids[lane * groups].scale;
            lanes.zeros[lane] = grids[lane * groups].zero;
          }
          round_lanes(step.values, top, lanes, step.kept);
          const int64_t place = step.row * columns + step.column;
          for (int64_t lane = 0; lane < step.rows; ++lane) {
            const bool is_zero = zeros[place + lane * columns];
            codes[place + lane * columns] = static_cast<uint8_t>(is_zero ? lanes.zeros[lane] : lanes.codes[lane]);
            if (is_zero) step.kept[lane] = 0;
          }
        });
  }

  bool finish(const Walk& state, GroupIntWeight& result) const {
    const int64_t rows = state.weights.size(0), columns = state.weights.size(1);
    result = {};
    result.bits = grid_.bits;
    result.group_size = state.group_size;
    result.is_symmetric = grid_.is_symmetric;
    if (!store_groups(state.grids, rows, state.scale_type, result)) return false;
    result.codes = state.codes;
    if (!state.order.defined()) return true;
    result.codes = at::empty_like(state.codes).index_copy_(1, state.order, state.codes);
    if (!is_static_ && state.groups > 1)
      result.group_index =
          at::empty({columns}, at::kLong).index_copy_(0, state.order, at::tensor(state.group_of, at::kLong));
    return true;
  }

  // Zeros are on the grid anyway; naming them pays when the codes saved outweigh one mask bit per weight.
  static void name_zeros(const Tensor& zeros, GroupIntWeight& weight) {
    if (zeros.count_nonzero().item<int64_t>() * weight.bits <= zeros.numel()) return;
    weight.mask = zeros;
    weight.codes = weight.codes.masked_fill(zeros, 0);
  }

  // With nearly uncorrelated inputs the walk can end worse than plain rounding; then that is kept.
  void keep_better(const Linear& linear, const LayerStats& stats, const Tensor& original, const HessianFactor& factor,
                   double squared_errors, const Walk& state, GroupIntWeight& result) const {
    const at::ScalarType type = result.scales.scalar_type();
    const auto rounding = [&](int64_t first, int64_t last, int64_t step) {
      const Tensor rows = original.slice(0, first, last, step).to(at::kFloat);
      return round_trip(rows, grid_, type).sub_(rows);
    };
    const auto [walked, rounded] =
        compare_walk(squared_errors, factor, state.weights, state.order, rounding, stats.gram);
    if (walked <= rounded) return;
    const Tensor wide = original.to(at::kFloat);
    result = fit_grid(wide, grid_, type);
    round_to_grid(wide, result);
    if (stats.note)
      stats.note(
          fmt::format("{}: rounding with updates gave a larger output error than plain rounding ({:.3g} instead "
                      "of {:.3g}), which is kept",
                      linear.name, walked, rounded));
  }

  GridOptions grid_;
  double damping_;
  int64_t block_;
  bool is_ordered_, is_static_, is_true_sequential_, keeps_better_;
};

}  // namespace

const MethodEntry& gptq_entry() {
  static const MethodEntry kEntry = [] {
    std::vector<ParamSpec> parameters = grid_parameters();
    for (ParamSpec& spec : second_order_parameters()) parameters.push_back(spec);
    parameters.push_back(flag_spec("act_order", "round the columns with the largest inputs first", false));
    parameters.push_back(flag_spec("static_groups", "fit the grids of all groups before the first rounding", false));
    parameters.push_back(flag_spec("true_sequential",
                                   "calibrate o, gate and up, and down on a block whose earlier linears are "
                                   "quantized already",
                                   false));
    parameters.push_back(
        flag_spec("keep_better", "where plain rounding gives a linear the smaller output error, keep that", true));
    return MethodEntry{"gptq",
                       "quantization",
                       "Rounds weights column by column and updates the remaining ones to make up for the errors.",
                       "Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained "
                       "Transformers, ICLR 2023",
                       parameters,
                       [](const Params& params) { return std::make_unique<Gptq>(params); },
                       {}};
  }();
  return kEntry;
}

}  // namespace ockham
