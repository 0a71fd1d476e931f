// Parameters and the shared factor of the second-order methods.
#include "ockham/methods/second_order.h"

#include <fmt/format.h>

#include "ockham/core/error.h"

namespace ockham {

std::vector<ParamSpec> second_order_parameters() {
  return {{.name = "damping",
           .type = ParamSpec::Type::kReal,
           .summary = "share of the Hessian's mean diagonal that is added to its diagonal",
           .fallback = 0.01,
           .low = 0,
           .high = 1,
           .choices = {}},
          {.name = "block_size",
           .type = ParamSpec::Type::kInt,
           .summary = "columns that are walked before the columns behind them are updated",
           .fallback = int64_t{128},
           .low = 1,
           .high = 65536,
           .choices = {}}};
}

Tensor activation_order(const LayerStats& stats) {
  return at::argsort(stats.gram.diagonal(), /*stable=*/true, 0, /*descending=*/true);
}

const InverseFactor& inverse_factor(const LayerStats& stats, const Linear& linear, double damping,
                                    const Tensor& order) {
  OCKHAM_CHECK(stats.gram.defined() && stats.factors != nullptr);
  auto [it, is_new] = stats.factors->try_emplace({damping, order.defined()});
  if (is_new) {
    const Tensor gram = order.defined() ? stats.gram.index_select(0, order).index_select(1, order) : stats.gram;
    it->second = factor_inverse(gram, damping, linear.name.c_str());
    if (it->second.attempts > 1 && stats.note)
      stats.note(fmt::format("{}: the Hessian was not positive definite; damping raised from {:g} to {:g}", linear.name,
                             damping, it->second.damping));
  }
  return it->second;
}

}  // namespace ockham
