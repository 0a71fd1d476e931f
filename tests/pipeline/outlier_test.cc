// mini with planted outliers: the same logits, on which plain grids break and methods that handle outliers do not.
#include <ATen/core/grad_mode.h>

#include "ockham/pipeline/compress.h"
#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

using Steps = std::vector<std::pair<std::string, std::map<std::string, ParamValue>>>;

class MiniOutlier : public testing::Test {
 protected:
  static std::string models(const char* name) { return std::string(OCKHAM_SOURCE_DIR).append("/models/").append(name); }

  static std::unique_ptr<Decoder> mini(bool is_planted) {
    auto decoder = Checkpoint(models("mini")).read_all(DType::kF32);
    if (is_planted) compress_in_memory(*decoder, Recipe::load(models("mini-outlier.yaml"), ""), models("mini"), {});
    decoder->to(at::kFloat, at::kCPU);  // what is compressed has the type that it is stored in
    return decoder;
  }

  // Sequences drawn from the model itself, int64 [4, 40].
  static Tensor draw(const Decoder& decoder, uint64_t seed) {
    at::manual_seed(seed);
    Tensor ids = at::zeros({4, 1}, at::kLong);
    KvCache cache;
    while (ids.size(1) < 40) {
      const Tensor hidden = decoder.forward(ids.narrow(1, ids.size(1) - 1, 1), &cache);
      ids = at::cat({ids, at::multinomial(at::softmax(decoder.logits(hidden.select(1, 0)), -1), 1)}, 1);
    }
    return ids;
  }

  void SetUp() override {
    const auto decoder = mini(false);
    ids_ = draw(*decoder, 1);
    wanted_ = at::log_softmax(decoder->logits(decoder->forward(ids_)), -1);
    const Tensor calibration = draw(*decoder, 2).to(at::kInt).contiguous();
    std::vector<std::vector<int32_t>> rows;
    for (int64_t row = 0; row < calibration.size(0); ++row) {
      const int32_t* begin = calibration.const_data_ptr<int32_t>() + row * calibration.size(1);
      rows.emplace_back(begin, begin + calibration.size(1));
    }
    write_token_ids_npy(calibration_, rows);
  }

  Recipe recipe_of(const Steps& steps) const {
    Recipe recipe;
    recipe.name = "test";
    recipe.calibration.data = calibration_;
    for (const auto& [method, params] : steps) recipe.steps.push_back({method, {"blocks.*"}, params, "test"});
    return recipe;
  }

  // Mean over tokens of KL(mini || compressed), in nats.
  double damage(bool is_planted, const Steps& steps) const {
    const auto decoder = mini(is_planted);
    compress_in_memory(*decoder, recipe_of(steps), models("mini"), {});
    decoder->make_dense();
    decoder->to(at::kFloat, at::kCPU);
    const Tensor found = at::log_softmax(decoder->logits(decoder->forward(ids_)), -1);
    return (wanted_.exp() * (wanted_ - found)).sum(-1).mean(at::kDouble).item<double>();
  }

  const at::NoGradGuard no_grad_;
  test::ScratchDirectory scratch_;
  std::string calibration_ = scratch_.path("ids.npy");
  Tensor ids_, wanted_;
};

TEST_F(MiniOutlier, LogitsAreThoseOfMini) {
  const auto planted = mini(true), plain = mini(false);
  EXPECT_TRUE(at::equal(planted->logits(planted->forward(ids_)), plain->logits(plain->forward(ids_))));
  EXPECT_FALSE(at::equal(planted->blocks[3].input_norm, plain->blocks[3].input_norm));
}

TEST_F(MiniOutlier, PlainIntegersBreakAndTheOthersRecover) {
  const Steps plain = {{"llm-int8", {{"threshold", 1e30}, {"keep_columns", false}}}}, decomposed = {{"llm-int8", {}}},
              smooth = {{"smoothquant", {{"inner", true}}}};
  const double plain_before = damage(false, plain), plain_after = damage(true, plain);
  const double decomposed_after = damage(true, decomposed), smooth_after = damage(true, smooth);
  RecordProperty("plain_before", std::to_string(plain_before));
  RecordProperty("plain_after", std::to_string(plain_after));
  RecordProperty("decomposed_after", std::to_string(decomposed_after));
  RecordProperty("smooth_after", std::to_string(smooth_after));
  EXPECT_GT(plain_after, 10 * plain_before);
  EXPECT_LT(decomposed_after, plain_after / 10);
  EXPECT_LT(smooth_after, plain_after / 10);
}

TEST_F(MiniOutlier, RoundingToNearestBreaksAndAwqRecovers) {
  const std::map<std::string, ParamValue> grid = {{"bits", int64_t{4}}, {"group_size", int64_t{32}}};
  const double rtn_before = damage(false, {{"rtn", grid}}), rtn_after = damage(true, {{"rtn", grid}});
  const double awq_after = damage(true, {{"awq", grid}});
  RecordProperty("rtn_before", std::to_string(rtn_before));
  RecordProperty("rtn_after", std::to_string(rtn_after));
  RecordProperty("awq_after", std::to_string(awq_after));
  EXPECT_GT(rtn_after, 3 * rtn_before);
  EXPECT_LT(awq_after, rtn_after / 3);
}

TEST_F(MiniOutlier, OwlFindsThePlantedBlocks) {
  const auto decoder = mini(true);
  const CompressionResult result = compress_in_memory(
      *decoder, recipe_of({{"owl", {{"mean", 0.5}}}, {"wanda", {{"sparsity", FromStep{"owl"}}}}}), models("mini"), {});
  std::vector<std::pair<double, int>> blocks;
  for (int block = 0; block < 8; ++block) {
    const std::string name = fmt::format("model.layers.{}.mlp.up_proj", block);
    blocks.emplace_back(result.report["steps"][0]["values"].at(name).get<double>(), block);
  }
  std::sort(blocks.begin(), blocks.end());
  EXPECT_EQ((std::set<int>{blocks[0].second, blocks[1].second}), (std::set<int>{2, 5}));
  EXPECT_LT(blocks[1].first, blocks[2].first - 0.02);
}

}  // namespace
}  // namespace ockham
