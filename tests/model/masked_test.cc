// Values under a mask against ATen's own selection.
#include "ockham/tensor/masked.h"

#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

TEST(Masked, KeepsAndSpreadsAsAtenDoes) {
  const at::NoGradGuard no_grad;
  at::manual_seed(1);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf, at::kByte, at::kDouble}) {
    for (const auto& [rows, columns, share] :
         {std::tuple<int64_t, int64_t, double>{1, 1, 1.0}, {3, 7, 0.5}, {200, 65, 0.3}, {64, 64, 0.0}, {5, 9, 1.0}}) {
      const Tensor values = at::randint(1, 100, {rows, columns}).to(type);
      const Tensor mask = at::rand({rows, columns}) < share;
      const Tensor kept = keep_masked(values, mask);
      EXPECT_TRUE(at::equal(kept, values.masked_select(mask))) << type << rows;
      EXPECT_TRUE(at::equal(spread_masked(kept, mask), values.masked_fill(mask.logical_not(), 0))) << type << rows;
      // Columns before rows in memory.
      const Tensor turned = values.t(), turned_mask = mask.t();
      EXPECT_TRUE(at::equal(keep_masked(turned, turned_mask), turned.masked_select(turned_mask))) << type << rows;
    }
  }
}

TEST(Masked, GradientsReachTheKeptValues) {
  const Tensor mask = at::tensor({1, 0, 0, 1}).to(at::kBool).view({2, 2});
  Tensor kept = at::tensor({2.0f, 3.0f}).requires_grad_(true);
  spread_masked(kept, mask).square().sum().backward();
  EXPECT_TRUE(at::equal(kept.grad(), at::tensor({4.0f, 6.0f})));
}

}  // namespace
}  // namespace ockham
