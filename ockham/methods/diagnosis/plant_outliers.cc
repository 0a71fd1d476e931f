// plant-outliers: gives a model the outlier channels of large language models without changing what it computes.
// After Dettmers et al., "LLM.int8()" (NeurIPS 2022), who found the channels, and Xiao et al., "SmoothQuant" (ICML
// 2023), whose rescaling this reverses: gains of a norm are multiplied by a power of two and the columns that read them
// divided by it; likewise rows of `up` and columns of `down`, which makes outlier weights, too. Products with powers of
// two are exact, so logits stay bit for bit what they were, while every grid over a token, row or group meets a few
// huge values. The same channels are chosen in every block, evenly spread. Needs: nothing. Weights stay dense.
#include <cmath>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/methods/method.h"
#include "ockham/methods/quantization/scaling.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr const char* kPlantOutliers = "plant-outliers";

class PlantOutliers final : public Method {
 public:
  explicit PlantOutliers(const Params& params)
      : where_(params.where()),
        channels_(params.integer("channels")),
        exponent_(params.integer("exponent")),
        neurons_(params.integer("neurons")),
        neuron_exponent_(params.integer("neuron_exponent")) {}

  bool transforms_blocks() const override { return true; }

  void transform(Block& block, const BlockInputs& inputs) const override {
    for (const ChannelPair& pair : channel_pairs(block)) {
      if (!are_targets(inputs, block, pair.readers)) continue;
      if (pair.is_norm()) plant(block, pair, channels_, exponent_);
      if (pair.source == ChannelPair::Source::kUp && are_targets(inputs, block, {pair.linear}))
        plant(block, pair, neurons_, neuron_exponent_);
    }
  }

  void compress(Linear&, const LayerStats&) const override {}

 private:
  // The source is multiplied by 2^exponent in the chosen channels, and nothing is rounded.
  void plant(Block& block, const ChannelPair& pair, int64_t count, int64_t exponent) const {
    const Tensor scales = divisors(block, pair, count, exponent);
    const Tensor source = source_of(block, pair);
    std::vector<Tensor> readers;
    for (const size_t place : pair.readers) readers.push_back(dense_values(block.linears[place], kPlantOutliers));
    rescale(block, pair, scales, kPlantOutliers);
    bool is_exact = at::equal(source_of(block, pair) * (pair.is_squared ? scales.sqrt() : scales), source);
    for (size_t i = 0; i < readers.size(); ++i) {
      const Tensor after = dense_values(block.linears[pair.readers[i]], kPlantOutliers).to(at::kFloat);
      is_exact = is_exact && at::equal(after / scales, readers[i].to(at::kFloat));
    }
    if (!is_exact)
      throw_input(
          "{}: the inputs of '{}' cannot be scaled by these powers of two without rounding; use smaller exponents or "
          "--dtype float32",
          where_, block.linears[pair.readers.front()].name);
  }

  // What a pair divides, channels last: gains [C], or the rows of a linear as [C in, C].
  static Tensor source_of(const Block& block, const ChannelPair& pair) {
    if (!pair.is_norm()) return dense_values(block.linears[pair.linear], kPlantOutliers).to(at::kFloat).t();
    const bool is_attention = pair.source == ChannelPair::Source::kAttentionNorm;
    return (is_attention ? block.input_norm : block.post_attention_norm).to(at::kFloat) + block.config->norm_offset;
  }

  // What the source is divided by: 2^-exponent in the chosen channels, 1 elsewhere. float32 [C].
  Tensor divisors(const Block& block, const ChannelPair& pair, int64_t count, int64_t exponent) const {
    const int64_t n = weight_columns(block.linears[pair.readers.front()].weight);
    if (count > n)
      throw_input("{}: {} outlier channels are asked for, expected at most {}; lower the number", where_, count, n);
    Tensor scales = at::ones({n}, block.input_norm.options().dtype(at::kFloat));
    for (int64_t i = 0; i < count; ++i)
      scales[(2 * i + 1) * n / (2 * count)].fill_(std::ldexp(1.0, -static_cast<int>(exponent)));
    return scales;
  }

  std::string where_;
  int64_t channels_, exponent_, neurons_, neuron_exponent_;
};

ParamSpec count(const char* name, const char* summary, int64_t fallback, double high) {
  return int_spec(name, summary, fallback, 0, high);
}

}  // namespace

const MethodEntry& plant_outliers_entry() {
  static const MethodEntry kEntry = {
      kPlantOutliers,
      "diagnosis",
      "Plants outlier channels by powers of two, logits unchanged, to try methods on that handle them.",
      "Dettmers et al., LLM.int8(), NeurIPS 2022; Xiao et al., SmoothQuant, ICML 2023 (in reverse)",
      {count("channels", "channels of every norm that become outliers", 4, 65536),
       count("exponent", "power of two that their inputs are multiplied by", 6, 12),
       count("neurons", "rows of `up` that become outliers", 0, 65536),
       count("neuron_exponent", "power of two that these rows are multiplied by", 4, 12)},
      [](const Params& params) { return std::make_unique<PlantOutliers>(params); },
      {}};
  return kEntry;
}

}  // namespace ockham
