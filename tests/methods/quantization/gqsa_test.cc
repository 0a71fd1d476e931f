// gqsa: whole groups go, in equal number per row; the others lie on grids of their own; updates pay.
#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

struct Case {
  Tensor weights = test::lcg(5, 16, 64).to(at::kFloat);
  Tensor inputs = test::lcg(4, 64, 64).matmul(test::lcg(2, 64, 256));  // correlated
};

Linear gqsa(const Case& example, const std::map<std::string, ParamValue>& given) {
  const MethodEntry& entry = find_method("gqsa", "test");
  Linear linear = test::make_linear(example.weights);
  const auto method = entry.make(Params("test", entry.parameters, given));
  method->check(linear.name, 16, 64);
  method->compress(linear, test::stats_of(example.inputs));
  return linear;
}

TEST(Gqsa, GroupsGoAsAWholeInEqualNumberPerRow) {
  const Case example;
  const Linear linear = gqsa(example, {{"group_size", int64_t{8}}});
  const auto& weight = std::get<GroupSparseWeight>(linear.weight);
  EXPECT_TRUE((weight.kept.sum(1) == 4).all().item<bool>());
  const Tensor groups = weight_to_dense(linear.weight, at::kFloat).view({16, 8, 8});
  EXPECT_TRUE((groups.masked_select(weight.kept.logical_not().unsqueeze(2)) == 0).all().item<bool>());
  // Of every kept group at most 16 values, in equal steps that hold zero.
  const Tensor steps = groups.index({weight.kept}) / weight.scales.unsqueeze(1);
  EXPECT_TRUE(at::allclose(steps, steps.round(), 0, 1e-4));
  EXPECT_LE((steps.amax(1) - steps.amin(1)).max().item<double>(), 15.001);
}

// 16 x 64 weights: half the groups of 16 at 4 bits, a float32 scale and a 4-bit zero for each, one bit per group.
TEST(Gqsa, BytesFollowTheFormula) {
  const Linear linear = gqsa(Case(), {});
  EXPECT_EQ(weight_bytes(linear.weight), 512 / 2 + 32 * 4 + 32 / 2 + 16);
}

TEST(Gqsa, UpdatesBeatRoundingAlone) {
  const Case example;
  const Tensor after = weight_to_dense(gqsa(example, {}).weight, at::kFloat);
  const Tensor plain = test::run_method("rtn", {{"bits", int64_t{4}}, {"group_size", int64_t{16}}}, example.weights);
  const Tensor mask = (after.view({16, 4, 16}) == 0).all(2, true).expand({16, 4, 16}).reshape({16, 64});
  EXPECT_LT(test::output_error(after, example.weights, example.inputs),
            test::output_error(plain.masked_fill(mask, 0), example.weights, example.inputs));
}

TEST(Gqsa, NothingRemovedIsGptq) {
  const Case example;
  const Tensor after = weight_to_dense(gqsa(example, {{"sparsity", 0.0}}).weight, at::kFloat);
  EXPECT_TRUE(at::allclose(
      after, test::run_method("gptq", {{"group_size", int64_t{16}}}, example.weights, test::stats_of(example.inputs))));
}

TEST(Gqsa, EverythingRemovedIsZero) {
  EXPECT_EQ(weight_to_dense(gqsa(Case(), {{"sparsity", 1.0}}).weight, at::kFloat).abs().max().item<float>(), 0);
}

TEST(Gqsa, GroupsMustDivideTheColumns) {
  EXPECT_THROW(gqsa(Case(), {{"group_size", int64_t{12}}}), Error);
}

}  // namespace
}  // namespace ockham
