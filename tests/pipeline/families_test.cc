// The compression methods on every family: the output is read back, computes, and holds what the method promises.
#include <ATen/core/grad_mode.h>

#include "ockham/core/error.h"
#include "ockham/pipeline/compress.h"
#include "tests/model/family_fixture.h"

namespace ockham {
namespace {

Recipe recipe_of(const std::string& method, const std::map<std::string, ParamValue>& params, const std::string& ids) {
  Recipe recipe;
  recipe.name = method;
  recipe.calibration.data = ids;
  recipe.steps.push_back({method, {"blocks.*"}, params, "test"});
  return recipe;
}

class FamilyMethods : public testing::TestWithParam<std::string> {
 protected:
  FamilyMethods() {
    std::filesystem::create_directory(model_);
    test::write_family(read_json_file(test::golden_path(GetParam())), model_);
    std::vector<std::vector<int32_t>> rows(8, std::vector<int32_t>(16));
    int32_t next = 1;
    for (auto& row : rows) {
      for (int32_t& id : row) id = next = (next * 5 + 7) % 32;
    }
    write_token_ids_npy(ids_, rows);
  }
  std::unique_ptr<Decoder> compressed(const std::string& method, const std::map<std::string, ParamValue>& params) {
    CompressOptions options;
    options.overwrite = true;
    result_ = compress(model_, recipe_of(method, params, ids_), out_, options);
    const Checkpoint checkpoint(out_);
    EXPECT_TRUE(checkpoint.unused_tensors().empty()) << method;
    EXPECT_EQ(result_.bytes, checkpoint.bytes()) << method;
    auto decoder = checkpoint.read_all(DType::kF32);
    const Tensor ids = at::arange(20, at::kLong).unsqueeze(0);
    EXPECT_TRUE(decoder->logits(decoder->forward(ids)).isfinite().all().item<bool>()) << method;
    return decoder;
  }

  const at::NoGradGuard no_grad_;
  test::ScratchDirectory scratch_;
  const std::string model_ = scratch_.path("model"), ids_ = scratch_.path("ids.npy"), out_ = scratch_.path("out");
  CompressionResult result_;
};

TEST_P(FamilyMethods, PruningLeavesTheSparsityAskedFor) {
  for (const char* method : {"magnitude", "wanda", "sparsegpt"}) {
    const auto decoder = compressed(method, {{"sparsity", 0.5}});
    EXPECT_NEAR(result_.sparsity, 0.5, 0.02) << method;
    for (const Block& block : decoder->blocks) {
      for (const Linear& linear : block.linears) {
        const Tensor values = weight_to_dense(linear.weight, at::kFloat);
        EXPECT_NEAR((values == 0).to(at::kFloat).mean().item<double>(), 0.5, 0.05) << method << " " << linear.name;
      }
    }
  }
}

TEST_P(FamilyMethods, QuantizationStaysNearTheModel) {
  const auto dense = Checkpoint(model_).read_all(DType::kF32);
  const Tensor ids = at::arange(20, at::kLong).unsqueeze(0), wanted = dense->logits(dense->forward(ids));
  for (const char* method : {"rtn", "gptq", "awq"}) {
    const auto decoder = compressed(method, {{"bits", int64_t{8}}, {"group_size", int64_t{4}}});
    for (const Block& block : decoder->blocks)
      for (const Linear& linear : block.linears) EXPECT_EQ(weight_format(linear.weight), "group-int") << linear.name;
    // By token, since a tiny difference may send one of them to another expert.
    const Tensor error = (decoder->logits(decoder->forward(ids)) - wanted).norm(2, -1) / wanted.norm(2, -1);
    EXPECT_LT(error.median().item<double>(), 0.03) << method << "\n" << error;
  }
}

TEST_P(FamilyMethods, TrueSequentialCalibrationVisitsEveryLinear) {
  compressed("gptq", {{"bits", int64_t{4}}, {"group_size", int64_t{4}}, {"true_sequential", true}});
  for (const auto& [name, tensor] : result_.report["tensors"].items()) EXPECT_EQ(tensor["format"], "group-int") << name;
}

// What is moved between neighbours cancels out, whatever the norms and activations of the family.
TEST_P(FamilyMethods, MovedScalesCancelOut) {
  const std::vector<std::pair<std::string, std::map<std::string, ParamValue>>> methods = {
      {"awq", {{"bits", int64_t{3}}, {"group_size", int64_t{-1}}, {"clip", false}}},
      {"smoothquant", {{"inner", true}}},
      {"plant-outliers", {{"exponent", int64_t{2}}, {"neurons", int64_t{1}}}}};
  for (const auto& [name, params] : methods) {
    auto decoder = Checkpoint(model_).read_all(DType::kF32);
    const MethodEntry& entry = find_method(name, "test");
    const auto method = entry.make(Params("test", entry.parameters, params));
    const Tensor ids = at::arange(32, at::kLong).view({2, 16});
    Tensor hidden = decoder->embed(ids);
    BlockContext context = decoder->make_context(1, 16, nullptr, {});
    for (Block& block : decoder->blocks) {
      std::set<std::string> targets;
      for (const Linear& linear : block.linears) targets.insert(linear.name);
      const Tensor before = block.forward(hidden, context);
      const Tensor down = weight_to_dense(block.linears.back().weight, at::kFloat).clone(),
                   query = weight_to_dense(block.linears[kQuery].weight, at::kFloat).clone();
      try {
        method->transform(block, {hidden, context, targets});
      } catch (const Error&) {
        // Gains stored beside an offset do not hold powers of two exactly.
        EXPECT_TRUE(name == "plant-outliers" && decoder->config.norm_offset != 0) << name;
        break;
      }
      EXPECT_TRUE(at::allclose(block.forward(hidden, context), before, 1e-3, 1e-4)) << name << " " << block.index;
      const bool is_scaled = !at::allclose(weight_to_dense(block.linears[kQuery].weight, at::kFloat), query, 1e-2) ||
                             !at::allclose(weight_to_dense(block.linears.back().weight, at::kFloat), down, 1e-2);
      EXPECT_TRUE(is_scaled) << name << " " << block.index;
      hidden = before;
    }
  }
}

TEST_P(FamilyMethods, EightBitsStayNearTheModel) {
  const auto dense = Checkpoint(model_).read_all(DType::kF32);
  const Tensor ids = at::arange(20, at::kLong).unsqueeze(0), wanted = dense->logits(dense->forward(ids));
  const std::vector<std::pair<std::string, std::string>> methods = {
      {"llm-int8", "int8"}, {"smoothquant", "int8"}, {"fp8", "float8"}};
  for (const auto& [method, format] : methods) {
    const auto decoder = compressed(method, {});
    for (const Block& block : decoder->blocks)
      for (const Linear& linear : block.linears) EXPECT_EQ(weight_format(linear.weight), format) << linear.name;
    const Tensor error = (decoder->logits(decoder->forward(ids)) - wanted).norm(2, -1) / wanted.norm(2, -1);
    // The mantissa of fp8 has three bits.
    EXPECT_LT(error.median().item<double>(), format == "float8" ? 0.2 : 0.1) << method << "\n" << error;
  }
}

TEST_P(FamilyMethods, DroppedHalvesAreZeroAndDroppedBlocksGone) {
  const ModelConfig before = Checkpoint(model_).config();
  const auto halved = compressed("drop", {{"unit", std::string("mlp")}});
  int64_t zero = 0;
  for (const Block& block : halved->blocks) {
    const Tensor values = weight_to_dense(block.linears.back().weight, at::kFloat);
    if (values.count_nonzero().item<int64_t>() == 0) ++zero;
  }
  EXPECT_EQ(zero, 1);
  if (before.blocks < 2) return;
  for (int64_t which = 0; which < before.blocks; ++which) {
    try {
      const auto decoder = compressed("drop", {{"which", std::to_string(which)}});
      EXPECT_EQ(decoder->config.blocks, before.blocks - 1);
      // What stays is what the source computes there.
      const auto dense = Checkpoint(model_).read_all(DType::kF32);
      const size_t kept = which == 0 ? 1 : 0;
      const Tensor hidden = dense->embed(at::arange(16, at::kLong).unsqueeze(0));
      const BlockContext context = dense->make_context(1, 16, nullptr, {});
      EXPECT_TRUE(at::equal(decoder->blocks[0].forward(hidden, context), dense->blocks[kept].forward(hidden, context)));
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUnsupported) << error.what();
      EXPECT_FALSE(before.sliding.empty() && before.mixtures.empty()) << error.what();
    }
  }
}

TEST_P(FamilyMethods, StructuredPruningMakesASmallerModelOrSaysWhyNot) {
  const ModelConfig before = Checkpoint(model_).config();
  for (const double heads : {0.0, 0.5}) {
    try {
      const auto decoder = compressed("llm-pruner", {{"heads", heads}, {"neurons", 0.25}, {"multiple", int64_t{1}}});
      EXPECT_EQ(decoder->config.intermediate_size, before.intermediate_size - before.intermediate_size / 4);
      if (heads > 0 && before.kv_heads > 1) {
        EXPECT_LT(decoder->config.heads, before.heads);
      }
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUnsupported) << error.what();
      EXPECT_TRUE(before.experts > 0 || heads > 0) << error.what();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, FamilyMethods, testing::ValuesIn(test::golden_families()),
                         [](const auto& family) { return test::test_name(family.param); });

}  // namespace
}  // namespace ockham
