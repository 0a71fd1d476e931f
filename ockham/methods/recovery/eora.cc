// eora: low-rank factors beside a compressed weight that make up for its error where the inputs notice it most.
// Paper: Liu et al., "EoRA: Fine-tuning-free Compensation for Compressed LLM with Eigenspace Low-Rank Approximation"
// (2024). With the Gram matrix of the inputs G = Q L Q^T, the decomposition of (W - W_c) Q sqrt(L) cut at the rank, its
// right factor times sqrt(L)^-1 Q^T: the exact optimum of ||(W - W_c - B A) X||. Eigenvalues below a small share of the
// largest are raised to it (the reference divides by zero for an input that is never there). `of: weight` factorizes
// the weight itself in the same way. Needs: the Gram matrix. Weight format: low-rank over the compressed weight. Left
// out: rounding of the factors.
#include "ockham/core/error.h"
#include "ockham/methods/recovery/low_rank.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr double kSmallestEigenvalue = 1e-7;  // of the largest

class Eora final : public Method {
 public:
  explicit Eora(const Params& params) : options_(read_low_rank(params)) {}

  unsigned needs() const override { return kNeedsGram; }

  void compress(Linear& linear, const LayerStats& stats) const override {
    OCKHAM_CHECK(stats.gram.defined());
    const Tensor target = low_rank_target(linear, stats, options_);
    auto [values, vectors] = at::linalg_eigh(stats.gram.to(at::kDouble));
    const double largest = values.max().item<double>();
    values = largest > 0 ? values.clamp_min(kSmallestEigenvalue * largest) : at::ones_like(values);
    const Tensor roots = values.sqrt();
    const int64_t rank = rank_for(options_, target.size(0), target.size(1));
    const Factors factors = factorize(target, vectors * roots, (vectors / roots).t(), rank);
    apply_factors(linear, factors, stats, options_);
  }

 private:
  LowRankOptions options_;
};

}  // namespace

const MethodEntry& eora_entry() {
  static const MethodEntry kEntry = [] {
    std::vector<ParamSpec> parameters = low_rank_parameters();
    parameters[0].fallback = std::string("error");
    parameters[1].fallback = int64_t{128};
    return MethodEntry{
        "eora",
        "recovery",
        "Adds low-rank factors that make up for the error of earlier steps in the eigenspace of the inputs.",
        "Liu et al., EoRA: Fine-tuning-free Compensation for Compressed LLM with Eigenspace Low-Rank Approximation, "
        "2024",
        parameters,
        [](const Params& params) { return std::make_unique<Eora>(params); },
        {}};
  }();
  return kEntry;
}

}  // namespace ockham
