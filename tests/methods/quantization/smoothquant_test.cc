// smoothquant: scales that keep a block's function, after which 8-bit inputs hurt less where channels are unequal.
#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "tests/methods/loud_block.h"

namespace ockham {
namespace {

using test::LoudBlock;

std::unique_ptr<Method> make(const std::map<std::string, ParamValue>& given) {
  const MethodEntry& entry = find_method("smoothquant", "test");
  return entry.make(Params("test", entry.parameters, given));
}

void transform(LoudBlock& loud, const Method& method) {
  method.transform(loud.block(), {loud.hidden, loud.context, loud.targets});
}

void round_all(LoudBlock& loud) {
  const auto method = make({});
  for (Linear& linear : loud.block().linears) method->compress(linear, {});
}

TEST(SmoothQuant, SmoothingKeepsTheFunctionOfTheBlock) {
  for (const bool inner : {false, true}) {
    for (const int64_t kv_heads : {4, 2}) {
      LoudBlock loud(kv_heads);
      const Tensor before = loud.output(), norm = loud.block().input_norm.clone();
      const Tensor down = weight_to_dense(loud.block().linears[kDown].weight, at::kFloat);
      transform(loud, *make({{"inner", inner}}));
      EXPECT_TRUE(at::allclose(loud.output(), before, 1e-3, 1e-4));
      EXPECT_FALSE(at::allclose(loud.block().input_norm, norm, 1e-3)) << "nothing was smoothed";
      EXPECT_EQ(at::equal(weight_to_dense(loud.block().linears[kDown].weight, at::kFloat), down), !inner);
    }
  }
}

// The norms of a 16-bit model are written with 8 bits of mantissa; the weights must fit what is written.
TEST(SmoothQuant, GainsAreSuchAsTheModelStores) {
  LoudBlock loud;
  loud.decoder->config.dtype = DType::kBF16;
  const Tensor before = loud.output();
  transform(loud, *make({}));
  for (Tensor* norm : {&loud.block().input_norm, &loud.block().post_attention_norm})
    *norm = norm->to(at::kBFloat16).to(at::kFloat);
  EXPECT_TRUE(at::allclose(loud.output(), before, 1e-4, 1e-5));
}

// At alpha = 0.5 the largest input and the largest weight of every channel meet: both are sqrt(max|x| max|w|).
TEST(SmoothQuant, HalfWayInputsAndWeightsAreEquallyLarge) {
  LoudBlock loud;
  transform(loud, *make({}));
  const Tensor normed = rms_norm(loud.hidden, loud.block().input_norm, loud.block().config->norm_eps);
  Tensor weights = at::zeros({16});
  for (const size_t role : {kQuery, kKey, kValue})
    weights = at::maximum(weights, weight_to_dense(loud.block().linears[role].weight, at::kFloat).abs().amax(0));
  EXPECT_TRUE(at::allclose(normed.abs().amax({0, 1}), weights, 1e-3));
}

TEST(SmoothQuant, HurtsLessThanPlainIntegersWhereChannelsAreUnequal) {
  LoudBlock plain, smooth;
  const Tensor wanted = plain.output();
  round_all(plain);
  transform(smooth, *make({}));
  round_all(smooth);
  const auto error = [&](LoudBlock& loud) { return (loud.output() - wanted).square().mean().item<double>(); };
  EXPECT_GT(error(smooth), 0);
  EXPECT_LT(error(smooth), 0.5 * error(plain));
}

TEST(SmoothQuant, OnlyTargetsAreTouched) {
  LoudBlock loud;
  const Tensor norm = loud.block().post_attention_norm.clone(), before = loud.output();
  loud.targets.erase(loud.block().linears[kGate].name);
  transform(loud, *make({}));
  EXPECT_TRUE(at::equal(loud.block().post_attention_norm, norm));
  EXPECT_TRUE(at::allclose(loud.output(), before, 1e-3, 1e-4));
}

TEST(SmoothQuant, ComesFirst) {
  LoudBlock loud;
  round_all(loud);
  EXPECT_THROW(transform(loud, *make({})), Error);
}

}  // namespace
}  // namespace ockham
