// owl: blocks with many outlier weights get less sparsity.
// Paper: Yin et al., "Outlier Weighed Layerwise Sparsity (OWL): A Missing Secret Sauce for Pruning LLMs to High
// Sparsity" (ICML 2024). Layerwise outlier distribution of a block: the share, in percent, of its weights whose Wanda
// score |w| * norm(x) exceeds m times the mean over the block. The shares are stretched to a span of 2 * lambda and
// centred so that the unweighted mean over blocks is the sparsity asked for (the released code, not the paper's [s -
// lambda, s + lambda]). Needs: the mean square of the inputs of the dense model. `steps`: the sparsity rises in so many
// equal steps, and the shares are measured again on the model as the steps that take their values from here would have
// pruned it ("gradual OWL").
#include "ockham/methods/allocation/owl.h"

#include <algorithm>
#include <cmath>

#include "ockham/core/error.h"
#include "ockham/methods/method.h"
#include "ockham/tensor/ops.h"

namespace ockham {

double outlier_share(const std::vector<const Linear*>& linears, const std::vector<LayerStats>& stats, double m) {
  std::vector<Tensor> scores;
  double sum = 0;
  int64_t count = 0;
  for (size_t i = 0; i < linears.size(); ++i) {
    scores.push_back(weight_to_dense(linears[i]->weight, at::kFloat).abs().mul_(stats[i].mean_square.sqrt()));
    sum += scores.back().sum(at::kDouble).item<double>();
    count += scores.back().numel();
  }
  if (count == 0) return 0;
  const double limit = m * sum / static_cast<double>(count);
  int64_t outliers = 0;
  for (const Tensor& score : scores) outliers += (score > limit).sum().item<int64_t>();
  return 100.0 * static_cast<double>(outliers) / static_cast<double>(count);
}

std::vector<double> owl_sparsities(const std::vector<double>& shares, double mean, double lambda) {
  OCKHAM_CHECK(!shares.empty());
  const auto [low, high] = std::minmax_element(shares.begin(), shares.end());
  std::vector<double> kept;
  double centre = 0;
  for (const double share : shares) {
    kept.push_back(*high > *low ? (share - *low) / (*high - *low) * 2 * lambda : 0);
    centre += kept.back() / static_cast<double>(shares.size());
  }
  for (double& value : kept) value = std::clamp(1 - (value - centre + 1 - mean), 0.01, 1.0);
  return kept;
}

namespace {

class Owl final : public Allocation {
 public:
  explicit Owl(const Params& params)
      : mean_(params.real("mean")),
        lambda_(params.real("lambda")),
        m_(params.real("m")),
        steps_(params.integer("steps")) {}

  unsigned needs() const override { return kNeedsMeanSquare; }

  int64_t passes() const override { return steps_; }
  void begin_pass(int64_t pass) override {
    pass_ = pass;
    shares_.clear();
    names_.clear();
  }

  void look(const std::vector<const Linear*>& linears, const std::vector<LayerStats>& stats) override {
    if (linears.empty()) return;
    shares_.push_back(outlier_share(linears, stats, m_));
    names_.emplace_back();
    for (const Linear* linear : linears) names_.back().push_back(linear->name);
  }

  std::map<std::string, double> values() const override {
    const double mean = mean_ * static_cast<double>(pass_ + 1) / static_cast<double>(steps_);
    const std::vector<double> sparsities = owl_sparsities(shares_, mean, lambda_);
    std::map<std::string, double> values;
    for (size_t block = 0; block < names_.size(); ++block)
      for (const std::string& name : names_[block]) values[name] = sparsities[block];
    return values;
  }

 private:
  double mean_, lambda_, m_;
  int64_t steps_, pass_ = steps_ - 1;
  std::vector<double> shares_;
  std::vector<std::vector<std::string>> names_;
};

}  // namespace

const MethodEntry& owl_entry() {
  static const MethodEntry kEntry = {
      "owl",
      "allocation",
      "Gives blocks with many outlier weights less sparsity and the others more.",
      "Yin et al., Outlier Weighed Layerwise Sparsity (OWL), ICML 2024",
      {real_spec("mean", "sparsity in the mean over blocks", 0.5, 0, 1),
       real_spec("lambda", "half the span of sparsities between the blocks", 0.08, 0, 0.5),
       real_spec("m", "how many times the block's mean score makes an outlier", 5, 0, 1000),
       int_spec("steps", "steps in which the sparsity rises, measured again after each", 1, 1, 100)},
      {},
      [](const Params& params) { return std::make_unique<Owl>(params); }};
  return kEntry;
}

}  // namespace ockham
