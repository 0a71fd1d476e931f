// fwsvd: low-rank factors that weigh every input channel by how much the loss depends on its weights.
// Paper: Hsu et al., "Language model compression with weighted low-rank factorization" (ICLR 2022): the decomposition
// of W diag(d), d_c the root of the Fisher information summed over the weights of input c, with the right factor
// divided by d afterwards; exact where the information is the same in all weights of an input. Needs: gradients, whose
// squares are averaged over the calibration sequences one by one. Weight format: low-rank. Left out: tuning afterwards.
#include "ockham/core/error.h"
#include "ockham/methods/recovery/low_rank.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr double kSmallestWeight = 1e-6;  // of the largest

class Fwsvd final : public Method {
 public:
  explicit Fwsvd(const Params& params) : options_(read_low_rank(params)) {}

  unsigned needs() const override { return kNeedsGradients; }

  void compress(Linear& linear, const LayerStats& stats) const override {
    OCKHAM_CHECK(stats.gradients.fisher.defined());
    const Tensor target = low_rank_target(linear, stats, options_);
    Tensor weights = stats.gradients.fisher.to(at::kDouble).sqrt();
    const double largest = weights.max().item<double>();
    weights = largest > 0 ? weights.clamp_min(kSmallestWeight * largest) : at::ones_like(weights);
    const int64_t rank = rank_for(options_, target.size(0), target.size(1));
    apply_factors(linear, factorize(target, at::diag(weights), at::diag(weights.reciprocal()), rank), stats, options_);
  }

 private:
  LowRankOptions options_;
};

}  // namespace

const MethodEntry& fwsvd_entry() {
  static const MethodEntry kEntry = {
      "fwsvd",
      "recovery",
      "Low-rank factors of a weight or its error, closest where the loss depends on the weights.",
      "Hsu et al., Language model compression with weighted low-rank factorization, ICLR 2022",
      low_rank_parameters(),
      [](const Params& params) { return std::make_unique<Fwsvd>(params); },
      {}};
  return kEntry;
}

}  // namespace ockham
