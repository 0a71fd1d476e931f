// mixllm: the output features that matter most to the model's loss at 8 bits, the others at 4.
// Paper: Zheng et al., "MixLLM: LLM Quantization with Global Mixed-precision between Output-features and
// Highly-efficient System Design" (2024): the rows of all linears compete by salience, an estimate of what rounding
// them coarsely does to the loss (GradientStats::place); both kinds are rounded by gptq. Needs: gradients, and the Gram
// matrix of the inputs. Weight format: group-int with rows of two widths. All linears of the blocks compete, those that
// a recipe leaves out too. Left out: more than two widths, the search for clipped ranges, 8-bit inputs.
#include "ockham/core/error.h"
#include "ockham/methods/method.h"
#include "ockham/methods/quantization/grid.h"
#include "ockham/methods/second_order.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

class MixLlm final : public Method {
 public:
  explicit MixLlm(const Params& params)
      : share_(params.real("share")), bits_(params.integer("bits")), wide_bits_(params.integer("wide_bits")) {
    if (bits_ >= wide_bits_)
      throw_input("{}: key 'bits' is {}, expected less than wide_bits, {}", params.where(), bits_, wide_bits_);
    const auto rounding = [&](int64_t bits) {
      std::map<std::string, ParamValue> given = {{"bits", bits}};
      for (const char* key : {"group_size", "damping", "block_size"}) given[key] = params.values().at(key);
      const MethodEntry& gptq = find_method("gptq", params.where());
      return gptq.make(Params(params.where(), gptq.parameters, given));
    };
    narrow_ = rounding(bits_);
    wide_ = rounding(wide_bits_);
  }

  unsigned needs() const override { return kNeedsGram | kNeedsGradients; }

  void compress(Linear& linear, const LayerStats& stats) const override {
    OCKHAM_CHECK(stats.gradients.place.defined());
    // Places are k / rows of the model: rounding must not lose the last of them.
    const Tensor is_wide = stats.gradients.place.le(share_ + 1e-9);
    const int64_t wide = is_wide.sum().item<int64_t>(), rows = is_wide.size(0);
    if (wide == 0 || wide == rows) {
      (wide == 0 ? narrow_ : wide_)->compress(linear, stats);
      return;
    }
    const Tensor narrow_rows = at::nonzero(is_wide.logical_not()).flatten(), wide_rows = at::nonzero(is_wide).flatten();
    const GroupIntWeight coarse = rounded_rows(*narrow_, linear, stats, narrow_rows);
    const GroupIntWeight fine = rounded_rows(*wide_, linear, stats, wide_rows);
    const Tensor order = at::argsort(at::cat({narrow_rows, wide_rows}));
    const auto merged = [&](const Tensor& a, const Tensor& b) { return at::cat({a, b}).index_select(0, order); };
    // Of two types of scales the wider one.
    const at::ScalarType type = at::promote_types(coarse.scales.scalar_type(), fine.scales.scalar_type());
    GroupIntWeight result = fine;
    result.codes = merged(coarse.codes, fine.codes);
    result.scales = merged(coarse.scales.to(type), fine.scales.to(type));
    result.zeros = merged(coarse.zeros, fine.zeros);
    result.narrow = is_wide.logical_not();
    result.narrow_bits = bits_;
    linear.weight = result;
  }

 private:
  static GroupIntWeight rounded_rows(const Method& method, const Linear& linear, const LayerStats& stats,
                                     const Tensor& rows) {
    Linear part = linear;
    part.weight = DenseWeight{weight_values(linear.weight).index_select(0, rows)};
    method.compress(part, stats);
    GroupIntWeight weight = std::get<GroupIntWeight>(part.weight);
    if (!weight.mask.defined()) return weight;
    // Rows of two widths have no mask: zeros take the code of their group's zero.
    const Tensor zeros = weight.zeros.repeat_interleave(weight.group_size, 1).narrow(1, 0, weight.codes.size(1));
    weight.codes = at::where(weight.mask, zeros, weight.codes);
    weight.mask = Tensor();
    return weight;
  }

  double share_;
  int64_t bits_, wide_bits_;
  std::unique_ptr<Method> narrow_, wide_;
};

}  // namespace

const MethodEntry& mixllm_entry() {
  static const MethodEntry kEntry = [] {
    std::vector<ParamSpec> parameters = {
        real_spec("share", "share of the rows of all linears, the most salient ones, at `wide_bits`", 0.1, 0, 1),
        int_spec("bits", "bits per weight of the other rows", 4, 2, 7),
        int_spec("wide_bits", "bits per weight of the salient rows", 8, 3, 8),
        int_spec("group_size", "inputs that share one scale; -1: one scale per output row", 128, -1, 65536)};
    for (ParamSpec& spec : second_order_parameters()) parameters.push_back(spec);
    return MethodEntry{"mixllm",
                       "quantization",
                       "Rounds the rows that matter most to the loss of the model to 8 bits and the others to 4.",
                       "Zheng et al., MixLLM: LLM Quantization with Global Mixed-precision between Output-features and "
                       "Highly-efficient System Design, 2024",
                       parameters,
                       [](const Params& params) { return std::make_unique<MixLlm>(params); },
                       {}};
  }();
  return kEntry;
}

}  // namespace ockham
