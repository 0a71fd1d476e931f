// smoothquant: 8-bit integer weights and inputs, with the difficulty of large inputs moved into the weights before.
// Paper: Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models" (ICML
// 2023), equation 4: input channel j is divided by s_j = max|x_j|^alpha / max|w_j|^(1 - alpha) and the columns of all
// linears that read it are multiplied; the division goes into the norm before q, k, v and before gate, up. `inner` does
// the same for v -> o (where no head is shared) and up -> down, which the paper leaves alone. Then every output row of
// the weight and every token of the input has its own scale (the paper's O1). Needs: the block's own inputs. Weight
// format: int8. Left out: scales of the inputs fixed beforehand (O3).
#include <algorithm>
#include <map>

#include "ockham/core/error.h"
#include "ockham/methods/method.h"
#include "ockham/methods/quantization/grid.h"
#include "ockham/methods/quantization/int8.h"
#include "ockham/methods/quantization/scaling.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr const char* kSmoothQuant = "smoothquant";
constexpr double kSmallestMagnitude = 1e-5;

// The largest |x| of every input channel over all forwards, float32 [C] by linear.
class MaximumRecorder final : public LinearObserver {
 public:
  void observe(const Linear& linear, const Tensor& input) override {
    const Tensor largest = input.abs().amax(0).to(at::kFloat);
    Tensor& seen = largest_[linear.name];
    seen = seen.defined() ? at::maximum(seen, largest) : largest;
  }
  const Tensor& of(const Linear& linear) const { return largest_.at(linear.name); }

 private:
  std::map<std::string, Tensor> largest_;
};

class SmoothQuant final : public Method {
 public:
  explicit SmoothQuant(const Params& params) : alpha_(params.real("alpha")), has_inner_(params.flag("inner")) {}

  unsigned needs() const override { return kNeedsHidden; }
  bool transforms_blocks() const override { return true; }

  void transform(Block& block, const BlockInputs& inputs) const override {
    MaximumRecorder recorder;
    BlockContext context = inputs.context;
    context.observer = &recorder;
    for (int64_t sample = 0; sample < inputs.hidden.size(0); ++sample)
      block.forward(inputs.hidden.narrow(0, sample, 1), context);
    for (const ChannelPair& pair : channel_pairs(block))
      if ((pair.is_norm() || has_inner_) && are_targets(inputs, block, pair.readers)) smooth(block, recorder, pair);
  }

  void compress(Linear& linear, const LayerStats& stats) const override {
    linear.weight =
        round_to_int8(weight_to_dense(linear.weight, at::kFloat), scale_type_for(linear.weight, stats.stored));
  }

 private:
  void smooth(Block& block, const MaximumRecorder& recorder, const ChannelPair& pair) const {
    const Tensor& inputs = recorder.of(block.linears[pair.readers.front()]);
    Tensor weights = at::zeros_like(inputs);
    for (const size_t place : pair.readers)
      weights = at::maximum(weights, dense_values(block.linears[place], kSmoothQuant).abs().amax(0).to(at::kFloat));
    const Tensor scales =
        inputs.clamp_min(kSmallestMagnitude).pow(alpha_) / weights.clamp_min(kSmallestMagnitude).pow(1 - alpha_);
    // An input that is never there, or that nothing reads, stays as it is.
    rescale(block, pair, scales.clamp_min(kSmallestMagnitude).masked_fill((inputs == 0).logical_or(weights == 0), 1),
            kSmoothQuant);
  }

  double alpha_;
  bool has_inner_;
};

}  // namespace

const MethodEntry& smoothquant_entry() {
  static const MethodEntry kEntry = {
      kSmoothQuant,
      "quantization",
      "Divides channels with large inputs, multiplies their weights instead, and makes both 8-bit integers.",
      "Xiao et al., SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models, ICML "
      "2023",
      {real_spec("alpha", "how much of the inputs' range moves into the weights", 0.5, 0, 1),
       flag_spec("inner", "also between v and o and between up and down, which the paper leaves alone", false)},
      [](const Params& params) { return std::make_unique<SmoothQuant>(params); },
      {}};
  return kEntry;
}

}  // namespace ockham
