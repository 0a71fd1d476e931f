// dsnot: exchange pruned and kept weights of a row until the expected change of its output is near zero.
// Paper: Zhang et al., "Dynamic Sparse No Training: Training-Free Fine-tuning for Sparse LLMs" (ICLR 2024).
// Works on the zeros that an earlier step left; a weight that comes back gets the value it had before the recipe.
// Needs: mean and variance of the inputs (contribution of a weight D_rc = w_rc * tokens * E[x_c], so that the threshold
// keeps the reference's unit), their mean square (Wanda's score says which weight may go). No weight is changed
// otherwise. Unlike the reference, a row stops when no candidate of the wanted sign is left, and the mask that comes in
// is any.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/methods/method.h"
#include "ockham/methods/pruning/pattern.h"
#include "ockham/tensor/ops.h"
#include "ockham/tensor/parallel.h"

namespace ockham {
namespace {

// What one row is decided from; all of length C.
struct Row {
  const float *contribution, *regrow, *score;  // D, D / variance^power, |w| * norm
  bool* pruned;
  int64_t columns;
};

// Candidates for coming back, from the largest to the smallest D / variance, and for going, by rising score and apart
// by sign. Only weights that were pruned at the start may come back, only those that were kept may go.
class Exchange {
 public:
  explicit Exchange(const Row& row) : row_(row) {
    for (int64_t c = 0; c < row.columns; ++c) {
      change_ += row.pruned[c] ? row.contribution[c] : 0.0;
      if (row.pruned[c])
        back_.push_back(c);
      else if (row.contribution[c] != 0)
        go_[row.contribution[c] > 0].push_back(c);
    }
    std::stable_sort(back_.begin(), back_.end(), [&](int64_t a, int64_t b) { return row_.regrow[a] > row_.regrow[b]; });
    for (auto& list : go_)
      std::stable_sort(list.begin(), list.end(), [&](int64_t a, int64_t b) { return row_.score[a] < row_.score[b]; });
    bottom_ = back_.size();
  }

  double change() const { return change_; }

  // One exchange; false where none is possible. `same_sign` refuses to overshoot. N:M (group > 0): the kept weight of
  // the same group with the lowest score goes.
  bool step(bool same_sign, int64_t group) {
    const bool is_positive = change_ > 0;
    if (top_ >= bottom_) return false;
    const int64_t grown = is_positive ? back_[top_] : back_[bottom_ - 1];
    if ((row_.contribution[grown] > 0) != is_positive || row_.contribution[grown] == 0) return false;
    const int64_t gone = group > 0 ? lowest_of_group(grown / group * group, group, grown) : next_of_sign(!is_positive);
    if (gone < 0) return false;
    const double after = change_ + row_.contribution[gone] - row_.contribution[grown];
    if (same_sign && (after > 0) != is_positive) return false;
    is_positive ? ++top_ : --bottom_;
    if (group == 0) ++next_[!is_positive];
    row_.pruned[grown] = false;
    row_.pruned[gone] = true;
    change_ = after;
    return true;
  }

 private:
  int64_t next_of_sign(bool is_positive) const {
    const auto& list = go_[is_positive];
    return next_[is_positive] < list.size() ? list[next_[is_positive]] : -1;
  }
  int64_t lowest_of_group(int64_t begin, int64_t group, int64_t grown) const {
    int64_t best = -1;
    for (int64_t c = begin; c < begin + group; ++c)
      if (c != grown && !row_.pruned[c] && (best < 0 || row_.score[c] < row_.score[best])) best = c;
    return best;
  }

  const Row& row_;
  double change_ = 0;
  std::vector<int64_t> back_, go_[2];  // go_[1]: positive contributions
  size_t top_ = 0, bottom_ = 0, next_[2] = {0, 0};
};

class Dsnot final : public Method {
 public:
  explicit Dsnot(const Params& params)
      : pattern_(read_sparsity(params)),
        cycles_(params.integer("cycles")),
        threshold_(params.real("threshold")),
        power_(params.real("variance_power")),
        same_sign_(params.flag("same_sign")) {}

  unsigned needs() const override { return kNeedsMean | kNeedsMeanSquare; }

  void compress(Linear& linear, const LayerStats& stats) const override {
    OCKHAM_CHECK(stats.mean.defined() && stats.original.defined());
    if (!std::holds_alternative<DenseWeight>(linear.weight) && !std::holds_alternative<SparseWeight>(linear.weight))
      throw_input("{}: the weight is quantized already, expected dsnot right after pruning; reorder the steps",
                  linear.name);
    const Tensor current = weight_to_dense(linear.weight, at::kFloat);
    Tensor pruned = (current == 0).contiguous();
    // Values where weights would come back; kept weights keep what an earlier step made of them.
    const Tensor values = at::where(pruned, stats.original, current);
    const Tensor contribution = (values * (stats.mean * stats.tokens_per_sample)).contiguous();
    const Tensor regrow = (contribution / stats.variance.clamp_min(1e-12F).pow(power_)).contiguous();
    const Tensor score = (values.abs() * stats.mean_square.sqrt()).contiguous();
    exchange(contribution, regrow, score, pruned);
    const Tensor after = values.masked_fill(pruned, 0);
    linear.weight = DenseWeight{after.to(weight_type(linear.weight))};
  }

 private:
  void exchange(const Tensor& contribution, const Tensor& regrow, const Tensor& score, Tensor& pruned) const {
    const int64_t columns = pruned.size(1);
    const float *d = contribution.const_data_ptr<float>(), *g = regrow.const_data_ptr<float>(),
                *s = score.const_data_ptr<float>();
    bool* mask = pruned.mutable_data_ptr<bool>();
    parallel_rows(0, pruned.size(0), 1, [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) {
        const int64_t at = r * columns;
        const Row row{d + at, g + at, s + at, mask + at, columns};
        Exchange walk(row);
        for (int64_t cycle = 0; cycle < cycles_ && std::abs(walk.change()) > threshold_; ++cycle)
          if (!walk.step(same_sign_, pattern_.group)) break;
      }
    });
  }

  SparsityPattern pattern_;
  int64_t cycles_;
  double threshold_, power_;
  bool same_sign_;
};

}  // namespace

const MethodEntry& dsnot_entry() {
  static const MethodEntry kEntry = {
      "dsnot",
      "recovery",
      "Exchanges pruned and kept weights until the expected output of every row is that of the dense row.",
      "Zhang et al., Dynamic Sparse No Training: Training-Free Fine-tuning for Sparse LLMs, ICLR 2024",
      {text_spec("pattern", "that of the mask: unstructured, or N:M", "unstructured"),
       real_spec("sparsity", "that of the mask; only compared with the pattern", 0.5, 0, 1),
       int_spec("cycles", "exchanges per row at most", 50, 1, 1000000),
       real_spec("threshold", "a row is done when its output changes by no more than this, summed over a sequence", 0.1,
                 0, 1e9),
       real_spec("variance_power",
                 "power of the input's variance that divides the contribution of a weight that may come back", 1.0, 0,
                 4),
       flag_spec("same_sign", "never let the change of a row's output pass zero", false)},
      [](const Params& params) { return std::make_unique<Dsnot>(params); },
      {}};
  return kEntry;
}

}  // namespace ockham
