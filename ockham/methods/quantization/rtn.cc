// rtn: round every weight to the nearest point of a uniform grid, fitted to the range of its group.
// Grid and rounding: the quantizer of Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative
// Pre-trained Transformers" (ICLR 2023), which uses rounding to nearest as its baseline. Needs: nothing.
#include "ockham/methods/method.h"
#include "ockham/methods/quantization/grid.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

class Rtn final : public Method {
 public:
  explicit Rtn(const Params& params) : options_(read_grid(params)) {}

  void compress(Linear& linear, const LayerStats& stats) const override {
    const Tensor weights = weight_to_dense(linear.weight, at::kFloat);
    GroupIntWeight result = fit_grid(weights, options_, scale_type_for(linear.weight, stats.stored));
    round_to_grid(weights, result);
    const Tensor zeros = weights == 0;
    // Zeros are on the grid anyway; naming them pays when the codes saved outweigh one mask bit per weight.
    const double saved = zeros.to(at::kFloat).mean().item<double>() * static_cast<double>(options_.bits);
    if (saved > 1) {
      result.mask = zeros;
      result.codes.masked_fill_(zeros, 0);
    }
    linear.weight = result;
  }

 private:
  GridOptions options_;
};

}  // namespace

const MethodEntry& rtn_entry() {
  static const MethodEntry kEntry = {"rtn",
                                     "quantization",
                                     "Rounds every weight to the nearest point of a uniform integer grid.",
                                     "Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative "
                                     "Pre-trained Transformers, ICLR 2023 (baseline)",
                                     grid_parameters(),
                                     [](const Params& params) { return std::make_unique<Rtn>(params); },
                                     {}};
  return kEntry;
}

}  // namespace ockham
