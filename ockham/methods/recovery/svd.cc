// svd: a weight, or the error that earlier steps left, as the product of two thin matrices.
// Paper: Eckart & Young (1936), the truncated singular value decomposition is the best approximation of its rank in the
// Frobenius norm; for language models as in Yuan et al., "ASVD" (2023), where it is the baseline. Needs: nothing.
// Weight format: low-rank.
#include "ockham/methods/recovery/low_rank.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

class Svd final : public Method {
 public:
  explicit Svd(const Params& params) : options_(read_low_rank(params)) {}

  void compress(Linear& linear, const LayerStats& stats) const override {
    const Tensor target = low_rank_target(linear, stats, options_);
    const int64_t rank = rank_for(options_, target.size(0), target.size(1));
    apply_factors(linear, factorize(target, {}, {}, rank), stats, options_);
  }

 private:
  LowRankOptions options_;
};

}  // namespace

const MethodEntry& svd_entry() {
  static const MethodEntry kEntry = {
      "svd",
      "recovery",
      "Writes a weight, or the error left in it, as the product of two thin matrices.",
      "Eckart & Young, The Approximation of One Matrix by Another of Lower Rank, 1936; Yuan et al., ASVD, 2023",
      low_rank_parameters(),
      [](const Params& params) { return std::make_unique<Svd>(params); },
      {}};
  return kEntry;
}

}  // namespace ockham
