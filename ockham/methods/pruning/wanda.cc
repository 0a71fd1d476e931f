// wanda: remove, in each output row, the weights with the smallest |w_rc| * sqrt(mean_t x_tc^2).
// Paper: Sun et al., "A Simple and Effective Pruning Approach for Large Language Models" (ICLR 2024).
// Needs: the mean square of every input column. No weight is updated. Cost: one selection per row, no solve.
// `variant`: a row loses its lowest scores as long as their sum stays within a share alpha of the row's total; alpha is
// found by bisection so that the matrix has the sparsity asked for, rows then differ (appendix of the paper).
#include <cmath>

#include "ockham/core/error.h"
#include "ockham/methods/method.h"
#include "ockham/methods/pruning/pattern.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

class Wanda final : public Method {
 public:
  explicit Wanda(const Params& params)
      : where_(params.where()), pattern_(read_sparsity(params, true)), is_variant_(params.flag("variant")) {
    if (is_variant_ && (pattern_.group > 0 || pattern_.tile.rows > 0))
      throw_input("{}: key 'variant' is true beside pattern '{}', expected an unstructured pattern; remove one", where_,
                  params.text("pattern"));
  }

  unsigned needs() const override { return kNeedsMeanSquare; }

  void check(const std::string& linear, int64_t, int64_t columns) const override {
    check_pattern(pattern_, where_, linear, columns);
  }

  void compress(Linear& linear, const LayerStats& stats) const override {
    OCKHAM_CHECK(stats.mean_square.defined());
    const Tensor scores = weight_to_dense(linear.weight, at::kFloat).abs().mul_(stats.mean_square.sqrt());
    if (is_variant_) {
      prune(linear, lowest_by_sum(scores));
    } else if (pattern_.tile.rows > 0) {
      prune(linear, lowest_tiles_of(scores, pattern_));
    } else if (pattern_.group > 0) {
      prune(linear, lowest_of_each_group(scores, pattern_.zeros, pattern_.group));
    } else {
      prune(linear,
            lowest_of_each_row(scores, static_cast<int64_t>(static_cast<double>(scores.size(1)) * pattern_.sparsity)));
    }
  }

 private:
  // Mask of the longest prefixes of the sorted rows whose sums stay within alpha of the rows' totals.
  Tensor lowest_by_sum(const Tensor& scores) const {
    const auto [sorted, order] = scores.sort(1);
    const Tensor sums = sorted.cumsum(1, at::kDouble), totals = scores.sum({1}, true, at::kDouble);
    const auto select = [&](double alpha) {
      const Tensor counts = (sums <= totals * alpha).sum({1}, true);
      // A row whose lowest score alone exceeds its share keeps everything.
      const Tensor last = sorted.gather(1, (counts - 1).clamp_min(0));
      return (scores <= last).logical_and(counts > 0);
    };
    double low = 0, high = 0.8, alpha = 0.4;
    for (;;) {
      const Tensor mask = select(alpha);
      const double found = mask.to(at::kDouble).mean().item<double>();
      if (std::abs(found - pattern_.sparsity) <= 1e-3 || high - low < 1e-3) return mask;
      (found > pattern_.sparsity ? high : low) = alpha;
      alpha = (low + high) / 2;
    }
  }

  std::string where_;
  SparsityPattern pattern_;
  bool is_variant_;
};

}  // namespace

const MethodEntry& wanda_entry() {
  static const MethodEntry kEntry = [] {
    std::vector<ParamSpec> parameters = sparsity_parameters(true);
    parameters.push_back(
        flag_spec("variant", "rows lose scores up to a common share of their total instead of a common count", false));
    return MethodEntry{
        "wanda",
        "pruning",
        "Removes, in each output row, the weights with the smallest product of magnitude and input norm.",
        "Sun et al., A Simple and Effective Pruning Approach for Large Language Models, ICLR 2024",
        parameters,
        [](const Params& params) { return std::make_unique<Wanda>(params); },
        {}};
  }();
  return kEntry;
}

}  // namespace ockham
