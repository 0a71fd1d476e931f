// llm-pruner: a smaller block that computes what the whole one computes with the same groups masked.
#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "tests/methods/loud_block.h"

namespace ockham {
namespace {

using test::LoudBlock;

std::unique_ptr<Method> make(const std::map<std::string, ParamValue>& given) {
  const MethodEntry& entry = find_method("llm-pruner", "test");
  return entry.make(Params("test", entry.parameters, given));
}

// Loudness of rows and columns by linear, so that a test decides what goes: the last heads and neurons are the loudest.
std::map<std::string, GradientStats> rising(const Block& block) {
  std::map<std::string, GradientStats> gradients;
  for (const Linear& linear : block.linears)
    gradients[linear.name] = {at::arange(weight_rows(linear.weight), at::kFloat),
                              at::arange(weight_columns(linear.weight), at::kFloat),
                              {},
                              {}};
  return gradients;
}

void mask_rows(Linear& linear, int64_t count) {
  std::get<DenseWeight>(linear.weight).values.narrow(0, 0, count).zero_();
}
void mask_columns(Linear& linear, int64_t count) {
  std::get<DenseWeight>(linear.weight).values.narrow(1, 0, count).zero_();
}

TEST(LlmPruner, SmallerBlockEqualsTheMaskedOne) {
  for (const int64_t kv_heads : {4, 2}) {
    LoudBlock pruned(kv_heads), masked(kv_heads);
    const auto method = make({{"heads", 0.5}, {"neurons", 0.25}, {"multiple", int64_t{1}}});
    const auto gradients = rising(pruned.block());
    method->transform(pruned.block(), {pruned.hidden, pruned.context, pruned.targets, &gradients});
    ModelConfig config = *pruned.block().config;
    method->resize(config);
    EXPECT_EQ(config.heads, 2);
    EXPECT_EQ(config.kv_heads, kv_heads / 2);
    EXPECT_EQ(config.intermediate_size, 18);
    const std::vector<LinearSpec> specs = block_linears(config, 0);
    for (size_t place = 0; place < specs.size(); ++place) {
      EXPECT_EQ(weight_rows(pruned.block().linears[place].weight), specs[place].rows);
      EXPECT_EQ(weight_columns(pruned.block().linears[place].weight), specs[place].columns);
    }
    pruned.block().config = &config;
    auto& linears = masked.block().linears;
    mask_columns(linears[kOutput], 2 * 4);
    for (const size_t role : {kGate, kUp}) mask_rows(linears[role], 6);
    mask_columns(linears[kDown], 6);
    const Tensor wanted = masked.output(), found = pruned.output();
    EXPECT_LT(((found - wanted).norm() / wanted.norm()).item<double>(), 1e-5) << kv_heads;
  }
}

TEST(LlmPruner, NeuronsThatDoNothingGoFirst) {
  for (const std::string importance : {"activation", "magnitude"}) {
    LoudBlock loud;
    auto& linears = loud.block().linears;
    for (const int64_t neuron : {1, 8, 20}) {
      for (const size_t role : {kGate, kUp}) std::get<DenseWeight>(linears[role].weight).values[neuron].zero_();
      std::get<DenseWeight>(linears[kDown].weight).values.select(1, neuron).zero_();
    }
    const Tensor before = loud.output();
    const auto method =
        make({{"heads", 0.0}, {"neurons", 3.0 / 24}, {"multiple", int64_t{1}}, {"importance", importance}});
    method->transform(loud.block(), {loud.hidden, loud.context, loud.targets});
    EXPECT_EQ(weight_rows(linears[kGate].weight), 21);
    EXPECT_TRUE(at::allclose(loud.output(), before, 1e-4, 1e-5)) << importance;
  }
}

TEST(LlmPruner, NumbersAreRoundedUpAndNeverZero) {
  ModelConfig config = test::tiny_config();
  make({{"heads", 1.0}, {"neurons", 1.0}})->resize(config);
  EXPECT_EQ(config.kv_heads, 1);
  EXPECT_EQ(config.heads, 2);
  EXPECT_EQ(config.intermediate_size, 8);
  config = test::tiny_config();
  make({{"heads", 0.0}, {"neurons", 0.1}})->resize(config);
  EXPECT_EQ(config.heads, 4);
  EXPECT_EQ(config.intermediate_size, 24);  // 22 rounded up
}

TEST(LlmPruner, AllLinearsMustBeTargets) {
  LoudBlock loud;
  loud.targets.erase(loud.block().linears[kGate].name);
  EXPECT_THROW(make({{"importance", std::string("magnitude")}})
                   ->transform(loud.block(), {loud.hidden, loud.context, loud.targets}),
               Error);
}

}  // namespace
}  // namespace ockham
