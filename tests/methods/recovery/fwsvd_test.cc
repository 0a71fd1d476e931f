// fwsvd: the worked example, where the weighted error falls and the plain one rises.
#include <gtest/gtest.h>

#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

Tensor rank_one(const std::string& method, const Tensor& weights, const Tensor& fisher) {
  LayerStats stats;
  stats.gradients.fisher = fisher;
  return test::run_method(method, {{"rank", int64_t{1}}}, weights, stats);
}

TEST(Fwsvd, WorkedExample) {
  // Input x output in the example; a linear holds outputs x inputs. The information is constant for an input.
  const Tensor weights = at::tensor({2.f, 1.f, 0.f, 1.f, 3.f, 1.f, .1f, .2f, 5.f, .5f, .4f, .3f}).view({4, 3}).t();
  const Tensor fisher = at::tensor({4.f, 4.f, .01f, 1.f});
  const auto errors = [&](const Tensor& after) {
    const Tensor squares = (after - weights).square();
    return std::pair(squares.sum().item<double>(), (squares * fisher).sum().item<double>());
  };
  const Tensor plain = rank_one("svd", weights, fisher), weighted = rank_one("fwsvd", weights, 3 * fisher);
  EXPECT_NEAR(errors(plain).first, 14.0716, 1e-4);
  EXPECT_NEAR(errors(plain).second, 48.8435, 1e-3);
  EXPECT_NEAR(errors(weighted).first, 25.3293, 1e-3);
  EXPECT_NEAR(errors(weighted).second, 8.9796, 1e-4);
  EXPECT_TRUE(at::allclose(weighted.select(1, 0), at::tensor({.9192f, 1.5270f, .4344f}), 0, 1e-4));
}

TEST(Fwsvd, EqualInformationGivesSvd) {
  const Tensor weights = test::example_weights();
  EXPECT_TRUE(at::allclose(rank_one("fwsvd", weights, at::full({8}, 0.3f)), rank_one("svd", weights, {}), 0, 1e-5));
  EXPECT_TRUE(at::allclose(rank_one("fwsvd", weights, at::zeros({8})), rank_one("svd", weights, {}), 0, 1e-5));
}

}  // namespace
}  // namespace ockham
