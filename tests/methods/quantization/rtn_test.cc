// rtn against the worked examples, and zeros of earlier steps.
#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

Tensor rtn(const Tensor& weights, int64_t bits, bool is_symmetric, int64_t group_size = -1) {
  return test::run_method("rtn", {{"bits", bits}, {"symmetric", is_symmetric}, {"group_size", group_size}}, weights);
}

void expect_near(const Tensor& found, const std::vector<double>& expected, double tolerance) {
  const Tensor flat = found.flatten();
  ASSERT_EQ(flat.size(0), static_cast<int64_t>(expected.size()));
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(flat[static_cast<int64_t>(i)].item<double>(), expected[i], tolerance);
}

TEST(Rtn, WorkedExampleOfFourWeights) {
  const Tensor weights = at::tensor({-0.6f, -0.1f, 0.2f, 0.9f}).view({1, 4});
  expect_near(rtn(weights, 3, false), {-.6429, 0, .2143, .8571}, 5e-5);
  expect_near(rtn(weights, 3, true), {-.5143, 0, .2571, .7714}, 5e-5);
}

TEST(Rtn, GroupFarFromZeroIsNotDestroyed) {
  const Tensor weights = at::tensor({1.0f, 1.05f, 1.10f, 1.15f}).view({1, 4});
  expect_near(rtn(weights, 4, false), {.9967, 1.0733, 1.0733, 1.15}, 5e-5);
}

TEST(Rtn, WorkedErrorsOnSetA) {
  const Tensor weights = test::example_weights(), inputs = test::set_a();
  const auto error = [&](int64_t bits, bool is_symmetric) {
    return test::output_error(rtn(weights, bits, is_symmetric), weights, inputs);
  };
  EXPECT_NEAR(error(8, false), .001352, 2e-6);
  EXPECT_NEAR(error(8, true), .001751, 2e-6);
  EXPECT_NEAR(error(4, false), .537841, 2e-5);
  EXPECT_NEAR(error(4, true), .819639, 2e-5);
  EXPECT_NEAR(error(3, false), 3.495738, 2e-5);
  EXPECT_NEAR(error(3, true), 4.350984, 2e-5);
  EXPECT_NEAR(error(2, false), 14.608219, 2e-4);
  EXPECT_NEAR(error(2, true), 15.302470, 2e-4);
  EXPECT_NEAR(test::output_error(rtn(weights, 3, false, 4), weights, inputs), 1.540292, 2e-5);
}

TEST(Rtn, LastGroupMayBeShorter) {
  const Tensor weights = test::lcg(3, 2, 10).to(at::kFloat);
  const Tensor whole = rtn(weights, 4, false, 4);
  EXPECT_TRUE(at::equal(whole.narrow(1, 8, 2), rtn(weights.narrow(1, 8, 2), 4, false)));
  EXPECT_TRUE(at::equal(whole.narrow(1, 0, 4), rtn(weights.narrow(1, 0, 4), 4, false)));
}

TEST(Rtn, ErrorStaysWithinHalfAStep) {
  const Tensor weights = test::lcg(5, 16, 64).to(at::kFloat);
  for (int64_t bits = 2; bits <= 8; ++bits) {
    const Tensor after = rtn(weights, bits, false, 32);
    const Tensor groups = weights.view({16, 2, 32});
    const Tensor step =
        (groups.amax(2).clamp_min(0) - groups.amin(2).clamp_max(0)) / static_cast<double>((1 << bits) - 1);
    const Tensor error = (after - weights).abs().view({16, 2, 32}).amax(2);
    // The rounded zero point may push one end of the range out by half a step more.
    EXPECT_TRUE((error <= step * 1.001).all().item<bool>()) << bits;
    EXPECT_LE((after - weights).abs().mean().item<double>(), step.mean().item<double>() * 0.3) << bits;
  }
}

TEST(Rtn, ZerosOfPruningStayZeroAndAreNotStored) {
  const MethodEntry& entry = find_method("rtn", "test");
  for (const bool is_symmetric : {false, true}) {
    Linear linear =
        test::make_linear(test::run_method("magnitude", {{"sparsity", 0.5}}, test::lcg(9, 8, 64).to(at::kFloat)));
    const Tensor zeros = std::get<DenseWeight>(linear.weight).values == 0;
    entry.make(Params("test", entry.parameters, {{"bits", int64_t{4}}, {"symmetric", is_symmetric}}))
        ->compress(linear, {});
    const auto& weight = std::get<GroupIntWeight>(linear.weight);
    ASSERT_TRUE(weight.mask.defined());
    EXPECT_TRUE((weight_to_dense(linear.weight, at::kFloat).masked_select(zeros) == 0).all().item<bool>());
    const int64_t kept = 8 * 64 - zeros.sum().item<int64_t>();
    EXPECT_EQ(weight_bytes(linear.weight), (kept * 4 + 7) / 8 + 8 * 8 + 8 * 4 + (is_symmetric ? 0 : 8));
  }
}

TEST(Rtn, ScalesOfSixteenBitModelsAreStoredInSixteenBits) {
  const MethodEntry& entry = find_method("rtn", "test");
  const auto method = entry.make(Params("test", entry.parameters, {}));
  Linear linear = test::make_linear(test::lcg(9, 4, 16).to(at::kBFloat16));
  method->compress(linear, {});
  EXPECT_EQ(std::get<GroupIntWeight>(linear.weight).scales.scalar_type(), at::kHalf);
  Linear small = test::make_linear((test::lcg(9, 4, 16) * 1e-4).to(at::kBFloat16));
  method->compress(small, {});
  EXPECT_EQ(std::get<GroupIntWeight>(small.weight).scales.scalar_type(), at::kFloat);
}

}  // namespace
}  // namespace ockham
