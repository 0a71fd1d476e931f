// matryoshka: 8-bit integers whose leading bits serve as the integers of every smaller width.
// Paper: Nair et al., "Matryoshka Quantization" (2025) and D2MoE's matryoshka weights: one code c of 8 bits per weight
// on the range of its group, the code of b bits is c >> (8 - b) and stands for the middle of the codes that share it.
// Run on a model that matryoshka wrote, a smaller `bits` only drops bits: no weight is rounded twice, and the result
// equals that of the original at this width. Needs: nothing. Weight format: nested-int. Left out: training for all
// widths at once. Zeros stay zero by a mask, where there are more than one in a hundred of them.
#include "ockham/core/error.h"
#include "ockham/methods/method.h"
#include "ockham/methods/pruning/tiles.h"
#include "ockham/methods/quantization/grid.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr int64_t kWidest = 8;
constexpr double kTop = 255, kChanceZeros = 0.01;

class Matryoshka final : public Method {
 public:
  explicit Matryoshka(const Params& params) : bits_(params.integer("bits")), group_size_(params.integer("group_size")) {
    if (group_size_ == 0)
      throw_input("{}: key 'group_size' is 0, expected -1 (one range per output row) or at least 1", params.where());
  }

  void compress(Linear& linear, const LayerStats& stats) const override {
    NestedIntWeight result;
    if (const auto* nested = std::get_if<NestedIntWeight>(&linear.weight)) {
      result = *nested;
      if (result.bits < bits_)
        throw_input("{}: has {} bits, expected at least {}; start from the model with more", linear.name, result.bits,
                    bits_);
    } else {
      result = round_all(weight_to_dense(linear.weight, at::kFloat), scale_type_for(linear.weight, stats.stored));
    }
    result.codes = result.codes.bitwise_right_shift(result.bits - bits_);
    result.bits = bits_;
    linear.weight = result;
  }

 private:
  NestedIntWeight round_all(const Tensor& weights, at::ScalarType scale_type) const {
    NestedIntWeight result;
    const int64_t columns = weights.size(1);
    result.bits = kWidest;
    result.group_size = group_size_ < 0 || group_size_ > columns ? columns : group_size_;
    const Tile group = {1, result.group_size};
    // The padding of the last group is zero, and zero is inside every range.
    const Tensor parts = tiled(weights, group);
    const Tensor low = parts.amin(2).clamp_max(0), high = parts.amax(2).clamp_min(0);
    Tensor scales = (high - low) / kTop;
    scales = scales.masked_fill(scales == 0, 1);
    const bool fits = scales.min().item<double>() >= kSmallestHalf && low.abs().max().item<double>() < 65504;
    const at::ScalarType type = scale_type == at::kHalf && !fits ? at::kFloat : scale_type;
    result.scales = scales.to(type);
    result.lows = low.to(type);
    const Tensor steps = (weights - untiled(result.lows.to(at::kFloat), group, weights.sizes())) /
                         untiled(result.scales.to(at::kFloat), group, weights.sizes());
    result.codes = at::round(steps).clamp(0, kTop).to(at::kByte);
    const Tensor zeros = weights == 0;
    if (zeros.to(at::kFloat).mean().item<double>() > kChanceZeros) result.mask = zeros;
    return result;
  }

  int64_t bits_, group_size_;
};

}  // namespace

const MethodEntry& matryoshka_entry() {
  static const MethodEntry kEntry = {
      "matryoshka",
      "quantization",
      "Rounds to 8-bit integers of which every smaller width is a prefix, or cuts such a model to a smaller width.",
      "Nair et al., Matryoshka Quantization, 2025",
      {int_spec("bits", "bits that are kept of the 8", 8, 2, 8),
       int_spec("group_size", "inputs that share one range; -1: one range per output row", 128, -1, 65536)},
      [](const Params& params) { return std::make_unique<Matryoshka>(params); },
      {}};
  return kEntry;
}

}  // namespace ockham
