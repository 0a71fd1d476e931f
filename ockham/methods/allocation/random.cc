// random: sparsities drawn at random around a mean; the sample in which one asks whether a rule that chooses them
// better than chance does, or whether the layers' errors order models. Reference: Sieberling et al., "EvoPress:
// Accurate Dynamic Model Compression via Evolutionary Search" (ICML 2025), where random allocations of equal mean show
// that summed layer errors do not order models. Needs: nothing. Each linear: mean + spread * u, u uniform in [-1, 1] by
// the seed and the linear's name; shifted so that the mean over weights is `mean`, cut to [0, 1].
#include <algorithm>
#include <cmath>

#include "ockham/core/rng.h"
#include "ockham/methods/method.h"

namespace ockham {
namespace {

class Random final : public Allocation {
 public:
  explicit Random(const Params& params)
      : mean_(params.real("mean")),
        spread_(params.real("spread")),
        seed_(static_cast<uint64_t>(params.integer("seed"))) {}

  void look(const std::vector<const Linear*>& linears, const std::vector<LayerStats>&) override {
    for (const Linear* linear : linears) {
      Rng rng(mix_seed(seed_, hash_seed(linear->name)));
      drawn_[linear->name] = {
          spread_ * (2 * rng.uniform() - 1),
          static_cast<double>(weight_rows(linear->weight)) * static_cast<double>(weight_columns(linear->weight))};
    }
  }

  // Cutting moves the mean, so the shift is found by bisection.
  std::map<std::string, double> values() const override {
    double low = -2, high = 2;
    for (int i = 0; i < 60; ++i) {
      const double shift = (low + high) / 2;
      (mean_at(shift) > mean_ ? high : low) = shift;
    }
    std::map<std::string, double> values;
    for (const auto& [name, draw] : drawn_) values[name] = std::clamp(draw.value + (low + high) / 2, 0.0, 1.0);
    return values;
  }

 private:
  struct Draw {
    double value, weights;
  };
  double mean_at(double shift) const {
    double sum = 0, weights = 0;
    for (const auto& [name, draw] : drawn_) {
      sum += draw.weights * std::clamp(draw.value + shift, 0.0, 1.0);
      weights += draw.weights;
    }
    return weights > 0 ? sum / weights : 0;
  }

  double mean_, spread_;
  uint64_t seed_;
  std::map<std::string, Draw> drawn_;
};

}  // namespace

const MethodEntry& random_entry() {
  static const MethodEntry kEntry = {
      "random",
      "allocation",
      "Gives every linear a random sparsity around a mean.",
      "Sieberling et al., EvoPress, ICML 2025 (random allocations)",
      {real_spec("mean", "sparsity in the mean over weights", 0.5, 0, 1),
       real_spec("spread", "how far a sparsity may lie from the mean on either side", 0.25, 0, 1),
       int_spec("seed", "which draw", 0, 0, 1e9)},
      {},
      [](const Params& params) { return std::make_unique<Random>(params); }};
  return kEntry;
}

}  // namespace ockham
