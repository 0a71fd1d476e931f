// obs: remove weights one after the other, each time the one whose loss after the best change of all others is
// smallest. Paper: Hassibi & Stork, "Second Order Derivatives for Network Pruning: Optimal Brain Surgeon" (NeurIPS
// 1992), in the layer-wise form of Frantar & Alistarh, "Optimal Brain Compression" (NeurIPS 2022): rows are
// independent, H is the Gram matrix of the inputs. Saliency w_q^2 / (2 [H^-1]_qq); change -w_q / [H^-1]_qq *
// H^-1_{:,q}; then q leaves H^-1 by one step of elimination. Needs: the Gram matrix. Cost: a row costs (removed
// weights) * C^2, so a layer of width 2048 takes minutes; sparsegpt approximates this for large layers. Every row loses
// the same number of weights.

#include <limits>
#include <utility>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/methods/pruning/pattern.h"
#include "ockham/methods/second_order.h"
#include "ockham/tensor/ops.h"
#include "ockham/tensor/parallel.h"

namespace ockham {
namespace {

// One row and its own copy of the inverse Hessian [C, C], in float64: thousands of eliminations follow each other.
class RowSurgeon {
 public:
  RowSurgeon(const double* inverse, int64_t columns)
      : columns_(columns), inverse_(inverse, inverse + columns * columns), is_gone_(static_cast<size_t>(columns)) {}

  // The weight that costs least among [begin, end) and twice its saliency; -1 where none is left.
  std::pair<int64_t, double> cheapest(const double* weights, int64_t begin, int64_t end) const {
    int64_t best = -1;
    double least = std::numeric_limits<double>::infinity();
    for (int64_t c = begin; c < end; ++c) {
      if (is_gone_[static_cast<size_t>(c)]) continue;
      const double saliency = weights[c] * weights[c] / at(c, c);
      if (saliency >= least) continue;
      least = saliency;
      best = c;
    }
    return {best, least};
  }

  void remove(double* weights, int64_t q) {
    const double pivot = at(q, q), ratio = weights[q] / pivot;
    const std::vector<double> column = row(q);
    for (int64_t c = 0; c < columns_; ++c)
      if (!is_gone_[static_cast<size_t>(c)]) weights[c] -= ratio * column[static_cast<size_t>(c)];
    weights[q] = 0;
    is_gone_[static_cast<size_t>(q)] = true;
    for (int64_t r = 0; r < columns_; ++r) {
      const double factor = column[static_cast<size_t>(r)] / pivot;
      if (factor == 0) continue;
      double* values = inverse_.data() + r * columns_;
      for (int64_t c = 0; c < columns_; ++c) values[c] -= factor * column[static_cast<size_t>(c)];
    }
  }

 private:
  double at(int64_t r, int64_t c) const { return inverse_[static_cast<size_t>(r * columns_ + c)]; }
  // H^-1 is symmetric: a row is a column.
  std::vector<double> row(int64_t r) const {
    return {inverse_.begin() + r * columns_, inverse_.begin() + (r + 1) * columns_};
  }
  int64_t columns_;
  std::vector<double> inverse_;
  std::vector<bool> is_gone_;
};

class Obs final : public Method {
 public:
  explicit Obs(const Params& params)
      : where_(params.where()), pattern_(read_sparsity(params)), damping_(params.real("damping")) {}

  unsigned needs() const override { return kNeedsGram; }

  void check(const std::string& linear, int64_t, int64_t columns) const override {
    check_pattern(pattern_, where_, linear, columns);
  }

  void compress(Linear& linear, const LayerStats& stats) const override {
    const HessianFactor& factor = hessian_factor(stats, linear, damping_);
    const Tensor upper = inverse_root(factor).to(at::kDouble);
    const Tensor inverse = upper.t().matmul(upper).contiguous();
    const Tensor dense = weight_to_dense(linear.weight, at::kFloat);
    Tensor weights = dense.masked_fill(factor.is_dead.unsqueeze(0), 0).to(at::kDouble).contiguous();
    const int64_t rows = weights.size(0), columns = weights.size(1);
    const double* h = inverse.const_data_ptr<double>();
    double* w = weights.mutable_data_ptr<double>();
    parallel_rows(0, rows, 1, [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) prune_row(w + row * columns, columns, h);
    });
    const auto* given = std::get_if<DenseWeight>(&linear.weight);
    linear.weight = DenseWeight{weights.to(given != nullptr ? given->values.scalar_type() : at::kFloat)};
  }

 private:
  void prune_row(double* weights, int64_t columns, const double* inverse) const {
    RowSurgeon surgeon(inverse, columns);
    const int64_t group = pattern_.group > 0 ? pattern_.group : columns;
    const auto per_group =
        pattern_.group > 0 ? pattern_.zeros : static_cast<int64_t>(static_cast<double>(columns) * pattern_.sparsity);
    std::vector<int64_t> missing(static_cast<size_t>(columns / group), per_group);
    // Zeros of earlier steps go first and cost nothing.
    for (int64_t c = 0; c < columns; ++c) {
      if (weights[c] != 0) continue;
      surgeon.remove(weights, c);
      --missing[static_cast<size_t>(c / group)];
    }
    for (;;) {
      int64_t best = -1;
      double least = std::numeric_limits<double>::infinity();
      for (size_t g = 0; g < missing.size(); ++g) {
        if (missing[g] <= 0) continue;
        const auto begin = static_cast<int64_t>(g) * group;
        const auto [candidate, cost] = surgeon.cheapest(weights, begin, begin + group);
        if (candidate < 0 || cost >= least) continue;
        best = candidate;
        least = cost;
      }
      if (best < 0) return;
      surgeon.remove(weights, best);
      --missing[static_cast<size_t>(best / group)];
    }
  }

  std::string where_;
  SparsityPattern pattern_;
  double damping_;
};

}  // namespace

const MethodEntry& obs_entry() {
  static const MethodEntry kEntry = [] {
    std::vector<ParamSpec> parameters = sparsity_parameters();
    parameters.push_back(second_order_parameters().front());
    return MethodEntry{"obs",
                       "pruning",
                       "Removes weights one by one, each time re-optimising all the others of the row.",
                       "Hassibi & Stork, Optimal Brain Surgeon, NeurIPS 1992; layer-wise as in Frantar & Alistarh, "
                       "Optimal Brain Compression, NeurIPS 2022",
                       parameters,
                       [](const Params& params) { return std::make_unique<Obs>(params); },
                       {}};
  }();
  return kEntry;
}

}  // namespace ockham
