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
GridOptions read_grid(const Params& params);

// Scales and zeros of weights float32 [R, C]; codes are left empty. `scale_type` is how scales are stored: codes belong
// to the stored scale, not to the exact one.
GroupIntWeight fit_grid(const Tensor& weights, const GridOptions& options, at::ScalarType scale_type);
// Fills in the codes: round half to even, clamped to the grid.
void round_to_grid(const Tensor& weights, GroupIntWeight& grid);
// float16 for 16-bit models and float32 for float32 ones.
at::ScalarType scale_type_for(const Weight& weight);

}  // namespace ockham
