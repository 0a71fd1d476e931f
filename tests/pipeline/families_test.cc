// The compression methods on every family: the output is read back, computes, and holds what the method promises.
#include <ATen/core/grad_mode.h>

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

// The scales that awq moves between neighbours cancel out, whatever the norms and activations of the family.
TEST_P(FamilyMethods, AwqScalesCancelOut) {
  auto decoder = Checkpoint(model_).read_all(DType::kF32);
  const MethodEntry& entry = find_method("awq", "test");
  const auto method = entry.make(
      Params("test", entry.parameters, {{"bits", int64_t{3}}, {"group_size", int64_t{-1}}, {"clip", false}}));
  const Tensor ids = at::arange(32, at::kLong).view({2, 16});
  Tensor hidden = decoder->embed(ids);
  BlockContext context = decoder->make_context(1, 16, nullptr, {});
  for (Block& block : decoder->blocks) {
    std::set<std::string> targets;
    for (const Linear& linear : block.linears) targets.insert(linear.name);
    const Tensor before = block.forward(hidden, context);
    const Tensor down = weight_to_dense(block.linears.back().weight, at::kFloat).clone(),
                 query = weight_to_dense(block.linears[kQuery].weight, at::kFloat).clone();
    method->transform(block, {hidden, context, targets});
    EXPECT_TRUE(at::allclose(block.forward(hidden, context), before, 1e-3, 1e-4)) << block.index;
    const bool is_scaled = !at::allclose(weight_to_dense(block.linears[kQuery].weight, at::kFloat), query, 1e-2) ||
                           !at::allclose(weight_to_dense(block.linears.back().weight, at::kFloat), down, 1e-2);
    EXPECT_TRUE(is_scaled) << block.index;
    hidden = before;
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, FamilyMethods, testing::ValuesIn(test::golden_families()),
                         [](const auto& family) { return test::test_name(family.param); });

}  // namespace
}  // namespace ockham
