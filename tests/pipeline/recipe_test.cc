// Recipes: reading, targets, and everything that is refused before a weight is read.
#include "ockham/pipeline/recipe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <regex>

#include "ockham/core/error.h"
#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

Recipe parse(const std::string& text) {
  return Recipe::parse(YamlNode::parse(text, "r.yaml"), "r");
}

std::string recipes() {
  return std::string(OCKHAM_SOURCE_DIR).append("/recipes");
}

TEST(Recipe, ReadsEveryPart) {
  const Recipe recipe = parse(R"(
calibration: {data: calib.txt, samples: 16, tokens: 64, seed: 3}
ignore: [lm_head, "blocks.0.*"]
steps:
  - {method: wanda, targets: ["*.q_proj", "blocks.1.mlp.*"], params: {pattern: "2:4"}}
  - {method: rtn, params: {bits: 3, group_size: 8, symmetric: true}}
)");
  EXPECT_EQ(recipe.calibration.samples, 16);
  EXPECT_EQ(recipe.calibration.seed, 3U);
  EXPECT_TRUE(recipe.needs_calibration());
  const RecipePlan plan = plan_recipe(recipe, test::tiny_config());
  ASSERT_EQ(plan.steps.size(), 2U);
  EXPECT_EQ(plan.steps[0].targets,
            (std::set<std::string>{"model.layers.1.self_attn.q_proj", "model.layers.1.mlp.gate_proj",
                                   "model.layers.1.mlp.up_proj", "model.layers.1.mlp.down_proj"}));
  EXPECT_EQ(plan.steps[1].targets.size(), 7U);
  EXPECT_EQ(plan.steps[1].params.integer("bits"), 3);
  EXPECT_EQ(plan.needs, static_cast<unsigned>(kNeedsMeanSquare));
}

TEST(Recipe, TextIsCompleteAndStable) {
  const Recipe recipe =
      parse("calibration: {data: 'a \"b\"', samples: 2}\nsteps:\n  - {method: wanda, params: {sparsity: 0.25}}\n");
  const Recipe again = parse(recipe.to_yaml());
  EXPECT_EQ(again.to_yaml(), recipe.to_yaml());
  EXPECT_EQ(again.calibration.data, "a \"b\"");
  EXPECT_EQ(std::get<double>(again.steps[0].params.at("sparsity")), 0.25);
}

TEST(Recipe, MayCompressTheCacheAloneOrTogetherWithTheWeights) {
  const Recipe alone = parse("kv_cache: {policy: h2o, budget: 0.3}\n");
  EXPECT_TRUE(alone.steps.empty());
  EXPECT_FALSE(alone.needs_calibration());
  EXPECT_EQ(alone.kv_cache.value().text(), "h2o,budget=0.3");
  EXPECT_EQ(parse(alone.to_yaml()).to_yaml(), alone.to_yaml());
  const Recipe both = parse("steps:\n  - {method: rtn}\nkv_cache: {policy: streaming, positions: absolute}\n");
  EXPECT_EQ(both.steps.size(), 1U);
  EXPECT_EQ(parse(both.to_yaml()).kv_cache.value().text(), "streaming,positions=absolute");
  for (const char* text : {"kv_cache: {budget: 0.3}", "kv_cache: {policy: h2o, budget: {from: owl}}",
                           "kv_cache: {policy: h3o}", "kv_cache: h2o", "kv_cache: {policy: h2o}\nsteps: []\nx: 1"})
    EXPECT_THROW(parse(text), Error) << text;
}

TEST(Recipe, ParametersCanBeSetFromOutside) {
  Recipe recipe = Recipe::load("wanda", recipes());
  recipe.set_params({{"sparsity", 0.7}}, "study.yaml:4:3");
  EXPECT_EQ(plan_recipe(recipe, test::tiny_config()).steps[0].params.real("sparsity"), 0.7);
  EXPECT_THROW(recipe.set_params({{"bits", int64_t{4}}}, "study.yaml:4:3"), Error);
}

TEST(Recipe, EveryRecipeThatComesWithOckhamFitsALlama) {
  const ModelConfig config = test::recipe_config();
  const auto names = recipe_names(recipes());
  EXPECT_GE(names.size(), 15U);
  for (const std::string& name : names) {
    const Recipe recipe = Recipe::load(name, recipes());
    EXPECT_FALSE(recipe.summary.empty()) << name;
    if (recipe.steps.empty()) {
      EXPECT_TRUE(name.starts_with(recipe.kv_cache.value().name)) << name;
      continue;
    }
    EXPECT_EQ(plan_recipe(recipe, config).steps[0].targets.size(), 42U) << name;
    // Named after one of the methods, or by the scheme as people say it ("W4A16": weight and activation bits; "2:4").
    const bool is_scheme = std::regex_match(name, std::regex("([0-9]+:[0-9]+)?-?(W[0-9]+[AS][0-9]+)?"));
    EXPECT_TRUE(is_scheme || std::any_of(recipe.steps.begin(), recipe.steps.end(),
                                         [&](const RecipeStep& step) { return name.starts_with(step.method); }))
        << name;
  }
}

struct BadRecipe {
  const char* text;
  std::vector<std::string> expected;
};

TEST(Recipe, ImpossibleRecipesAreRefusedBeforeAnyWeightIsRead) {
  const std::vector<BadRecipe> table = {
      {"steps: []", {"steps", "at least one"}},
      {"stepz: []", {"stepz"}},
      {"steps:\n  - {method: wanba}", {"r.yaml:2", "wanba", "did you mean 'wanda'"}},
      {"steps:\n  - {method: wanda, target: [a]}", {"target", "targets"}},
      {"steps:\n  - {targets: [\"blocks.*\"]}", {"method"}},
      {"steps:\n  - {method: wanda, params: {sparsty: 0.5}}", {"sparsty", "did you mean 'sparsity'"}},
      {"steps:\n  - {method: wanda, params: {sparsity: 1.5}}", {"sparsity", "1.5", "0 to 1"}},
      {"steps:\n  - {method: wanda, params: {sparsity: half}}", {"sparsity", "half", "number"}},
      {"steps:\n  - {method: wanda, params: {pattern: \"4:2\"}}", {"pattern", "4:2"}},
      {"steps:\n  - {method: wanda, params: {pattern: \"2:4\", sparsity: 0.6}}", {"sparsity", "0.6", "2:4", "0.5"}},
      {"steps:\n  - {method: wanda, params: {pattern: \"2:5\"}}",
       {"2:5", "16 columns", "model.layers.0.self_attn.q_proj"}},
      {"steps:\n  - {method: wanda, params: {sparsity: {from: owl}}}", {"sparsity", "owl"}},
      {"steps:\n  - {method: magnitude}\n  - {method: wanda, params: {sparsity: {from: magnitude}}}",
       {"sparsity", "magnitude", "allocates nothing"}},
      {"steps:\n  - {method: owl, targets: [q_proj]}\n  - {method: wanda, params: {sparsity: {from: owl}}}",
       {"down_proj", "owl", "does not look at it"}},
      {"steps:\n  - {method: rtn, params: {bits: 1}}", {"bits", "1", "2 to 8"}},
      {"steps:\n  - {method: rtn, params: {bits: 4.5}}", {"bits", "4.5", "whole number"}},
      {"steps:\n  - {method: rtn, params: {group_size: 0}}", {"group_size", "0", "-1"}},
      {"steps:\n  - {method: rtn, targets: [\"blocks.2.*\"]}", {"blocks.2.*", "none", "14"}},
      {"steps:\n  - {method: rtn, targets: [\"*.q_proj\"]}\nignore: [\"blocks.*\"]", {"ignored"}},
      {"steps:\n  - {method: rtn}\nignore: [lm_haed]", {"lm_haed", "nothing"}},
      {"calibration: {samples: 0}\nsteps:\n  - {method: wanda}", {"samples", "0"}},
      {"calibration: {seed: -1}\nsteps:\n  - {method: wanda}", {"seed", "-1"}},
      {"calibration: {sample: 3}\nsteps:\n  - {method: wanda}", {"sample", "samples"}},
  };
  for (const BadRecipe& bad : table) {
    try {
      plan_recipe(parse(bad.text), test::tiny_config());
      ADD_FAILURE() << bad.text << "\nwas accepted";
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_EQ(error.kind(), ErrorKind::kInput) << text;
      for (const std::string& part : bad.expected)
        EXPECT_NE(text.find(part), std::string::npos) << text << "\nlacks " << part;
    }
  }
}

TEST(Recipe, UnknownNamesAreRefusedWithASuggestion) {
  try {
    Recipe::load("wanda-55", recipes());
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'wanda-50'"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace ockham
