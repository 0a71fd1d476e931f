// Recipes that weigh two texts: both run through every block, and the method sees statistics of each.
#include <ATen/core/grad_mode.h>

#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/pipeline/compress.h"
#include "ockham/pipeline/estimate.h"
#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

struct TwoTexts {
  test::ScratchDirectory scratch;
  std::string model = scratch.path("model"), first = scratch.path("first.npy"), second = scratch.path("second.npy");
  std::vector<std::vector<int32_t>> first_ids, second_ids;

  TwoTexts() {
    std::filesystem::create_directory(model);
    save_decoder(*Decoder::random(test::tiny_config(2), 11, DType::kF32), model, DType::kF32, "");
    for (int32_t row = 0; row < 3; ++row) {
      first_ids.emplace_back();
      second_ids.emplace_back();
      for (int32_t i = 0; i < 16; ++i) {
        first_ids.back().push_back((7 * i + row) % 20);
        second_ids.back().push_back(20 + (3 * i + row) % 20);
      }
    }
    write_token_ids_npy(first, first_ids);
    write_token_ids_npy(second, second_ids);
  }
  Recipe recipe(const std::string& data, const std::string& contrast, const std::string& choose = "difference") const {
    Recipe result;
    result.name = "test";
    result.calibration.data = data;
    result.contrast.data = contrast;
    result.steps.push_back(
        {"wanda-difference", {"blocks.*"}, {{"sparsity", 0.25}, {"keep", 0.25}, {"choose", choose}}, "test"});
    return result;
  }
  std::unique_ptr<Decoder> run(const Recipe& wanted, const std::string& name) const {
    compress(model, wanted, scratch.path(name), {});
    auto decoder = Checkpoint(scratch.path(name)).read_all(DType::kF32);
    decoder->make_dense();
    return decoder;
  }
};

Tensor dense(const Decoder& decoder, size_t block, size_t linear) {
  return std::get<DenseWeight>(decoder.blocks[block].linears[linear].weight).values;
}

// Mean squares of what the first block's query reads.
Tensor mean_square(const Decoder& decoder, const std::vector<std::vector<int32_t>>& rows) {
  std::vector<int64_t> flat;
  for (const auto& row : rows) flat.insert(flat.end(), row.begin(), row.end());
  const Tensor ids = at::tensor(flat, at::kLong).view({static_cast<int64_t>(rows.size()), -1});
  const Tensor normed =
      apply_norm(decoder.embed(ids), decoder.blocks[0].input_norm, decoder.blocks[0].input_norm_bias, decoder.config);
  return normed.flatten(0, 1).square().mean(0);
}

TEST(Contrast, TheMethodSeesBothTexts) {
  const at::NoGradGuard no_grad;
  const TwoTexts setup;
  const auto original = Checkpoint(setup.model).read_all(DType::kF32);
  const auto pruned = setup.run(setup.recipe(setup.first, setup.second), "out");
  const Tensor weights = dense(*original, 0, kQuery).abs();
  const Tensor own = (weights * mean_square(*original, setup.first_ids).sqrt()).flatten(),
               other = (weights * mean_square(*original, setup.second_ids).sqrt()).flatten();
  Tensor candidates = own.clone();
  candidates.index_fill_(0, std::get<1>(other.topk(weights.numel() / 4)), -1);
  Tensor wanted = at::zeros({weights.numel()}, at::kBool);
  wanted.index_fill_(0, std::get<1>(candidates.topk(weights.numel() / 4)), true);
  EXPECT_TRUE(at::equal((dense(*pruned, 0, kQuery) == 0).flatten(), wanted));
  for (size_t block = 0; block < 2; ++block)
    for (size_t linear = 0; linear < kLinearRoles; ++linear) {
      const Tensor values = dense(*pruned, block, linear);
      EXPECT_EQ((values == 0).sum().item<int64_t>(), values.numel() / 4);
    }
}

TEST(Contrast, TextsAreNotExchangeableAndBothAreReported) {
  const TwoTexts setup;
  const auto one = setup.run(setup.recipe(setup.first, setup.second), "one"),
             two = setup.run(setup.recipe(setup.second, setup.first), "two");
  for (size_t block = 0; block < 2; ++block) EXPECT_FALSE(at::equal(dense(*one, block, kUp), dense(*two, block, kUp)));
  const Json report = read_json_file(setup.scratch.path("one") + "/compression.json");
  EXPECT_EQ(report["calibration"]["data"], setup.first);
  EXPECT_EQ(report["contrast"]["data"], setup.second);
  EXPECT_NE(report["contrast"]["sha256"], report["calibration"]["sha256"]);
  EXPECT_EQ(report["contrast"]["samples"], 3);
}

TEST(Contrast, RandomWeightsNeedNoText) {
  const TwoTexts setup;
  const Recipe recipe = setup.recipe("", "", "random");
  EXPECT_FALSE(recipe.needs_calibration());
  EXPECT_FALSE(recipe.needs_contrast());
  const auto pruned = setup.run(recipe, "out");
  EXPECT_EQ((dense(*pruned, 1, kDown) == 0).sum().item<int64_t>(), dense(*pruned, 1, kDown).numel() / 4);
}

TEST(Contrast, AMissingSecondTextIsNamed) {
  const TwoTexts setup;
  try {
    compress(setup.model, setup.recipe(setup.first, ""), setup.scratch.path("out"), {});
    FAIL() << "ran on one text";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'contrast'"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(std::filesystem::exists(setup.scratch.path("out")));
}

// Gradual allocation compresses the blocks before it looks at them again.
TEST(Contrast, TakesAnAllocatedSparsity) {
  const TwoTexts setup;
  Recipe recipe = setup.recipe(setup.first, setup.second);
  recipe.steps.insert(
      recipe.steps.begin(),
      {"owl", {"blocks.*"}, {{"mean", 0.25}, {"lambda", 0.1}, {"m", 2.0}, {"steps", int64_t{2}}}, "test"});
  recipe.steps.back().params["sparsity"] = FromStep{"owl"};
  const auto pruned = setup.run(recipe, "out");
  int64_t zeros = 0, weights = 0;
  for (size_t block = 0; block < 2; ++block)
    for (size_t linear = 0; linear < kLinearRoles; ++linear) {
      const Tensor values = dense(*pruned, block, linear);
      zeros += (values == 0).sum().item<int64_t>();
      weights += values.numel();
    }
  EXPECT_NEAR(static_cast<double>(zeros) / static_cast<double>(weights), 0.25, 0.01);
}

TEST(Contrast, RecipesKeepTheirSecondText) {
  const TwoTexts setup;
  Recipe recipe = setup.recipe("a.txt", "b.txt");
  recipe.contrast.samples = 5;
  const Recipe again = Recipe::parse(YamlNode::parse(recipe.to_yaml(), "r.yaml"), "r");
  EXPECT_EQ(again.to_yaml(), recipe.to_yaml());
  EXPECT_EQ(again.contrast.data, "b.txt");
  EXPECT_EQ(again.contrast.samples, 5);
  EXPECT_TRUE(again.needs_contrast());
  EXPECT_GT(estimate_recipe(Checkpoint(setup.model), recipe, DType::kF32).seconds, 0);
}

}  // namespace
}  // namespace ockham
