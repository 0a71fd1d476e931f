// gptq against the worked examples, its exact identities and the formats that it writes.
#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "ockham/model/packed.h"
#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

using Given = std::map<std::string, ParamValue>;

Given bits(int64_t count, Given more = {}) {
  more["bits"] = count;
  more.try_emplace("keep_better", false);
  return more;
}

double error_of(const std::string& method, const Given& given, const Tensor& inputs) {
  const Tensor before = test::example_weights();
  return test::output_error(test::run_method(method, given, before, test::stats_of(inputs)), before, inputs);
}

TEST(Gptq, WorkedExampleThreeBits) {
  const Tensor after = test::run_method("gptq", bits(3), test::example_weights(), test::stats_of(test::set_b()));
  const Tensor expected =
      at::tensor({-.3104, -.1035, 0.,     .2069,  -.4138, -.2069, .3104,  .1035, -.5511, .1378,  -.2755,
                  0.,     .1378,  .2755,  -.1378, .4133,  .3387,  -.2258, .2258, 0.,     -.2258, -.4516,
                  -.4516, -.2258, -.3432, .2288,  .1144,  -.1144, -.2288, .2288, .4576,  -.3432},
                 at::kFloat)
          .view({4, 8});
  EXPECT_TRUE(at::allclose(after, expected, 0, 6e-5)) << after;
}

TEST(Gptq, WorkedErrorsOnCorrelatedInputs) {
  const double plain[] = {.01636, .10999, .47668}, ordered[] = {.01225, .07600, .29342},
               rtn[] = {.03672, .13237, 1.00491};
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(error_of("rtn", {{"bits", 4 - i}}, test::set_b()), rtn[i], 1e-4 * rtn[i] + 5e-6);
    EXPECT_NEAR(error_of("gptq", bits(4 - i), test::set_b()), plain[i], 5e-4 * plain[i] + 5e-6);
    EXPECT_NEAR(error_of("gptq", bits(4 - i, {{"act_order", true}}), test::set_b()), ordered[i],
                5e-4 * ordered[i] + 5e-6);
  }
}

TEST(Gptq, WorkedErrorsWithGroups) {
  const Given four = {{"group_size", int64_t{4}}};
  EXPECT_NEAR(error_of("gptq", bits(3, four), test::set_a()), 1.764872, 2e-4);
  Given ordered = four;
  ordered["act_order"] = true;
  EXPECT_NEAR(error_of("gptq", bits(3, ordered), test::set_a()), 1.364608, 2e-4);
  ordered["static_groups"] = true;
  EXPECT_NEAR(error_of("gptq", bits(3, ordered), test::set_a()), 1.446353, 2e-4);
  // Grids fitted to the working weights, not to those before the block.
  EXPECT_NEAR(error_of("gptq", bits(3, {{"group_size", int64_t{2}}}), test::set_a()), .781650, 1e-4);
}

TEST(Gptq, UncorrelatedInputsGiveRoundToNearest) {
  LayerStats stats = test::stats_of(test::set_a());
  stats.gram = at::diag(stats.gram.diagonal());
  EXPECT_TRUE(at::allclose(test::run_method("gptq", bits(3), test::example_weights(), stats),
                           test::run_method("rtn", {{"bits", int64_t{3}}}, test::example_weights()), 0, 1e-6));
}

TEST(Gptq, BlockSizeDoesNotChangeTheResult) {
  const LayerStats stats = test::stats_of(test::set_b());
  const Tensor whole = test::run_method("gptq", bits(3), test::example_weights(), stats);
  for (const int64_t size : {1, 3, 5}) {
    EXPECT_TRUE(at::allclose(
        whole, test::run_method("gptq", bits(3, {{"block_size", size}}), test::example_weights(), stats), 0, 1e-5));
  }
}

TEST(Gptq, KeepsZerosExactly) {
  const Tensor inputs = test::set_b();
  const LayerStats stats = test::stats_of(inputs);
  const Tensor pruned =
      test::run_method("sparsegpt", {{"sparsity", 0.5}, {"block_size", int64_t{8}}}, test::example_weights(), stats);
  for (const bool is_ordered : {false, true}) {
    const Tensor after =
        test::run_method("gptq", bits(4, {{"act_order", is_ordered}, {"group_size", int64_t{4}}}), pruned, stats);
    EXPECT_TRUE((after.masked_select(pruned == 0) == 0).all().item<bool>());
    EXPECT_GT((after != 0).sum().item<int64_t>(), 0);
  }
}

TEST(Gptq, OrderedGroupsSurvivePackingAndUnpacking) {
  const MethodEntry& entry = find_method("gptq", "test");
  Linear linear = test::make_linear(test::example_weights());
  entry.make(Params("test", entry.parameters, bits(3, {{"act_order", true}, {"group_size", int64_t{2}}})))
      ->compress(linear, test::stats_of(test::set_b()));
  const auto& weight = std::get<GroupIntWeight>(linear.weight);
  ASSERT_TRUE(weight.group_index.defined());
  PackedWeight packed = pack_weight(weight);
  const auto read = [&](const PackedPart& part) {
    for (const auto& [suffix, tensor] : packed.parts)
      if (suffix == part.suffix) return tensor;
    throw std::runtime_error(part.suffix);
  };
  const Weight again = unpack_weight(packed.record, "test", read);
  EXPECT_TRUE(at::equal(weight_to_dense(again, at::kFloat), weight_to_dense(weight, at::kFloat)));
  for (auto& [suffix, tensor] : packed.parts)
    if (suffix == ".group_index") tensor = tensor.clone().fill_(4);
  EXPECT_THROW(unpack_weight(packed.record, "test", read), Error);
}

TEST(Gptq, KeepsPlainRoundingWhereThatIsBetter) {
  // On nearly uncorrelated inputs the walk is worse (4 bits on set A).
  LayerStats stats = test::stats_of(test::set_a());
  std::string note;
  stats.note = [&](const std::string& text) { note = text; };
  const Tensor after = test::run_method("gptq", {{"bits", int64_t{4}}}, test::example_weights(), stats);
  EXPECT_TRUE(at::equal(after, test::run_method("rtn", {{"bits", int64_t{4}}}, test::example_weights())));
  EXPECT_NE(note.find("plain rounding"), std::string::npos);
}

TEST(Gptq, SixteenBitModelsGetHalfScalesUnlessTheyWouldBeSubnormal) {
  const auto scale_type = [](double factor) {
    Linear linear = test::make_linear((test::example_weights() * factor).to(at::kBFloat16));
    const MethodEntry& entry = find_method("gptq", "test");
    entry.make(Params("test", entry.parameters, bits(4)))->compress(linear, test::stats_of(test::set_b()));
    return std::get<GroupIntWeight>(linear.weight).scales.scalar_type();
  };
  EXPECT_EQ(scale_type(1), at::kHalf);
  EXPECT_EQ(scale_type(1e-5), at::kFloat);
}

}  // namespace
}  // namespace ockham
