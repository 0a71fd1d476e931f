// Products without the zeros against ATen's, at every edge of the blocks.
#include "ockham/tensor/sparse_panels.h"

#include <ATen/core/grad_mode.h>

#include <limits>

#include "ockham/tensor/simd.h"
#include "tests/model/prepared_fixture.h"

namespace ockham {
namespace {

Tensor random_sparse(int64_t rows, int64_t columns, double sparsity) {
  return at::randn({rows, columns}) * (at::rand({rows, columns}) >= sparsity);
}

TEST(SparsePanels, AgreesWithAten) {
  const at::NoGradGuard no_grad;
  at::manual_seed(3);
  for (const double sparsity : {0.0, 0.5, 0.95, 1.0}) {
    for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{
             {1, 1}, {7, 95}, {8, 96}, {9, 97}, {127, 192}, {128, 200}, {129, 64}, {300, 391}}) {
      const Tensor weight = random_sparse(rows, columns, sparsity);
      const SparsePanelMatrix panels = make_sparse_panels(weight);
      EXPECT_EQ(panels.values.numel(), weight.count_nonzero().item<int64_t>());
      test::expect_products_of(panels, weight, {1, 8, 63, 64, 65, 255, 256, 257, 700});
    }
  }
}

// What stands beside an input that is not finite keeps its own product, and a weight of zero does not spread it.
TEST(SparsePanels, AnInputThatIsNotFiniteStaysAlone) {
  const at::NoGradGuard no_grad;
  const Tensor weight = random_sparse(40, 120, 0.6);
  const SparsePanelMatrix panels = make_sparse_panels(weight);
  Tensor x = at::randn({70, 120});
  const Tensor expected = panels.product(x, {});
  x[5].fill_(std::numeric_limits<float>::infinity());
  const Tensor found = panels.product(x, {});
  EXPECT_TRUE(at::equal(found.narrow(0, 0, 5), expected.narrow(0, 0, 5)));
  EXPECT_TRUE(at::equal(found.narrow(0, 6, 64), expected.narrow(0, 6, 64)));
}

TEST(SparsePanels, TheSameWithAnyInputsBeside) {
  const at::NoGradGuard no_grad;
  const SparsePanelMatrix panels = make_sparse_panels(random_sparse(200, 300, 0.5));
  const Tensor x = at::randn({600, 300});
  const Tensor whole = panels.product(x, {});
  EXPECT_TRUE(at::equal(panels.product(x.narrow(0, 37, 100), {}), whole.narrow(0, 37, 100)));
}

TEST(SparsePanels, SuitMatricesWithManyZeros) {
  EXPECT_FALSE(suits_sparse_panels(at::ones({64, 64})));
  EXPECT_FALSE(suits_sparse_panels(at::zeros({64, 64}, at::kBFloat16)));
  EXPECT_FALSE(suits_sparse_panels(at::empty({0, 64})));
  EXPECT_EQ(suits_sparse_panels(random_sparse(64, 64, 0.5)), best_simd() == Simd::kAvx2);
}

}  // namespace
}  // namespace ockham
