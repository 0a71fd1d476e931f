// Truncated singular value decompositions in a metric, and where their factors go.
#include "ockham/methods/recovery/low_rank.h"

#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"

namespace ockham {

Factors factorize(const Tensor& matrix, const Tensor& metric, const Tensor& inverse, int64_t rank) {
  const Tensor wide = matrix.to(at::kDouble), seen = metric.defined() ? wide.matmul(metric) : wide;
  const auto [left, values, right] = at::linalg_svd(seen, /*full_matrices=*/false);
  const int64_t kept = std::min(rank, values.size(0));
  const Tensor roots = values.narrow(0, 0, kept).sqrt();
  const Tensor back = right.narrow(0, 0, kept) * roots.unsqueeze(1);
  return {(left.narrow(1, 0, kept) * roots).to(at::kFloat).contiguous(),
          (inverse.defined() ? back.matmul(inverse) : back).to(at::kFloat).contiguous()};
}

std::vector<ParamSpec> low_rank_parameters() {
  return {text_spec("of",
                    "what is factorized: the weight, which the factors replace, or its error by the steps before, "
                    "which they correct",
                    "weight", {"weight", "error"}),
          int_spec("rank", "rank of the factors; 0: as `ratio` says", 0, 0, 65536),
          real_spec("ratio", "numbers in the factors, as a share of those in the weight", 0.5, 0, 1)};
}

LowRankOptions read_low_rank(const Params& params) {
  LowRankOptions options;
  options.corrects_error = params.text("of") == "error";
  options.rank = params.integer("rank");
  options.ratio = params.real("ratio");
  return options;
}

int64_t rank_for(const LowRankOptions& options, int64_t rows, int64_t columns) {
  const int64_t most = std::min(rows, columns);
  if (options.rank > 0) return std::min(options.rank, most);
  const double numbers = options.ratio * static_cast<double>(rows) * static_cast<double>(columns);
  return std::clamp<int64_t>(static_cast<int64_t>(numbers / static_cast<double>(rows + columns)), 1, most);
}

Tensor low_rank_target(const Linear& linear, const LayerStats& stats, const LowRankOptions& options) {
  const Tensor current = weight_to_dense(linear.weight, at::kFloat);
  if (!options.corrects_error) return current;
  OCKHAM_CHECK(stats.original.defined());
  return stats.original - current;
}

void apply_factors(Linear& linear, const Factors& factors, const LayerStats& stats, const LowRankOptions& options) {
  if (std::holds_alternative<LowRankWeight>(linear.weight))
    throw_input("{}: has low-rank factors already, expected one such step; remove the others", linear.name);
  LowRankWeight result{nullptr, factors.left.to(stats.stored), factors.right.to(stats.stored)};
  if (options.corrects_error) {
    const Weight base = pack_if_smaller(weight_to(linear.weight, stats.stored));
    result.base = std::make_shared<const WeightBox>(WeightBox{base});
  }
  linear.weight = result;
}

}  // namespace ockham
