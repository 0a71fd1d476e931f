// Fitting of and rounding to the grid.
#include "ockham/methods/quantization/grid.h"

#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

// Below this a float16 scale is subnormal and loses digits.
constexpr double kSmallestHalf = 6.104e-5;

// [R, C] -> [R, G, group_size]; zeros fill the last group, which changes no range since zero is always inside.
Tensor grouped(const Tensor& weights, int64_t group_size) {
  const int64_t columns = weights.size(1), groups = (columns + group_size - 1) / group_size;
  const Tensor padded =
      groups * group_size == columns ? weights : at::constant_pad_nd(weights, {0, groups * group_size - columns});
  return padded.reshape({weights.size(0), groups, group_size});
}

}  // namespace

std::vector<ParamSpec> grid_parameters() {
  return {{.name = "bits",
           .type = ParamSpec::Type::kInt,
           .summary = "bits per weight",
           .fallback = int64_t{4},
           .low = 2,
           .high = 8,
           .choices = {}},
          {.name = "group_size",
           .type = ParamSpec::Type::kInt,
           .summary = "inputs that share one scale; -1: one scale per output row",
           .fallback = int64_t{-1},
           .low = -1,
           .high = 65536,
           .choices = {}},
          {.name = "symmetric",
           .type = ParamSpec::Type::kBool,
           .summary = "zero in the middle of the grid, no zero points stored",
           .fallback = false,
           .choices = {}}};
}

GridOptions read_grid(const Params& params) {
  GridOptions options;
  options.bits = params.integer("bits");
  options.group_size = params.integer("group_size");
  options.is_symmetric = params.flag("symmetric");
  if (options.group_size == 0) {
    throw_input("{}: key 'group_size' is 0, expected -1 (one scale per output row) or at least 1", params.where());
  }
  return options;
}

GroupIntWeight fit_grid(const Tensor& weights, const GridOptions& options, at::ScalarType scale_type) {
  GroupIntWeight grid;
  grid.bits = options.bits;
  grid.is_symmetric = options.is_symmetric;
  const int64_t columns = weights.size(1);
  grid.group_size = options.group_size < 0 || options.group_size > columns ? columns : options.group_size;

  auto [low, high] = grouped(weights, grid.group_size).aminmax(2);
  low = low.clamp_max(0);
  high = high.clamp_min(0);
  const Tensor is_empty = (low == 0).logical_and(high == 0);
  low = low.masked_fill(is_empty, -1);
  high = high.masked_fill(is_empty, 1);
  if (grid.is_symmetric) {
    // The reference keeps low = 0 for groups without negative weights, whose upper half then falls off the grid.
    high = at::maximum(low.neg(), high);
    low = high.neg();
  }
  const double top = static_cast<double>((int64_t{1} << grid.bits) - 1);
  const Tensor exact = (high - low) / top;
  if (scale_type != at::kFloat && exact.min().item<double>() < kSmallestHalf) scale_type = at::kFloat;
  grid.scales = exact.to(scale_type);
  if (!grid.is_symmetric) grid.zeros = at::round(low.neg() / grid.scales.to(at::kFloat)).clamp_(0, top).to(at::kByte);
  return grid;
}

void round_to_grid(const Tensor& weights, GroupIntWeight& grid) {
  const double top = static_cast<double>((int64_t{1} << grid.bits) - 1);
  Tensor codes = at::round(grouped(weights, grid.group_size) / grid.scales.to(at::kFloat).unsqueeze(2));
  if (grid.is_symmetric) {
    codes.add_((top + 1) / 2);
  } else {
    codes.add_(grid.zeros.to(at::kFloat).unsqueeze(2));
  }
  codes.clamp_(0, top);
  grid.codes = codes.flatten(1).narrow(1, 0, weights.size(1)).to(at::kByte).contiguous();
}

at::ScalarType scale_type_for(const Weight& weight) {
  const auto* dense = std::get_if<DenseWeight>(&weight);
  const auto* sparse = std::get_if<SparseWeight>(&weight);
  if (dense == nullptr && sparse == nullptr) return std::get<GroupIntWeight>(weight).scales.scalar_type();
  const at::ScalarType type = dense != nullptr ? dense->values.scalar_type() : sparse->values.scalar_type();
  return type == at::kFloat ? at::kFloat : at::kHalf;
}

}  // namespace ockham
