// svd: truncation errors are the tail of the singular values; the error of an earlier step is corrected beside it.
#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

Linear svd(const Tensor& weights, const std::map<std::string, ParamValue>& given, const LayerStats& stats = {}) {
  const MethodEntry& entry = find_method("svd", "test");
  Linear linear = test::make_linear(weights);
  entry.make(Params("test", entry.parameters, given))->compress(linear, stats);
  return linear;
}

// The 3-bit weights of the worked example, corrected beside them.
TEST(Svd, WorkedErrorsOfACorrectionByRank) {
  const Tensor weights = test::example_weights(), inputs = test::set_a();
  const Tensor rounded = test::run_method("rtn", {{"bits", int64_t{3}}}, weights);
  LayerStats stats;
  stats.original = weights;
  const double expected[] = {.99562, .38034, .14921, 0};
  for (int64_t rank = 1; rank <= 4; ++rank) {
    const Linear linear = svd(rounded, {{"of", std::string("error")}, {"rank", rank}}, stats);
    EXPECT_NEAR(test::output_error(weight_to_dense(linear.weight, at::kFloat), weights, inputs), expected[rank - 1],
                2e-5);
  }
}

TEST(Svd, ErrorIsTheTailOfTheSingularValues) {
  const Tensor weights = test::lcg(3, 16, 24).to(at::kFloat), values = at::linalg_svdvals(weights.to(at::kDouble));
  for (const int64_t rank : {1, 5, 15}) {
    const Linear linear = svd(weights, {{"rank", rank}});
    const double error = (weight_to_dense(linear.weight, at::kFloat) - weights).square().sum().item<double>();
    EXPECT_NEAR(error, values.narrow(0, rank, 16 - rank).square().sum().item<double>(), 1e-4);
    EXPECT_EQ(weight_bytes(linear.weight), rank * (16 + 24) * 4);
  }
  EXPECT_TRUE(
      at::allclose(weight_to_dense(svd(weights, {{"rank", int64_t{16}}}).weight, at::kFloat), weights, 0, 1e-5));
}

TEST(Svd, RatioCountsStoredNumbers) {
  const Linear linear = svd(test::lcg(3, 16, 24).to(at::kFloat), {{"ratio", 0.5}});
  EXPECT_EQ(std::get<LowRankWeight>(linear.weight).left.size(1), 4);  // 4 (16 + 24) of 384 / 2
  EXPECT_EQ(std::get<LowRankWeight>(svd(test::example_weights(), {{"ratio", 0.0}}).weight).left.size(1), 1);
}

TEST(Svd, ProductsGoThroughTheFactors) {
  const Tensor weights = test::lcg(3, 16, 24).to(at::kFloat), input = test::lcg(4, 5, 24).to(at::kFloat);
  const Linear linear = svd(weights, {{"rank", int64_t{3}}});
  EXPECT_TRUE(
      at::allclose(linear.forward(input), input.matmul(weight_to_dense(linear.weight, at::kFloat).t()), 1e-4, 1e-5));
}

TEST(Svd, TwiceIsRefused) {
  Linear linear = svd(test::example_weights(), {{"rank", int64_t{1}}});
  const MethodEntry& entry = find_method("svd", "test");
  EXPECT_THROW(entry.make(Params("test", entry.parameters, {}))->compress(linear, {}), Error);
}

}  // namespace
}  // namespace ockham
