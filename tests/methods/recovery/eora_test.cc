// eora: the worked errors, which are the optimum of its metric.
#include <gtest/gtest.h>

#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

Tensor corrected(const std::string& method, const Tensor& rounded, const Tensor& weights, const Tensor& inputs,
                 int64_t rank) {
  LayerStats stats = test::stats_of(inputs);
  stats.original = weights;
  return test::run_method(method, {{"of", std::string("error")}, {"rank", rank}}, rounded, stats);
}

TEST(Eora, WorkedErrorsByRank) {
  const Tensor weights = test::example_weights(), inputs = test::set_a();
  const Tensor rounded = test::run_method("rtn", {{"bits", int64_t{3}}}, weights);
  EXPECT_NEAR(test::output_error(rounded, weights, inputs), 3.49574, 1e-4);
  const double expected[] = {.85515, .19861, .03278, 0};
  for (int64_t rank = 1; rank <= 4; ++rank)
    EXPECT_NEAR(test::output_error(corrected("eora", rounded, weights, inputs, rank), weights, inputs),
                expected[rank - 1], 2e-5)
        << rank;
}

TEST(Eora, IsNeverWorseThanPlainDecompositionOnItsInputs) {
  const Tensor weights = test::lcg(5, 16, 24).to(at::kFloat);
  const Tensor inputs = test::lcg(4, 24, 24).matmul(test::lcg(2, 24, 200));
  const Tensor rounded = test::run_method("rtn", {{"bits", int64_t{2}}}, weights);
  for (const int64_t rank : {1, 3, 8})
    EXPECT_LT(test::output_error(corrected("eora", rounded, weights, inputs, rank), weights, inputs),
              test::output_error(corrected("svd", rounded, weights, inputs, rank), weights, inputs));
}

TEST(Eora, UncorrelatedInputsGiveSvd) {
  const Tensor weights = test::example_weights(), inputs = at::eye(8, at::kDouble).repeat({1, 4});
  const Tensor rounded = test::run_method("rtn", {{"bits", int64_t{2}}}, weights);
  EXPECT_TRUE(at::allclose(corrected("eora", rounded, weights, inputs, 2),
                           corrected("svd", rounded, weights, inputs, 2), 0, 1e-5));
}

TEST(Eora, InputsThatAreNeverThereAreHarmless) {
  Tensor inputs = test::set_a().clone();
  inputs[2].zero_();
  const Tensor weights = test::example_weights();
  const Tensor rounded = test::run_method("rtn", {{"bits", int64_t{3}}}, weights);
  const Tensor after = corrected("eora", rounded, weights, inputs, 1);
  EXPECT_LT(after.abs().max().item<float>(), 100);
  EXPECT_LT(test::output_error(after, weights, inputs), test::output_error(rounded, weights, inputs));
}

// The compressed weight stays as it is beside the factors.
TEST(Eora, KeepsTheCompressedWeight) {
  const Tensor weights = test::example_weights();
  Linear linear = test::make_linear(weights);
  const MethodEntry &rtn = find_method("rtn", "test"), &eora = find_method("eora", "test");
  LayerStats stats = test::stats_of(test::set_a());
  stats.original = weights;
  rtn.make(Params("test", rtn.parameters, {{"bits", int64_t{3}}}))->compress(linear, stats);
  const Tensor before = weight_to_dense(linear.weight, at::kFloat);
  eora.make(Params("test", eora.parameters, {{"rank", int64_t{2}}}))->compress(linear, stats);
  const auto& weight = std::get<LowRankWeight>(linear.weight);
  EXPECT_EQ(weight_format(weight.base->weight), "group-int");
  EXPECT_TRUE(at::equal(weight_to_dense(weight.base->weight, at::kFloat), before));
  EXPECT_EQ(weight_bytes(linear.weight), weight_bytes(weight.base->weight) + 2 * (4 + 8) * 4);
}

}  // namespace
}  // namespace ockham
