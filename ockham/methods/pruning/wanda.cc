// wanda: remove, in each output row, the weights with the smallest |w_rc| * sqrt(mean_t x_tc^2).
// Paper: Sun et al., "A Simple and Effective Pruning Approach for Large Language Models" (ICLR 2024).
// Needs: the mean square of every input column. No weight is updated. Cost: one selection per row, no solve.
#include "ockham/core/error.h"
#include "ockham/methods/method.h"
#include "ockham/methods/pruning/pattern.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

class Wanda final : public Method {
 public:
  explicit Wanda(const Params& params) : where_(params.where()), pattern_(read_sparsity(params)) {}

  unsigned needs() const override { return kNeedsMeanSquare; }

  void check(const std::string& linear, int64_t, int64_t columns) const override {
    check_pattern(pattern_, where_, linear, columns);
  }

  void compress(Linear& linear, const LayerStats& stats) const override {
    OCKHAM_CHECK(stats.mean_square.defined());
    const Tensor scores = weight_to_dense(linear.weight, at::kFloat).abs().mul_(stats.mean_square.sqrt());
    if (pattern_.group > 0) {
      prune(linear, lowest_of_each_group(scores, pattern_.zeros, pattern_.group));
    } else {
      prune(linear,
            lowest_of_each_row(scores, static_cast<int64_t>(static_cast<double>(scores.size(1)) * pattern_.sparsity)));
    }
  }

 private:
  std::string where_;
  SparsityPattern pattern_;
};

}  // namespace

const MethodEntry& wanda_entry() {
  static const MethodEntry entry = {
      "wanda",
      "pruning",
      "Removes, in each output row, the weights with the smallest product of magnitude and input norm.",
      "Sun et al., A Simple and Effective Pruning Approach for Large Language Models, ICLR 2024",
      sparsity_parameters(),
      [](const Params& params) { return std::make_unique<Wanda>(params); }};
  return entry;
}

}  // namespace ockham
