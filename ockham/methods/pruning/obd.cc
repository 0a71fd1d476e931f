// obd: remove the weights with the smallest second-order saliency under a diagonal Hessian, 1/2 h_cc w_rc^2.
// Paper: LeCun, Denker & Solla, "Optimal Brain Damage" (NeurIPS 1989). The Hessian is that of the layer's squared
// output error, whose diagonal is the mean square of each input; so the ranking inside a row is Wanda's, and the
// difference is the group of weights that compete: the whole matrix here, as in the paper. Needs: the mean square of
// the inputs.
#include "ockham/core/error.h"
#include "ockham/methods/method.h"
#include "ockham/methods/pruning/pattern.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

class Obd final : public Method {
 public:
  explicit Obd(const Params& params) : where_(params.where()), pattern_(read_sparsity(params)) {}

  unsigned needs() const override { return kNeedsMeanSquare; }

  void check(const std::string& linear, int64_t, int64_t columns) const override {
    check_pattern(pattern_, where_, linear, columns);
  }

  void compress(Linear& linear, const LayerStats& stats) const override {
    OCKHAM_CHECK(stats.mean_square.defined());
    const Tensor saliency = weight_to_dense(linear.weight, at::kFloat).square().mul_(stats.mean_square).mul_(0.5);
    if (pattern_.group > 0) {
      prune(linear, lowest_of_each_group(saliency, pattern_.zeros, pattern_.group));
      return;
    }
    const auto count = static_cast<int64_t>(static_cast<double>(saliency.numel()) * pattern_.sparsity);
    prune(linear, lowest_of_each_row(saliency.view({1, -1}), count).view(saliency.sizes()));
  }

 private:
  std::string where_;
  SparsityPattern pattern_;
};

}  // namespace

const MethodEntry& obd_entry() {
  static const MethodEntry kEntry = {
      "obd",
      "pruning",
      "Removes the weights with the smallest second-order saliency under a diagonal Hessian.",
      "LeCun, Denker & Solla, Optimal Brain Damage, NeurIPS 1989 (proceedings of 1990); layer-wise as in Frantar & "
      "Alistarh 2022",
      sparsity_parameters(),
      [](const Params& params) { return std::make_unique<Obd>(params); },
      {}};
  return kEntry;
}

}  // namespace ockham
