// wanda against the worked examples and the properties that its score implies.
#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

const std::map<std::string, ParamValue> kHalf = {{"sparsity", 0.5}};

TEST(Wanda, WorkedExampleUnstructured) {
  const Tensor before = test::example_weights(), inputs = test::set_a();
  const Tensor after = test::run_method("wanda", kHalf, before, test::stats_of(inputs));
  EXPECT_EQ(test::mask_text(after), "11100001 11011000 11110000 11110000");
  EXPECT_NEAR(test::output_error(after, before, inputs), 6.26688, 5e-5);
}

TEST(Wanda, WorkedExampleTwoOfFour) {
  const Tensor before = test::example_weights(), inputs = test::set_a();
  const Tensor after = test::run_method("wanda", {{"pattern", std::string("2:4")}}, before, test::stats_of(inputs));
  EXPECT_EQ(test::mask_text(after), "10100101 01011010 10011001 10101100");
  EXPECT_NEAR(test::output_error(after, before, inputs), 29.1732, 5e-4);
}

TEST(Wanda, ScalingAnInputAgainstItsWeightsKeepsTheMask) {
  const Tensor inputs = test::set_a();
  Tensor scaled_inputs = inputs.clone(), scaled_weights = test::example_weights();
  scaled_inputs[3].mul_(4);
  scaled_weights.select(1, 3).div_(4);
  EXPECT_EQ(test::mask_text(test::run_method("wanda", kHalf, scaled_weights, test::stats_of(scaled_inputs))),
            test::mask_text(test::run_method("wanda", kHalf, test::example_weights(), test::stats_of(inputs))));
}

TEST(Wanda, EqualNormsGiveMagnitudePerRow) {
  LayerStats stats;
  stats.tokens = 5;
  stats.mean_square = at::full({8}, 2.25f);
  const Tensor weights = test::example_weights();
  EXPECT_TRUE(at::equal(test::run_method("wanda", kHalf, weights, stats),
                        test::run_method("magnitude", {{"sparsity", 0.5}, {"group", std::string("row")}}, weights)));
}

TEST(Wanda, VariantOfTheWorkedExample) {
  const Tensor before = test::example_weights();
  const LayerStats stats = test::stats_of(test::set_a());
  const Tensor after = test::run_method("wanda", {{"sparsity", 0.5}, {"variant", true}}, before, stats);
  EXPECT_NEAR((after == 0).to(at::kDouble).mean().item<double>(), 0.5, 1e-12);
  // One bisection: alpha 0.2; no row lost more than a fifth of its total, and each could not lose one weight more.
  const Tensor scores = before.abs() * stats.mean_square.sqrt();
  const Tensor lost = (scores * (after == 0)).sum(1), totals = scores.sum(1);
  EXPECT_TRUE((lost <= 0.2 * totals + 1e-6).all().item<bool>());
  const Tensor next = scores.masked_fill(after == 0, 1e9).amin(1);
  EXPECT_TRUE((lost + next > 0.2 * totals).all().item<bool>());
}

TEST(Wanda, VariantKeepsRowsWhoseLowestScoreIsTooLarge) {
  LayerStats stats;
  stats.mean_square = at::ones({4});
  // At a sparsity of 1/8 one row gives one weight, the even one would have to give a quarter of its total.
  const Tensor weights = at::tensor({1.F, 1.F, 1.F, 1.F, .01F, 5.F, 5.F, 5.F}).view({2, 4});
  EXPECT_EQ(test::mask_text(test::run_method("wanda", {{"sparsity", 0.125}, {"variant", true}}, weights, stats)),
            "0000 1000");
}

TEST(Wanda, TiesGoFromTheLeft) {
  LayerStats stats;
  stats.mean_square = at::zeros({8});
  const Tensor weights = at::ones({2, 8});
  EXPECT_EQ(test::mask_text(test::run_method("wanda", {{"sparsity", 0.4}}, weights, stats)), "11100000 11100000");
}

}  // namespace
}  // namespace ockham
