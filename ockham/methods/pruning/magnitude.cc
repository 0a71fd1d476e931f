// magnitude: remove the weights with the smallest |w|.
// Paper: Han et al., "Learning both Weights and Connections for Efficient Neural Networks" (NeurIPS 2015).
// Needs: nothing. One threshold per weight matrix: |w| <= the element at sorted index int(numel * sparsity), so ties
// and at least one weight more than asked for go; `group: row` removes exactly int(C * sparsity) per output row
// instead.
#include "ockham/methods/method.h"
#include "ockham/methods/pruning/pattern.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

class Magnitude final : public Method {
 public:
  explicit Magnitude(const Params& params)
      : where_(params.where()), pattern_(read_sparsity(params, true)), is_per_row_(params.text("group") == "row") {}

  void check(const std::string& linear, int64_t, int64_t columns) const override {
    check_pattern(pattern_, where_, linear, columns);
  }

  void compress(Linear& linear, const LayerStats&) const override {
    const Tensor scores = weight_to_dense(linear.weight, at::kFloat).abs();
    prune(linear, select(scores));
  }

 private:
  Tensor select(const Tensor& scores) const {
    if (pattern_.tile.rows > 0) return lowest_tiles_of(scores, pattern_);
    if (pattern_.group > 0) return lowest_of_each_group(scores, pattern_.zeros, pattern_.group);
    if (is_per_row_) {
      return lowest_of_each_row(scores, static_cast<int64_t>(static_cast<double>(scores.size(1)) * pattern_.sparsity));
    }
    const int64_t index = static_cast<int64_t>(static_cast<double>(scores.numel()) * pattern_.sparsity);
    if (index == 0) return at::zeros_like(scores, at::kBool);
    if (index == scores.numel()) return at::ones_like(scores, at::kBool);
    return scores <= std::get<0>(scores.flatten().kthvalue(index + 1));
  }

  std::string where_;
  SparsityPattern pattern_;
  bool is_per_row_;
};

}  // namespace

const MethodEntry& magnitude_entry() {
  static const MethodEntry kEntry = [] {
    std::vector<ParamSpec> parameters = sparsity_parameters(true);
    parameters.push_back(text_spec("group",
                                   "weights compared with each other: those of a matrix, or those of one output row",
                                   "matrix", {"matrix", "row"}));
    return MethodEntry{"magnitude",
                       "pruning",
                       "Removes the weights with the smallest absolute value.",
                       "Han et al., Learning both Weights and Connections for Efficient Neural Networks, NeurIPS 2015",
                       parameters,
                       [](const Params& params) { return std::make_unique<Magnitude>(params); },
                       {}};
  }();
  return kEntry;
}

}  // namespace ockham
