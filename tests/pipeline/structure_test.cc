// Methods that change a model's shape: what is written loads as a smaller dense model and computes the right thing.
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/model/families.h"
#include "ockham/pipeline/compress.h"
#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

struct OnDisk {
  test::ScratchDirectory scratch;
  std::string model = scratch.path("model"), ids = scratch.path("ids.npy"), out = scratch.path("out");
  Tensor tokens;

  explicit OnDisk(int64_t blocks = 4) {
    fs::create_directory(model);
    const auto decoder = Decoder::random(test::tiny_config(blocks), 11, DType::kF32);
    for (Block& block : decoder->blocks)
      for (Linear& linear : block.linears) std::get<DenseWeight>(linear.weight).values.mul_(8);
    save_decoder(*decoder, model, DType::kF32, "");
    std::vector<std::vector<int32_t>> rows(4, std::vector<int32_t>(16));
    int32_t next = 1;
    for (auto& row : rows)
      for (int32_t& id : row) id = next = (next * 7 + 3) % 40;
    write_token_ids_npy(ids, rows);
    tokens = test::read_ids(ids);
  }

  Recipe recipe(const std::string& method, const std::map<std::string, ParamValue>& params) const {
    Recipe recipe;
    recipe.name = "test";
    recipe.calibration.data = ids;
    recipe.steps = {{method, {"blocks.*"}, params, "test"}};
    return recipe;
  }
  std::unique_ptr<Decoder> source() const { return Checkpoint(model).read_all(DType::kF32); }
  std::unique_ptr<Decoder> result() const { return Checkpoint(out).read_all(DType::kF32); }
  Tensor logits(const Decoder& decoder) const { return decoder.logits(decoder.forward(tokens)); }
};

TEST(Structure, RemovedBlocksAreGoneAndTheOthersRenumbered) {
  const at::NoGradGuard no_grad;
  const OnDisk setup;
  const CompressionResult result =
      compress(setup.model, setup.recipe("drop", {{"which", std::string("0,2")}}), setup.out, {});
  const auto expected = setup.source();
  expected->blocks.erase(expected->blocks.begin() + 2);
  expected->blocks.erase(expected->blocks.begin());
  const auto found = setup.result();
  EXPECT_EQ(found->config.blocks, 2);
  EXPECT_TRUE(at::equal(setup.logits(*found), setup.logits(*expected)));
  EXPECT_EQ(result.report["tensors"].size(), 14U);
  EXPECT_TRUE(result.report["tensors"].contains("model.layers.1.mlp.up_proj.weight"));
  EXPECT_TRUE(Checkpoint(setup.out).unused_tensors().empty());
  const auto memory = setup.source();
  compress_in_memory(*memory, setup.recipe("drop", {{"which", std::string("0,2")}}), "", {});
  EXPECT_EQ(memory->config.blocks, 2);
  EXPECT_EQ(memory->blocks[1].linears[0].name, "model.layers.1.self_attn.q_proj");
  EXPECT_TRUE(at::equal(setup.logits(*memory), setup.logits(*expected)));
}

// A block whose outputs are nearly nothing changes the hidden states least.
TEST(Structure, TheBlockThatChangesLeastIsDropped) {
  const at::NoGradGuard no_grad;
  const OnDisk setup;
  const auto quiet = setup.source();
  for (const size_t role : {kOutput, kDown})
    std::get<DenseWeight>(quiet->blocks[2].linears[role].weight).values.mul_(1e-3);
  std::get<DenseWeight>(quiet->blocks[1].linears[kOutput].weight).values.mul_(1e-3);
  const auto block = [&](const std::string& unit) {
    const auto decoder = std::make_unique<Decoder>(*quiet);
    for (Block& each : decoder->blocks) each.config = &decoder->config;
    const CompressionResult result = compress_in_memory(
        *decoder, setup.recipe("drop", {{"unit", unit}, {"count", int64_t{unit == "block" ? 1 : 2}}}), "", {});
    std::string gone;
    for (int i = 0; i < 4; ++i) {
      const std::string name = fmt::format("model.layers.{}.{}", i, unit == "mlp" ? "mlp.up_proj" : "self_attn.q_proj");
      if (result.report["steps"][0]["values"].at(name) == 1.0) gone += std::to_string(i);
    }
    return gone;
  };
  EXPECT_EQ(block("block"), "2");
  EXPECT_EQ(block("attention"), "12");
}

TEST(Structure, DroppedHalvesAreZeroAndTakeABitPerWeight) {
  const at::NoGradGuard no_grad;
  const OnDisk setup;
  const CompressionResult result =
      compress(setup.model, setup.recipe("drop", {{"unit", std::string("attention")}, {"which", std::string("1")}}),
               setup.out, {});
  const auto expected = setup.source();
  std::get<DenseWeight>(expected->blocks[1].linears[kOutput].weight).values.zero_();
  const auto found = setup.result();
  EXPECT_EQ(found->config.blocks, 4);
  EXPECT_TRUE(at::allclose(setup.logits(*found), setup.logits(*expected), 1e-5, 1e-6));
  const Json& entry = result.report["tensors"]["model.layers.1.self_attn.q_proj.weight"];
  EXPECT_EQ(entry["bytes"], 16 * 16 / 8);
  EXPECT_EQ(entry["sparsity"], 1.0);
}

TEST(Structure, PrunedModelLoadsAsASmallerDenseOne) {
  const at::NoGradGuard no_grad;
  const OnDisk setup;
  for (const std::string importance : {"taylor", "activation", "magnitude"}) {
    const std::map<std::string, ParamValue> params = {
        {"heads", 0.5}, {"neurons", 0.3}, {"multiple", int64_t{4}}, {"importance", importance}};
    CompressOptions options;
    options.overwrite = true;
    compress(setup.model, setup.recipe("llm-pruner", params), setup.out, options);
    const Checkpoint checkpoint(setup.out);
    EXPECT_EQ(checkpoint.config().heads, 2);
    EXPECT_EQ(checkpoint.config().kv_heads, 1);
    EXPECT_EQ(checkpoint.config().head_dim, 4);
    EXPECT_EQ(checkpoint.config().intermediate_size, 20);  // 24 - 7 = 17, rounded up
    EXPECT_FALSE(read_json_file(setup.out + "/config.json").contains("quantization_config"));
    const auto found = setup.result(), memory = setup.source();
    compress_in_memory(*memory, setup.recipe("llm-pruner", params), "", {});
    EXPECT_TRUE(at::allclose(setup.logits(*found), setup.logits(*memory), 1e-5, 1e-6)) << importance;
  }
}

TEST(Structure, StepsAfterPruningSeeTheSmallerShape) {
  const at::NoGradGuard no_grad;
  const OnDisk setup;
  Recipe recipe = setup.recipe("llm-pruner", {{"heads", 0.5}, {"neurons", 0.5}, {"multiple", int64_t{1}}});
  recipe.steps.push_back({"gptq", {"blocks.*"}, {{"group_size", int64_t{4}}}, "test"});
  compress(setup.model, recipe, setup.out, {});
  EXPECT_EQ(weight_format(setup.result()->blocks[0].linears[kDown].weight), "group-int");
  // 12 neurons stay, which 8 does not divide.
  recipe.steps.back() = {"wanda", {"blocks.*"}, {{"pattern", std::string("4:8")}}, "test"};
  EXPECT_THROW(compress(setup.model, recipe, setup.scratch.path("other"), {}), Error);
}

TEST(Structure, ImpossibleRecipesAreRefused) {
  const OnDisk setup;
  EXPECT_THROW(compress(setup.model, setup.recipe("drop", {{"which", std::string("9")}}), setup.out, {}), Error);
  EXPECT_THROW(compress(setup.model, setup.recipe("drop", {{"count", int64_t{4}}}), setup.out, {}), Error);
  Recipe recipe = setup.recipe("drop", {});
  recipe.steps.push_back({"wanda", {"blocks.*"}, {{"sparsity", FromStep{"drop"}}}, "test"});
  EXPECT_THROW(compress(setup.model, recipe, setup.out, {}), Error);
  EXPECT_FALSE(fs::exists(setup.out));
}

TEST(Structure, FisherInformationReachesTheFactors) {
  const at::NoGradGuard no_grad;
  const OnDisk setup(2);
  compress(setup.model, setup.recipe("fwsvd", {{"rank", int64_t{16}}}), setup.out, {});
  EXPECT_TRUE(at::allclose(setup.logits(*setup.result()), setup.logits(*setup.source()), 1e-3, 1e-3));
  const auto weighted = setup.source(), plain = setup.source();
  compress_in_memory(*weighted, setup.recipe("fwsvd", {{"rank", int64_t{4}}}), "", {});
  compress_in_memory(*plain, setup.recipe("svd", {{"rank", int64_t{4}}}), "", {});
  EXPECT_FALSE(at::allclose(setup.logits(*weighted), setup.logits(*plain), 1e-3, 1e-3));
}

}  // namespace
}  // namespace ockham
