// Low-rank factors of a weight, or of what an earlier step of the recipe took from it.
#pragma once

#include <string>
#include <vector>

#include "ockham/core/params.h"
#include "ockham/methods/method.h"

namespace ockham {

// The factors left [R, rank], right [rank, C] in float32.
struct Factors {
  Tensor left, right;
};
// The best factors for ||(matrix - left right) metric||_F, matrix float32 [R, C], metric float64 [C, N] and its inverse
// [N, C] (undefined: the identity). In float64; `rank` is cut to what there is.
Factors factorize(const Tensor& matrix, const Tensor& metric, const Tensor& inverse, int64_t rank);

// What the factors are for: the weight itself, which they replace, or its error, which they correct beside it.
struct LowRankOptions {
  bool corrects_error = false;
  int64_t rank = 0;  // 0: by ratio
  double ratio = 0.5;
};
// The parameters `of`, `rank` and `ratio`.
std::vector<ParamSpec> low_rank_parameters();
LowRankOptions read_low_rank(const Params& params);
// The rank whose factors hold `ratio` times the numbers of a matrix [R, C], at least 1.
int64_t rank_for(const LowRankOptions& options, int64_t rows, int64_t columns);

// The matrix that is to be factorized, float32 [R, C].
Tensor low_rank_target(const Linear& linear, const LayerStats& stats, const LowRankOptions& options);
// Puts factors in place of the weight, or beside it. Error(kInput) where there are factors already.
void apply_factors(Linear& linear, const Factors& factors, const LayerStats& stats, const LowRankOptions& options);

}  // namespace ockham
