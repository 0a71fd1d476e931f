// ternary: three values, their best scale, and tiles that go together.
#include <gtest/gtest.h>

#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

Linear ternary(const Tensor& weights, const std::map<std::string, ParamValue>& given = {}) {
  const MethodEntry& entry = find_method("ternary", "test");
  Linear linear = test::make_linear(weights);
  entry.make(Params("test", entry.parameters, given))->compress(linear, {});
  return linear;
}

// Mean magnitude 0.3, limit 0.21; 0.4, 0.5 and 0.6 stay with their mean.
TEST(Ternary, WorkedRow) {
  const Tensor row = at::tensor({.4f, -.5f, .1f, -.2f, .6f, 0.f}).view({1, 6});
  const Tensor after = weight_to_dense(ternary(row).weight, at::kFloat);
  EXPECT_TRUE(at::allclose(after, at::tensor({.5f, -.5f, 0.f, 0.f, .5f, 0.f}).view({1, 6}))) << after;
}

TEST(Ternary, ThreeValuesPerGroupAndTwoBits) {
  const Tensor weights = test::lcg(5, 8, 64).to(at::kFloat);
  const Linear linear = ternary(weights, {{"group_size", int64_t{16}}});
  const Tensor after = weight_to_dense(linear.weight, at::kFloat).view({8, 4, 16}), size = after.abs();
  const Tensor scale = size.amax(2, true);
  EXPECT_TRUE((size == 0).logical_or(size == scale).all().item<bool>());
  EXPECT_EQ(weight_bytes(linear.weight), 8 * 64 / 4 + 8 * 4 * 4);
  // No other scale fits the kept weights better: their errors cancel.
  const Tensor signs = after.sign(), groups = weights.view({8, 4, 16});
  const Tensor best = (groups * signs).sum(2) / signs.abs().sum(2);
  EXPECT_TRUE(at::allclose(scale.squeeze(2), best, 1e-5));
}

TEST(Ternary, TilesGoTogether) {
  const Tensor weights = test::lcg(5, 16, 64).to(at::kFloat);
  const Tensor after =
      weight_to_dense(ternary(weights, {{"tile", std::string("4x8")}, {"tile_sparsity", 0.5}}).weight, at::kFloat);
  const Tensor energy = after.square().view({4, 4, 8, 8}).sum({1, 3}),
               before = weights.square().view({4, 4, 8, 8}).sum({1, 3});
  EXPECT_EQ((energy == 0).sum().item<int64_t>(), 16);
  EXPECT_LE(before.masked_select(energy == 0).max().item<float>(),
            before.masked_select(energy > 0).min().item<float>());
}

TEST(Ternary, ZerosStayZero) {
  const Tensor weights = test::run_method("magnitude", {{"sparsity", 0.5}}, test::lcg(9, 8, 64).to(at::kFloat));
  const Tensor after = weight_to_dense(ternary(weights, {{"threshold", 0.0}}).weight, at::kFloat);
  EXPECT_TRUE(at::equal(after == 0, weights == 0));
}

}  // namespace
}  // namespace ockham
