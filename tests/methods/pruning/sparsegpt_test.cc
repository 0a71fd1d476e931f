// sparsegpt against the worked examples, the exact identity behind its loss, and its bounds.
#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "ockham/methods/second_order.h"
#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

const std::string kTwoOfFour = "2:4";

std::map<std::string, ParamValue> half(int64_t block) {
  return {{"sparsity", 0.5}, {"block_size", block}, {"keep_better", false}};
}

TEST(SparseGpt, WorkedExampleTwoOfFour) {
  const Tensor before = test::example_weights(), inputs = test::set_b();
  const Tensor after = test::run_method("sparsegpt", {{"pattern", kTwoOfFour}, {"block_size", int64_t{8}}}, before,
                                        test::stats_of(inputs));
  const Tensor expected = at::tensor({-.2635, 0., 0.,     .2751, -.4752, 0.,    .2912, 0.,    -.4835, 0.,    -.2787,
                                      0.,     0., .3906,  0.,    .4580,  .3609, 0.,    .2189, 0.,     0.,    -.5283,
                                      -.6435, 0., -.3702, .2072, 0.,     0.,    0.,    0.,    .4067,  -.2479},
                                     at::kFloat)
                              .view({4, 8});
  EXPECT_TRUE(at::allclose(after, expected, 0, 6e-5)) << after;
  EXPECT_NEAR(test::output_error(after, before, inputs), .57184, 5e-5);
}

TEST(SparseGpt, WorkedExamplesUnstructured) {
  const Tensor before = test::example_weights();
  const auto error = [&](const Tensor& inputs, int64_t block) {
    const Tensor after = test::run_method("sparsegpt", half(block), before, test::stats_of(inputs));
    return test::output_error(after, before, inputs);
  };
  EXPECT_NEAR(error(test::set_a(), 4), 31.0578, 5e-3);
  EXPECT_NEAR(error(test::set_a(), 8), 6.6882, 5e-4);
  EXPECT_NEAR(error(test::set_b(), 4), .51751, 5e-5);
  EXPECT_NEAR(error(test::set_b(), 8), .56245, 5e-5);
  const Tensor four = test::run_method("sparsegpt", half(4), before, test::stats_of(test::set_a()));
  EXPECT_EQ((four == 0).sum().item<int64_t>(), 18) << "one weight more per block than asked for";
}

TEST(SparseGpt, LossIsTheDampedQuadraticForm) {
  const Tensor inputs = test::set_a(), before = test::example_weights();
  const LayerStats stats = test::stats_of(inputs);
  const Linear linear = test::make_linear(before);
  const HessianFactor& factor = hessian_factor(stats, linear, 0.01);
  Tensor changes = before.clone();
  const double loss = walk_columns(
      changes, factor.root, 4, [](int64_t, int64_t, const Tensor&) {}, test::every_other_goes);
  Tensor damped = stats.gram.clone();
  damped.diagonal().add_(0.01 * stats.gram.diagonal().mean().item<double>());
  EXPECT_NEAR(loss / quadratic_error(changes, damped), 1, 1e-4);
}

TEST(SparseGpt, BlockSizeDoesNotChangeTheResultOfAMask) {
  const LayerStats stats = test::stats_of(test::set_b());
  const Linear linear = test::make_linear(test::example_weights());
  const HessianFactor& factor = hessian_factor(stats, linear, 0.01);
  const auto walk = [&](int64_t block) {
    Tensor changes = test::example_weights().clone();
    walk_columns(
        changes, factor.root, block, [](int64_t, int64_t, const Tensor&) {},
        [](const WalkStep& step) {
          for (int64_t lane = 0; lane < step.rows; ++lane)
            step.kept[lane] = ((step.row + lane) * 3 + step.column) % 4 < 2 ? 0.0F : step.values[lane];
        });
    return changes;
  };
  EXPECT_TRUE(at::allclose(walk(8), walk(1), 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(walk(8), walk(3), 1e-5, 1e-6));
}

TEST(SparseGpt, UncorrelatedInputsLeaveTheOtherWeightsAlone) {
  LayerStats stats = test::stats_of(test::set_a());
  stats.gram = at::diag(stats.gram.diagonal());
  const Tensor before = test::example_weights();
  const Tensor after = test::run_method("sparsegpt", half(8), before, stats);
  EXPECT_TRUE(at::equal(after, before.masked_fill(after == 0, 0)));
}

TEST(SparseGpt, KeepsZerosOfEarlierStepsAndCountsThem) {
  Tensor before = test::example_weights();
  before.select(1, 2).zero_();
  const Tensor after = test::run_method("sparsegpt", half(8), before, test::stats_of(test::set_b()));
  EXPECT_TRUE((after.select(1, 2) == 0).all().item<bool>());
  EXPECT_EQ((after == 0).sum().item<int64_t>(), 17);
  const Tensor groups = test::run_method("sparsegpt", {{"pattern", kTwoOfFour}}, before, test::stats_of(test::set_b()));
  EXPECT_TRUE((groups.select(1, 2) == 0).all().item<bool>());
  EXPECT_EQ((groups == 0).sum().item<int64_t>(), 16);
}

TEST(SparseGpt, DeadInputsLoseTheirWeights) {
  Tensor inputs = test::set_b();
  inputs[5].zero_();
  const Tensor after = test::run_method("sparsegpt", half(8), test::example_weights(), test::stats_of(inputs));
  EXPECT_TRUE((after.select(1, 5) == 0).all().item<bool>());
}

TEST(SparseGpt, KeepsTheBetterWeightsAndSaysSo) {
  // Whatever the data, the fallback is never worse than the mask alone.
  int64_t said = 0;
  for (uint32_t seed = 10; seed < 40; ++seed) {
    const Tensor before = test::lcg(seed, 4, 8).to(at::kFloat);
    const Tensor inputs = test::lcg(seed + 100, 8, 8).matmul(test::lcg(seed + 200, 8, 12));
    LayerStats stats = test::stats_of(inputs);
    bool is_noted = false;
    stats.note = [&](const std::string& text) { is_noted = text.find("up_proj") != std::string::npos; };
    const Tensor after = test::run_method("sparsegpt", {{"sparsity", 0.75}, {"block_size", int64_t{8}}}, before, stats);
    const Tensor masked = before.masked_fill(after == 0, 0);
    const double mask_only = test::output_error(masked, before, inputs);
    EXPECT_LE(test::output_error(after, before, inputs), mask_only * (1 + 1e-4));
    EXPECT_EQ(is_noted, at::equal(after, masked));
    said += is_noted;
  }
  EXPECT_GT(said, 0) << "no example needed the fallback; choose harder ones";
}

TEST(SparseGpt, FactorOfAWorkedExample) {
  const Tensor gram = at::tensor({2., 1., 1., 2.}, at::kFloat).view({2, 2});
  const HessianFactor factor = factor_hessian(gram, 0, "test");
  EXPECT_TRUE(
      at::allclose(inverse_root(factor), at::tensor({.8165, -.4082, 0., .7071}, at::kFloat).view({2, 2}), 0, 1e-4));
}

TEST(SparseGpt, RaisesDampingWhereTheHessianIsSingular) {
  const Tensor direction = at::arange(1, 9, at::kFloat).unsqueeze(1);
  LayerStats stats = test::stats_of(direction.matmul(at::ones({1, 16})).to(at::kDouble));
  std::string note;
  stats.note = [&](const std::string& text) { note = text; };
  const Tensor after = test::run_method("sparsegpt", {{"sparsity", 0.5}, {"damping", 0.0}, {"block_size", int64_t{8}}},
                                        test::example_weights(), stats);
  EXPECT_TRUE(after.isfinite().all().item<bool>());
  EXPECT_NE(note.find("damping raised"), std::string::npos) << note;
}

TEST(SparseGpt, RefusesABlockSizeThatSplitsGroups) {
  EXPECT_THROW(test::run_method("sparsegpt", {{"pattern", kTwoOfFour}, {"block_size", int64_t{6}}},
                                test::example_weights(), test::stats_of(test::set_a())),
               Error);
}

}  // namespace
}  // namespace ockham
