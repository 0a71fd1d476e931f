// The uniform grid of round-to-nearest and of the methods built on it: w = scale * (q - zero), q in [0, 2^bits).
// Zero always lies on the grid, so that pruned weights stay exactly zero.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/core/params.h"
#include "ockham/model/weight.h"

namespace ockham {

struct GridOptions {
  int64_t bits = 4;
  int64_t group_size = -1;  // -1: one scale per output row
  bool is_symmetric = false;
};

// The parameters `bits`, `group_size` and `symmetric`, alike in every method with this grid.
std::vector<ParamSpec> grid_parameters();
ParamSpec group_size_spec();
GridOptions read_grid(const Params& params);

// The grid of one group of weights w[0 .. n), stride 1. `scale` is as stored in `scale_type`.
struct GroupGrid {
  float scale = 1, zero = 0;
  // The nearest code, half to even, clamped to [0, top]; and the value of a code.
  float code(float value, float top) const;
  float value(float code) const { return scale * (code - zero); }
};
GroupGrid fit_group(const float* weights, int64_t n, const GridOptions& options, at::ScalarType scale_type);
// One grid per row and group of weights float32 [R, C], row by row.
std::vector<GroupGrid> fit_groups(const Tensor& weights, int64_t group_size, const GridOptions& options,
                                  at::ScalarType scale_type);
// Puts them into a weight's scales and zeros; false where a float16 scale is subnormal.
bool store_groups(const std::vector<GroupGrid>& grids, int64_t rows, at::ScalarType scale_type, GroupIntWeight& grid);
// Below this a float16 scale is subnormal and loses digits; a weight with such a group stores float32 scales.
inline constexpr double kSmallestHalf = 6.104e-5;

// Scales and zeros of weights float32 [R, C]; codes are left empty. `scale_type` is how scales are stored: codes belong
// to the stored scale, not to the exact one.
GroupIntWeight fit_grid(const Tensor& weights, const GridOptions& options, at::ScalarType scale_type);
// Fills in the codes: round half to even, clamped to the grid.
void round_to_grid(const Tensor& weights, GroupIntWeight& grid);
// What rounding leaves of weights float32 [R, C]: fit_grid() and round_to_grid() and back again, in one pass over
// memory on the CPU. With `factors` float32 [C] the columns are multiplied by them before and divided afterwards.
Tensor round_trip(const Tensor& weights, const GridOptions& options, at::ScalarType scale_type,
                  const Tensor& factors = {});
// float16 for 16-bit models (on disk) and float32 for float32 ones.
at::ScalarType scale_type_for(const Weight& weight, at::ScalarType stored);

}  // namespace ockham
