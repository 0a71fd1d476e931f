// llm-int8 against the worked examples: rounding of both sides, and outlier features in floating point.
#include <gtest/gtest.h>

#include "ockham/tensor/ops.h"
#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

Linear int8(const Tensor& weights, double threshold, bool keeps_columns, const LayerStats& stats = {}) {
  const MethodEntry& entry = find_method("llm-int8", "test");
  Linear linear = test::make_linear(weights);
  entry.make(Params("test", entry.parameters, {{"threshold", threshold}, {"keep_columns", keeps_columns}}))
      ->compress(linear, stats);
  return linear;
}

TEST(LlmInt8, WorkedExampleByHand) {
  const Tensor inputs = at::tensor({.5f, -1.f, 20.f, .25f, 1.f, .75f, -.5f, 2.f}).view({2, 4});
  const Tensor weights = at::tensor({.1f, -.2f, .05f, .4f, -.3f, .6f, .02f, .1f}).view({2, 4});
  const Linear linear = int8(weights, 6, false);
  const Tensor codes = std::get<Int8Weight>(linear.weight).codes.to(at::kInt);
  EXPECT_TRUE(at::equal(codes, at::tensor({32, -64, 16, 127, -64, 127, 4, 21}, at::kInt).view({2, 4}))) << codes;
  EXPECT_TRUE(at::allclose(linear.forward(inputs), at::tensor({1.361f, -.3494f, .724f, .3378f}).view({2, 2}), 0, 5e-4));
}

TEST(LlmInt8, WorkedErrorsWithAndWithoutDecomposition) {
  Tensor inputs = test::lcg(7, 8, 64);
  inputs.select(1, 5).mul_(80);
  const Tensor weights = test::lcg(8, 16, 64), exact = inputs.matmul(weights.t());
  const auto error = [&](double threshold) {
    const Linear linear = int8(weights.to(at::kFloat), threshold, false);
    const Tensor miss = linear.forward(inputs.to(at::kFloat)).to(at::kDouble) - exact;
    return std::pair((miss.norm() / exact.norm()).item<double>(), miss.abs().max().item<double>());
  };
  EXPECT_NEAR(error(1e30).first, .022211, 2e-6);
  EXPECT_NEAR(error(1e30).second, .3876, 1e-4);
  EXPECT_NEAR(error(6).first, .006202, 2e-6);
  EXPECT_NEAR(error(6).second, .0809, 1e-4);
}

TEST(LlmInt8, KeptColumnsAreNotRounded) {
  Tensor inputs = test::lcg(7, 8, 64);
  inputs.select(1, 5).mul_(80);
  Tensor weights = test::lcg(8, 16, 64);
  weights.select(1, 5).div_(64);  // as small as the input is large, so that rounding would hit it hardest
  const Tensor exact = inputs.matmul(weights.t());
  const LayerStats stats = test::stats_of(inputs.t());
  const auto error = [&](bool keeps) {
    const Linear linear = int8(weights.to(at::kFloat), 6, keeps, stats);
    return ((linear.forward(inputs.to(at::kFloat)).to(at::kDouble) - exact).norm() / exact.norm()).item<double>();
  };
  const Linear linear = int8(weights.to(at::kFloat), 6, true, stats);
  const auto& weight = std::get<Int8Weight>(linear.weight);
  ASSERT_EQ(weight.kept.numel(), 1);
  EXPECT_EQ(weight.kept[0].item<int64_t>(), 5);
  EXPECT_TRUE(at::equal(weight_to_dense(linear.weight, at::kFloat).select(1, 5), weights.to(at::kFloat).select(1, 5)));
  EXPECT_LT(error(true), 0.6 * error(false));
}

TEST(LlmInt8, ThresholdZeroLeavesEverythingInFloatingPoint) {
  const Tensor inputs = test::lcg(7, 8, 64).to(at::kFloat), weights = test::lcg(8, 16, 64).to(at::kFloat);
  const Linear kept = int8(weights, 0, true, test::stats_of(inputs.t().to(at::kDouble)));
  EXPECT_TRUE(at::allclose(kept.forward(inputs), inputs.matmul(weights.t()), 1e-5, 1e-6));
  const Linear rounded = int8(weights, 0, false);
  EXPECT_TRUE(at::allclose(rounded.forward(inputs), inputs.matmul(weight_to_dense(rounded.weight, at::kFloat).t()),
                           1e-5, 1e-6));
}

TEST(LlmInt8, RowsOfZerosAndZeroTokensAreHarmless) {
  Tensor weights = test::lcg(8, 4, 16).to(at::kFloat);
  weights[2].zero_();
  weights[0][3] = 0;
  const Linear linear = int8(weights, 6, false);
  Tensor inputs = test::lcg(7, 3, 16).to(at::kFloat);
  inputs[1].zero_();
  const Tensor output = linear.forward(inputs);
  EXPECT_TRUE(output.isfinite().all().item<bool>());
  EXPECT_EQ(output[1].abs().max().item<float>(), 0);
  EXPECT_EQ(output.select(1, 2).abs().max().item<float>(), 0);
  EXPECT_EQ(weight_to_dense(linear.weight, at::kFloat)[0][3].item<float>(), 0);
}

// More columns than float32 can sum products of 8-bit integers over.
TEST(LlmInt8, IntegersAreSummedExactly) {
  const Tensor inputs = at::full({1, 3001}, 1.0), weights = at::full({1, 3001}, 1.0);
  EXPECT_EQ(int8(weights, 6, false).forward(inputs).item<float>(), 3001);
}

TEST(LlmInt8, UnpackedWeightsGiveTheSameProducts) {
  const Tensor inputs = test::lcg(7, 5, 64).to(at::kFloat) * 20, weights = test::lcg(8, 16, 64).to(at::kFloat);
  const Linear linear = int8(weights, 9, true, test::stats_of(inputs.t().to(at::kDouble)));
  EXPECT_TRUE(at::equal(weight_product(weight_unpacked(linear.weight, at::kFloat), inputs), linear.forward(inputs)));
}

}  // namespace
}  // namespace ockham
