// Fitting of and rounding to the grid.
#include "ockham/methods/quantization/grid.h"

#include <algorithm>
#include <cmath>

#include "ockham/core/clones.h"
#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"
#include "ockham/tensor/parallel.h"

namespace ockham {
namespace {

// [R, C] -> [R, G, group_size]; zeros fill the last group, which changes no range since zero is always inside.
Tensor grouped(const Tensor& weights, int64_t group_size) {
  const int64_t columns = weights.size(1), groups = (columns + group_size - 1) / group_size;
  const Tensor padded =
      groups * group_size == columns ? weights : at::constant_pad_nd(weights, {0, groups * group_size - columns});
  return padded.reshape({weights.size(0), groups, group_size});
}

void copy_scaled(const float* in, const float* factors, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = factors == nullptr ? in[i] : in[i] * factors[i];
}

OCKHAM_CLONES void round_values(float* values, const float* factors, int64_t n, const GroupGrid& grid, float top) {
  const float scale = grid.scale, zero = grid.zero;
  for (int64_t i = 0; i < n; ++i) {
    const float code = std::nearbyint(values[i] / scale) + zero;
    values[i] = scale * ((code < 0 ? 0 : code > top ? top : code) - zero);
  }
  if (factors == nullptr) return;
  for (int64_t i = 0; i < n; ++i) values[i] /= factors[i];
}

}  // namespace

ParamSpec group_size_spec() {
  return int_spec("group_size", "inputs that share one scale; -1: one scale per output row", -1, -1, 65536);
}

std::vector<ParamSpec> grid_parameters() {
  return {int_spec("bits", "bits per weight", 4, 2, 8), group_size_spec(),
          flag_spec("symmetric", "zero in the middle of the grid, no zero points stored", false)};
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

float GroupGrid::code(float value, float top) const {
  return std::clamp(std::nearbyint(value / scale) + zero, 0.0F, top);
}

GroupGrid fit_group(const float* weights, int64_t n, const GridOptions& options, at::ScalarType scale_type) {
  float low = 0, high = 0;
  for (int64_t i = 0; i < n; ++i) {
    low = std::min(low, weights[i]);
    high = std::max(high, weights[i]);
  }
  if (low == 0 && high == 0) {
    low = -1;
    high = 1;
  }
  if (options.is_symmetric) {
    high = std::max(-low, high);
    low = -high;
  }
  const float top = static_cast<float>((int64_t{1} << options.bits) - 1);
  GroupGrid grid;
  grid.scale = (high - low) / top;
  if (scale_type == at::kHalf) grid.scale = static_cast<float>(static_cast<c10::Half>(grid.scale));
  grid.zero = options.is_symmetric ? (top + 1) / 2 : std::clamp(std::nearbyint(-low / grid.scale), 0.0F, top);
  return grid;
}

std::vector<GroupGrid> fit_groups(const Tensor& weights, int64_t group_size, const GridOptions& options,
                                  at::ScalarType scale_type) {
  const Tensor source = weights.to(at::kCPU).contiguous();
  const int64_t rows = source.size(0), columns = source.size(1), groups = (columns + group_size - 1) / group_size;
  const float* w = source.const_data_ptr<float>();
  std::vector<GroupGrid> grids(static_cast<size_t>(rows * groups));
  parallel_rows(0, rows, 8, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t begin = g * group_size, count = std::min(group_size, columns - begin);
        grids[static_cast<size_t>(row * groups + g)] = fit_group(w + row * columns + begin, count, options, scale_type);
      }
    }
  });
  return grids;
}

bool store_groups(const std::vector<GroupGrid>& grids, int64_t rows, at::ScalarType scale_type, GroupIntWeight& grid) {
  const int64_t groups = static_cast<int64_t>(grids.size()) / rows;
  Tensor scales = at::empty({rows, groups}, at::kFloat), zeros = at::empty({rows, groups}, at::kByte);
  for (int64_t i = 0; i < rows * groups; ++i) {
    const GroupGrid& group = grids[static_cast<size_t>(i)];
    if (scale_type == at::kHalf && group.scale < kSmallestHalf) return false;
    scales.mutable_data_ptr<float>()[i] = group.scale;
    zeros.mutable_data_ptr<uint8_t>()[i] = static_cast<uint8_t>(group.zero);
  }
  grid.scales = scales.to(scale_type);
  grid.zeros = grid.is_symmetric ? Tensor() : zeros;
  return true;
}

GroupIntWeight fit_grid(const Tensor& weights, const GridOptions& options, at::ScalarType scale_type) {
  GroupIntWeight grid;
  grid.bits = options.bits;
  grid.is_symmetric = options.is_symmetric;
  const int64_t rows = weights.size(0), columns = weights.size(1);
  grid.group_size = options.group_size < 0 || options.group_size > columns ? columns : options.group_size;
  if (!store_groups(fit_groups(weights, grid.group_size, options, scale_type), rows, scale_type, grid))
    store_groups(fit_groups(weights, grid.group_size, options, at::kFloat), rows, at::kFloat, grid);
  if (!weights.is_cpu()) {
    grid.scales = grid.scales.to(weights.device());
    if (grid.zeros.defined()) grid.zeros = grid.zeros.to(weights.device());
  }
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

Tensor round_trip(const Tensor& weights, const GridOptions& options, at::ScalarType scale_type, const Tensor& factors) {
  if (!weights.is_cpu()) {
    const Tensor scaled = factors.defined() ? weights * factors : weights;
    GroupIntWeight grid = fit_grid(scaled, options, scale_type);
    round_to_grid(scaled, grid);
    const Tensor values = weight_to_dense(grid, at::kFloat);
    return factors.defined() ? values / factors : values;
  }
  const Tensor source = weights.contiguous(), scales = factors.defined() ? factors.contiguous() : Tensor();
  const int64_t rows = source.size(0), columns = source.size(1);
  const int64_t size = options.group_size < 0 || options.group_size > columns ? columns : options.group_size;
  const float top = static_cast<float>((int64_t{1} << options.bits) - 1);
  Tensor result = at::empty({rows, columns}, at::kFloat);
  const float* in = source.const_data_ptr<float>();
  const float* factor = scales.defined() ? scales.const_data_ptr<float>() : nullptr;
  float* out = result.mutable_data_ptr<float>();
  parallel_rows(0, rows, 8, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      for (int64_t begin = 0; begin < columns; begin += size) {
        const int64_t count = std::min(size, columns - begin);
        float* values = out + row * columns + begin;
        copy_scaled(in + row * columns + begin, factor == nullptr ? nullptr : factor + begin, count, values);
        const GroupGrid grid = fit_group(values, count, options, scale_type);
        round_values(values, factor == nullptr ? nullptr : factor + begin, count, grid, top);
      }
    }
  });
  return result;
}

at::ScalarType scale_type_for(const Weight& weight, at::ScalarType stored) {
  if (stored != at::kFloat) return at::kHalf;
  const at::ScalarType type = weight_type(weight);
  return type == at::kFloat || type == at::kDouble ? at::kFloat : at::kHalf;
}

}  // namespace ockham
