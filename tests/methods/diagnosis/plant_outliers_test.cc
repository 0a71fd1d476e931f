// plant-outliers: what a block computes stays the same bit for bit, while its channels become unequal.
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "tests/methods/loud_block.h"

namespace ockham {
namespace {

using test::LoudBlock;

void plant(LoudBlock& loud, const std::map<std::string, ParamValue>& given) {
  const MethodEntry& entry = find_method("plant-outliers", "test");
  entry.make(Params("test", entry.parameters, given))->transform(loud.block(), {{}, loud.context, loud.targets});
}

TEST(PlantOutliers, OutputsStayBitForBit) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    LoudBlock loud;
    loud.decoder->to(type, at::kCPU);
    loud.hidden = loud.hidden.to(type);
    loud.context = loud.decoder->make_context(1, 24, nullptr, {});
    const at::NoGradGuard no_grad;
    const Tensor before = loud.output(), norm = loud.block().input_norm.clone();
    plant(loud, {{"channels", int64_t{2}}, {"exponent", int64_t{6}}, {"neurons", int64_t{3}}});
    EXPECT_TRUE(at::equal(loud.output(), before));
    const Tensor ratio = loud.block().input_norm.to(at::kFloat) / norm.to(at::kFloat);
    EXPECT_EQ((ratio == 64).sum().item<int64_t>(), 2);
    EXPECT_EQ((ratio == 1).sum().item<int64_t>(), 14);
  }
}

TEST(PlantOutliers, RowsOfUpBecomeOutliers) {
  LoudBlock loud;
  const Tensor before = weight_to_dense(loud.block().linears[kUp].weight, at::kFloat).clone();
  plant(loud, {{"channels", int64_t{0}}, {"neurons", int64_t{3}}, {"neuron_exponent", int64_t{4}}});
  const Tensor ratio = weight_to_dense(loud.block().linears[kUp].weight, at::kFloat) / before;
  EXPECT_EQ((ratio == 16).all(1).sum().item<int64_t>(), 3);
  EXPECT_EQ((ratio == 1).all(1).sum().item<int64_t>(), 21);
}

TEST(PlantOutliers, WhatCannotBeHeldExactlyIsRefused) {
  LoudBlock loud;
  loud.decoder->to(at::kHalf, at::kCPU);
  EXPECT_THROW(plant(loud, {{"exponent", int64_t{12}}}), Error);
  LoudBlock other;
  EXPECT_THROW(plant(other, {{"channels", int64_t{17}}}), Error);
}

}  // namespace
}  // namespace ockham
