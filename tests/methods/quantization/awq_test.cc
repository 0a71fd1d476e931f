// awq: scales that keep a block's function, and rounding that hurts less with them where channels are unequal.
#include <gtest/gtest.h>

#include "tests/methods/loud_block.h"

namespace ockham {
namespace {

using test::LoudBlock;

std::unique_ptr<Method> make(const std::map<std::string, ParamValue>& given) {
  const MethodEntry& entry = find_method("awq", "test");
  return entry.make(Params("test", entry.parameters, given));
}

void round_all(LoudBlock& loud, const Method& method) {
  for (Linear& linear : loud.block().linears) method.compress(linear, {});
}

TEST(Awq, ScalingKeepsTheFunctionOfTheBlock) {
  for (const int64_t kv_heads : {4, 2}) {
    LoudBlock loud(kv_heads);
    const Tensor before = loud.output(), norm = loud.block().input_norm.clone();
    make({{"bits", int64_t{3}}, {"clip", false}})->transform(loud.block(), {loud.hidden, loud.context, loud.targets});
    EXPECT_TRUE(at::allclose(loud.output(), before, 1e-3, 1e-4));
    EXPECT_FALSE(at::allclose(loud.block().input_norm, norm, 1e-3)) << "nothing was scaled";
  }
}

TEST(Awq, HurtsLessThanPlainRoundingWhereChannelsAreUnequal) {
  for (const int64_t bits : {4, 3}) {
    LoudBlock plain, scaled, clipped;
    const Tensor wanted = plain.output();
    const auto error = [&](LoudBlock& loud) { return (loud.output() - wanted).square().mean().item<double>(); };
    const auto without = make({{"bits", bits}, {"group_size", int64_t{8}}, {"clip", false}}),
               with = make({{"bits", bits}, {"group_size", int64_t{8}}});
    round_all(plain, *without);
    without->transform(scaled.block(), {scaled.hidden, scaled.context, scaled.targets});
    round_all(scaled, *without);
    with->transform(clipped.block(), {clipped.hidden, clipped.context, clipped.targets});
    round_all(clipped, *with);
    EXPECT_LT(error(scaled), 0.8 * error(plain)) << bits;
    EXPECT_LT(error(clipped), 0.8 * error(plain)) << bits;
  }
}

TEST(Awq, OnlyTargetsAreTouched) {
  LoudBlock loud;
  const std::string down = loud.block().linears[kDown].name;
  const Tensor norm = loud.block().post_attention_norm.clone(),
               query = weight_to_dense(loud.block().linears[kQuery].weight, at::kFloat);
  const Tensor before = loud.output();
  make({{"bits", int64_t{3}}, {"clip", false}})->transform(loud.block(), {loud.hidden, loud.context, {down}});
  EXPECT_TRUE(at::equal(loud.block().post_attention_norm, norm));
  EXPECT_TRUE(at::equal(weight_to_dense(loud.block().linears[kQuery].weight, at::kFloat), query));
  EXPECT_TRUE(at::allclose(loud.output(), before, 1e-3, 1e-4));
}

TEST(Awq, WithoutATransformItRoundsAsRtn) {
  const Tensor weights = test::example_weights();
  EXPECT_TRUE(at::equal(test::run_method("awq", {{"bits", int64_t{3}}, {"group_size", int64_t{-1}}}, weights),
                        test::run_method("rtn", {{"bits", int64_t{3}}}, weights)));
}

}  // namespace
}  // namespace ockham
