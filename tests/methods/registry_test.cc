// Every registered method is complete: metadata, test file, default recipe. This is what keeps "two files and a test"
// true.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "ockham/core/error.h"
#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST(Registry, EveryMethodIsDescribed) {
  ASSERT_GE(methods().size(), 3U);
  std::vector<std::string> names;
  for (const MethodEntry* entry : methods()) {
    names.push_back(entry->name);
    EXPECT_GT(entry->summary.size(), 20U) << entry->name;
    EXPECT_NE(entry->paper.find("20"), std::string::npos) << entry->name << ": the paper needs a year";
    for (const ParamSpec& spec : entry->parameters) {
      EXPECT_GT(spec.summary.size(), 5U) << entry->name << "." << spec.name;
      const bool is_number = spec.type == ParamSpec::Type::kInt || spec.type == ParamSpec::Type::kReal;
      EXPECT_EQ(is_number, spec.low < spec.high) << entry->name << "." << spec.name << " needs a range";
    }
  }
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
}

TEST(Registry, EveryMethodHasItsFilesTestAndDefaultRecipe) {
  const fs::path root(OCKHAM_SOURCE_DIR);
  for (const MethodEntry* entry : methods()) {
    std::string stem = entry->name;
    std::replace(stem.begin(), stem.end(), '-', '_');
    EXPECT_TRUE(fs::exists(root / "ockham/methods" / entry->family / (stem + ".cc"))) << entry->name;
    const fs::path test = root / "tests/methods" / entry->family / (stem + "_test.cc");
    ASSERT_TRUE(fs::exists(test)) << test;
    EXPECT_NE(read(test).find("\nTEST("), std::string::npos) << test << " holds no test";
    const fs::path recipe = root / "recipes" / (entry->name + ".yaml");
    ASSERT_TRUE(fs::exists(recipe)) << recipe;
    EXPECT_NE(read(recipe).find("method: " + entry->name), std::string::npos) << recipe;
  }
}

TEST(Registry, EveryMethodRunsWithItsDefaults) {
  for (const MethodEntry* entry : methods()) {
    if (entry->allocate) continue;
    const auto method = entry->make(Params("test", entry->parameters, {}));
    Linear linear;
    linear.name = "model.layers.0.self_attn.q_proj";
    linear.weight = DenseWeight{at::randn({8, 16})};
    LayerStats stats = test::stats_of(at::randn({16, 40}, at::kDouble));
    stats.original = weight_to_dense(linear.weight, at::kFloat);
    stats.gradients.place = at::arange(1, 9, at::kDouble) / 8;
    method->check(linear.name, 8, 16);
    method->compress(linear, stats);
    EXPECT_EQ(weight_rows(linear.weight), 8) << entry->name;
    EXPECT_EQ(weight_columns(linear.weight), 16) << entry->name;
    EXPECT_TRUE(weight_to_dense(linear.weight, at::kFloat).isfinite().all().item<bool>()) << entry->name;
  }
}

TEST(Registry, UnknownNamesAreRefusedWithASuggestion) {
  try {
    find_method("wanba", "recipe.yaml:3:5");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInput);
    EXPECT_NE(std::string(error.what()).find("recipe.yaml:3:5"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("did you mean 'wanda'"), std::string::npos);
  }
}

}  // namespace
}  // namespace ockham
