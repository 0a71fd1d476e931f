// obd: saliencies by hand, and the group of weights that compete.
#include <gtest/gtest.h>

#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

TEST(Obd, SmallestSaliencyGoes) {
  // Diagonal Hessian (2, 2) of the worked example: saliencies 1 and 0.81 for w = (1, -0.9).
  LayerStats stats;
  stats.mean_square = at::full({2}, 2.0F);
  const Tensor weights = at::tensor({1.0F, -0.9F}).view({1, 2});
  EXPECT_EQ(test::mask_text(test::run_method("obd", {{"sparsity", 0.5}}, weights, stats)), "01");
  // An input with small activations makes the larger weight the cheaper one.
  stats.mean_square = at::tensor({0.5F, 2.0F});
  EXPECT_EQ(test::mask_text(test::run_method("obd", {{"sparsity", 0.5}}, weights, stats)), "10");
}

TEST(Obd, TheWholeMatrixCompetesAndTheCountIsExact) {
  LayerStats stats;
  stats.mean_square = at::ones({4});
  const Tensor weights = at::tensor({1.F, 2.F, 3.F, 4.F, 10.F, 20.F, 30.F, 40.F}).view({2, 4});
  EXPECT_EQ(test::mask_text(test::run_method("obd", {{"sparsity", 0.5}}, weights, stats)), "1111 0000");
}

TEST(Obd, RanksARowAsWandaDoes) {
  const LayerStats stats = test::stats_of(test::set_a());
  const Tensor row = test::example_weights().narrow(0, 0, 1);
  EXPECT_EQ(test::mask_text(test::run_method("obd", {{"sparsity", 0.5}}, row, stats)),
            test::mask_text(test::run_method("wanda", {{"sparsity", 0.5}}, row, stats)));
  const std::string pattern = "2:4";
  EXPECT_TRUE(at::equal(test::run_method("obd", {{"pattern", pattern}}, test::example_weights(), stats),
                        test::run_method("wanda", {{"pattern", pattern}}, test::example_weights(), stats)));
}

}  // namespace
}  // namespace ockham
