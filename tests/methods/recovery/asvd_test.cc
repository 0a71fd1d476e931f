// asvd: svd where inputs are alike, closer to the outputs where they are not.
#include <gtest/gtest.h>

#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

Tensor low_rank(const std::string& method, const Tensor& weights, const Tensor& inputs, double alpha = 0.5) {
  std::map<std::string, ParamValue> given = {{"rank", int64_t{2}}};
  if (method == "asvd") given["alpha"] = alpha;
  return test::run_method(method, given, weights, test::stats_of(inputs));
}

TEST(Asvd, EqualInputsGiveSvd) {
  const Tensor weights = test::example_weights(), inputs = at::eye(8, at::kDouble).repeat({1, 4});
  EXPECT_TRUE(at::allclose(low_rank("asvd", weights, inputs), low_rank("svd", weights, inputs), 0, 1e-5));
  EXPECT_TRUE(at::allclose(low_rank("asvd", weights, test::set_a(), 0), low_rank("svd", weights, inputs), 0, 1e-5));
}

// At alpha = 1 the metric is the inputs' own where they are not correlated.
TEST(Asvd, IsCloserToTheOutputsWhereInputsDiffer) {
  const Tensor weights = test::example_weights(), inputs = test::set_a();
  const auto error = [&](const Tensor& after) { return test::output_error(after, weights, inputs); };
  const double plain = error(low_rank("svd", weights, inputs));
  EXPECT_LT(error(low_rank("asvd", weights, inputs, 0.5)), plain);
  EXPECT_LT(error(low_rank("asvd", weights, inputs, 1)), plain);
}

TEST(Asvd, ChannelsWithoutInputAreHarmless) {
  Tensor inputs = test::set_a().clone();
  inputs[2].zero_();
  EXPECT_TRUE(low_rank("asvd", test::example_weights(), inputs, 1).isfinite().all().item<bool>());
  EXPECT_TRUE(low_rank("asvd", test::example_weights(), at::zeros({8, 4}, at::kDouble)).isfinite().all().item<bool>());
}

}  // namespace
}  // namespace ockham
