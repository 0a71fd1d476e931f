// wanda-difference: remove the weights that one text needs and another does not, to see what hangs on them alone. The
// score of a weight on a text is Wanda's, |w_rc| * sqrt(mean_t x_tc^2). Candidates are all weights of a matrix outside
// the `keep` highest scores on the second text (`contrast`); of these the ones with the highest scores on the first go,
// as many as `sparsity` says. That is the set difference of the paper, top q of one ranking without top p of the other
// (p = keep), for the q that removes this many. `choose: random` removes as many weights by chance, the control.
// Paper: Wei et al., "Assessing the Brittleness of Safety Alignment via Pruning and Low-Rank Modifications" (ICML
// 2024). Needs: mean squares of every input column on both texts. Not done here: scores from answers' tokens alone, as
// in the paper; both texts count as they are.
#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/core/rng.h"
#include "ockham/methods/method.h"
#include "ockham/methods/pruning/pattern.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

class WandaDifference final : public Method {
 public:
  explicit WandaDifference(const Params& params)
      : where_(params.where()),
        sparsity_(params.real("sparsity")),
        keep_(params.real("keep")),
        is_random_(params.text("choose") == "random"),
        seed_(static_cast<uint64_t>(params.integer("seed"))) {
    if (!is_random_ && sparsity_ + keep_ > 1)
      throw_input("{}: keys 'sparsity' {} and 'keep' {} are more than all weights together; lower one", where_,
                  sparsity_, keep_);
  }

  unsigned needs() const override {
    return is_random_ ? kNeedsNothing : unsigned{kNeedsMeanSquare} | unsigned{kNeedsContrast};
  }

  void compress(Linear& linear, const LayerStats& stats) const override {
    const Tensor magnitudes = weight_to_dense(linear.weight, at::kFloat).abs();
    const int64_t all = magnitudes.numel(), removed = static_cast<int64_t>(static_cast<double>(all) * sparsity_);
    Tensor scores;  // the lowest go
    if (is_random_) {
      Rng rng(mix_seed(seed_, hash_seed(linear.name)));
      scores = at::empty(magnitudes.sizes(), at::kFloat);
      float* out = scores.mutable_data_ptr<float>();
      for (int64_t i = 0; i < all; ++i) out[i] = static_cast<float>(rng.uniform());
      scores = scores.to(magnitudes.device());
    } else {
      OCKHAM_CHECK(stats.mean_square.defined() && stats.contrast_mean_square.defined());
      const Tensor other = (magnitudes * stats.contrast_mean_square.sqrt()).neg_().view({1, all});
      const Tensor kept = lowest_of_each_row(other, static_cast<int64_t>(static_cast<double>(all) * keep_));
      scores = (magnitudes * stats.mean_square.sqrt()).neg_().masked_fill_(kept.view(magnitudes.sizes()), 1.0);
    }
    prune(linear, lowest_of_each_row(scores.view({1, all}), removed).view(magnitudes.sizes()));
  }

 private:
  std::string where_;
  double sparsity_, keep_;
  bool is_random_;
  uint64_t seed_;
};

}  // namespace

const MethodEntry& wanda_difference_entry() {
  static const MethodEntry kEntry = {
      "wanda-difference",
      "pruning",
      "Removes the weights with the highest scores on one text outside those that a second text needs.",
      "Wei et al., Assessing the Brittleness of Safety Alignment via Pruning and Low-Rank Modifications, ICML 2024",
      {real_spec("sparsity", "share of the weights removed", 0.03, 0, 1),
       real_spec("keep", "share of the weights with the highest scores on the second text, which stay", 0.1, 0, 1),
       text_spec("choose", "by the two texts, or as many at random", "difference", {"difference", "random"}),
       int_spec("seed", "which random weights", 0, 0, 1000000000)},
      [](const Params& params) { return std::make_unique<WandaDifference>(params); },
      {}};
  return kEntry;
}

}  // namespace ockham
