// llm-int8: 8-bit integer weights and inputs, with the few input features of very large values left in floating point.
// Paper: Dettmers et al., "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale" (NeurIPS 2022). Every
// output row of the weight and every token of the input has its own scale; a feature with any |x| >= threshold among
// the tokens of a call is multiplied in floating point. Needs: the largest |x| of every feature, from which
// `keep_columns` finds the features that reach the threshold and stores their weights unrounded, as the paper
// multiplies them; without it nothing is calibrated and such features are multiplied with their rounded weights (as in
// the authors' library when a model is loaded in 8 bits). Weight format: int8. Zeros stay zero.
#include "ockham/core/error.h"
#include "ockham/methods/method.h"
#include "ockham/methods/quantization/grid.h"
#include "ockham/methods/quantization/int8.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

class LlmInt8 final : public Method {
 public:
  explicit LlmInt8(const Params& params)
      : threshold_(params.real("threshold")), keeps_columns_(params.flag("keep_columns")) {}

  unsigned needs() const override { return keeps_columns_ ? kNeedsMax : kNeedsNothing; }

  void compress(Linear& linear, const LayerStats& stats) const override {
    const Tensor weights = weight_to_dense(linear.weight, at::kFloat);
    Tensor kept;
    if (keeps_columns_) {
      OCKHAM_CHECK(stats.max_abs.defined());
      kept = (stats.max_abs >= threshold_).nonzero().flatten();
    }
    const bool has_kept = kept.defined() && kept.numel() > 0;
    // Columns with weights of their own have no say in the scales of the rows.
    Int8Weight result =
        round_to_int8(has_kept ? weights.index_fill(1, kept, 0) : weights, scale_type_for(linear.weight, stats.stored));
    result.threshold = threshold_;
    if (has_kept) {
      result.kept = kept;
      result.kept_values = weights.index_select(1, kept).to(stats.stored);
    }
    linear.weight = result;
  }

 private:
  double threshold_;
  bool keeps_columns_;
};

}  // namespace

const MethodEntry& llm_int8_entry() {
  static const MethodEntry kEntry = {
      "llm-int8",
      "quantization",
      "Multiplies 8-bit weights by 8-bit inputs, and the few features with very large inputs in floating point.",
      "Dettmers et al., LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale, NeurIPS 2022",
      {real_spec("threshold", "input features that reach this magnitude are left in floating point", 6.0, 0, 1e30),
       flag_spec("keep_columns",
                 "store the weights of features that reach the threshold in calibration without rounding", true)},
      [](const Params& params) { return std::make_unique<LlmInt8>(params); },
      {}};
  return kEntry;
}

}  // namespace ockham
