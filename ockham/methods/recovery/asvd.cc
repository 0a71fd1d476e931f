// asvd: low-rank factors that weigh every input channel by how large its values are.
// Paper: Yuan et al., "ASVD: Activation-aware Singular Value Decomposition for Compressing Large Language Models"
// (2023): the decomposition of W diag(s), s_c = norm(x_c)^alpha, with the right factor divided by s afterwards. The
// paper takes the mean of |x|, here the root of the mean square serves. Needs: the mean square of the inputs. Weight
// format: low-rank. With all inputs alike it is svd; `eora` takes their correlations into account, too.
#include "ockham/core/error.h"
#include "ockham/methods/recovery/low_rank.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

// Channels below this share of the largest are taken for as large, so that no factor grows without bound.
constexpr double kSmallestSize = 1e-6;

class Asvd final : public Method {
 public:
  explicit Asvd(const Params& params) : options_(read_low_rank(params)), alpha_(params.real("alpha")) {}

  unsigned needs() const override { return kNeedsMeanSquare; }

  void compress(Linear& linear, const LayerStats& stats) const override {
    OCKHAM_CHECK(stats.mean_square.defined());
    const Tensor target = low_rank_target(linear, stats, options_);
    Tensor size = stats.mean_square.to(at::kDouble).sqrt();
    const double largest = size.max().item<double>();
    size = largest > 0 ? size.clamp_min(kSmallestSize * largest) : at::ones_like(size);
    const Tensor scales = size.pow(alpha_);
    const int64_t rank = rank_for(options_, target.size(0), target.size(1));
    apply_factors(linear, factorize(target, at::diag(scales), at::diag(scales.reciprocal()), rank), stats, options_);
  }

 private:
  LowRankOptions options_;
  double alpha_;
};

}  // namespace

const MethodEntry& asvd_entry() {
  static const MethodEntry kEntry = [] {
    std::vector<ParamSpec> parameters = low_rank_parameters();
    parameters.push_back(real_spec("alpha", "power of a channel's size that weighs it", 0.5, 0, 4));
    return MethodEntry{
        "asvd",
        "recovery",
        "Low-rank factors of a weight or its error, closest where the inputs are large.",
        "Yuan et al., ASVD: Activation-aware Singular Value Decomposition for Compressing Large Language "
        "Models, 2023",
        parameters,
        [](const Params& params) { return std::make_unique<Asvd>(params); },
        {}};
  }();
  return kEntry;
}

}  // namespace ockham
