// What holds for every layout of a matrix: its products are ATen's.
#pragma once

#include <cmath>
#include <initializer_list>

#include "ockham/tensor/prepared.h"
#include "tests/model/model_fixture.h"

namespace ockham::test {

// `prepared` of W [R, C] float32, with `counts` of inputs.
inline void expect_products_of(const PreparedMatrix& prepared, const Tensor& weight,
                               std::initializer_list<int64_t> counts) {
  const int64_t rows = weight.size(0), columns = weight.size(1);
  const Tensor bias = at::randn({rows});
  for (const int64_t count : counts) {
    const Tensor x = at::randn({count, columns});
    const Tensor expected = at::linear(x.to(at::kDouble), weight.to(at::kDouble)).to(at::kFloat);
    const double limit = 1e-5 * std::sqrt(static_cast<double>(columns)) * 4;
    EXPECT_LT((prepared.product(x, {}) - expected).abs().max().item<double>(), limit) << rows << " " << count;
    EXPECT_LT((prepared.product(x, bias) - expected - bias).abs().max().item<double>(), limit);
  }
  const Tensor turned = at::randn({columns, 12}).t().view({3, 4, columns});  // not contiguous
  EXPECT_LT((prepared.product(turned, {}) - at::linear(turned, weight)).abs().max().item<double>(), 1e-3);
  EXPECT_EQ(prepared.product(at::empty({0, columns}), {}).sizes(), (std::vector<int64_t>{0, rows}));
}

}  // namespace ockham::test
