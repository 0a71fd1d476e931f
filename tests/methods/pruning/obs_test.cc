// obs: the worked example, its predicted loss, and its place among the other pruners.
#include <gtest/gtest.h>

#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

std::map<std::string, ParamValue> half() {
  return {{"sparsity", 0.5}, {"damping", 0.0}};
}

LayerStats with_gram(const Tensor& gram) {
  LayerStats stats;
  stats.gram = gram;
  stats.factors = std::make_shared<std::map<std::pair<double, bool>, HessianFactor>>();
  return stats;
}

TEST(Obs, WorkedExample) {
  const LayerStats stats = with_gram(at::tensor({2.F, 1.8F, 1.8F, 2.F}).view({2, 2}));
  const Tensor before = at::tensor({1.F, -.9F}).view({1, 2});
  const Tensor after = test::run_method("obs", half(), before, stats);
  EXPECT_TRUE(at::allclose(after, at::tensor({.19F, 0.F}).view({1, 2}), 0, 1e-4)) << after;
  // The saliency w^2 / (2 [H^-1]_qq) = 0.1539 is the loss itself, 1/2 dw H dw.
  EXPECT_NEAR(0.5 * quadratic_error(after - before, stats.gram), .1539, 1e-4);
}

TEST(Obs, IsTheLeastSquaresOptimumOfItsMask) {
  const Tensor before = test::example_weights(), inputs = test::set_b();
  const Tensor after = test::run_method("obs", half(), before, test::stats_of(inputs));
  const Tensor gram = inputs.matmul(inputs.t());
  for (int64_t row = 0; row < 4; ++row) {
    const Tensor kept = (after[row] != 0).nonzero().flatten();
    const Tensor target = before[row].to(at::kDouble).matmul(gram).index_select(0, kept);
    const Tensor small = gram.index_select(0, kept).index_select(1, kept);
    const Tensor best = at::linalg_solve(small, target);
    EXPECT_TRUE(at::allclose(after[row].index_select(0, kept).to(at::kDouble), best, 1e-3, 1e-4)) << row;
  }
}

TEST(Obs, BeatsSparseGptAndWandaOnTheExamples) {
  const Tensor before = test::example_weights();
  for (const Tensor& inputs : {test::set_a(), test::set_b()}) {
    const LayerStats stats = test::stats_of(inputs);
    const double obs = test::output_error(test::run_method("obs", half(), before, stats), before, inputs);
    EXPECT_LT(obs,
              test::output_error(test::run_method("sparsegpt", {{"sparsity", 0.5}}, before, stats), before, inputs));
    EXPECT_LT(obs, test::output_error(test::run_method("wanda", {{"sparsity", 0.5}}, before, stats), before, inputs));
  }
}

TEST(Obs, CountsAreExactPerRowAndPerGroup) {
  Tensor before = test::example_weights();
  before[1][3] = 0;
  const LayerStats stats = test::stats_of(test::set_b());
  const Tensor rows = test::run_method("obs", {{"sparsity", 0.25}}, before, stats);
  EXPECT_TRUE(((rows == 0).sum(1) == 2).all().item<bool>());
  EXPECT_EQ(rows[1][3].item<float>(), 0);
  const std::string pattern = "2:4";
  const Tensor groups = test::run_method("obs", {{"pattern", pattern}}, before, stats);
  EXPECT_TRUE(((groups.view({-1, 4}) == 0).sum(1) == 2).all().item<bool>());
}

}  // namespace
}  // namespace ockham
