// Parameters of methods: checked against their declaration once, read many times.
#include "ockham/core/params.h"

#include <gtest/gtest.h>

#include "tests/io/scratch.h"

namespace ockham {
namespace {

using Type = ParamSpec::Type;

ParamSpec spec(const std::string& name, Type type, const ParamValue& fallback, double low, double high) {
  ParamSpec made;
  made.name = name;
  made.type = type;
  made.summary = "what " + name + " does";
  made.fallback = fallback;
  made.low = low;
  made.high = high;
  return made;
}

std::vector<ParamSpec> specs() {
  std::vector<ParamSpec> made = {spec("sparsity", Type::kReal, 0.5, 0, 1), spec("bits", Type::kInt, int64_t{4}, 2, 8),
                                 spec("symmetric", Type::kBool, true, 0, 0),
                                 spec("pattern", Type::kText, std::string("unstructured"), 0, 0),
                                 spec("rank", Type::kInt, int64_t{0}, 0, 0)};
  made[3].choices = {"unstructured", "2:4"};
  made[4].required = true;
  return made;
}

Params make(std::map<std::string, ParamValue> given) {
  given.try_emplace("rank", int64_t{3});
  return Params("r.yaml, step 1 (wanda)", specs(), given);
}

TEST(Params, GivesValuesAndDefaults) {
  const Params params = make({{"sparsity", 0.25}, {"pattern", std::string("2:4")}});
  EXPECT_EQ(params.real("sparsity"), 0.25);
  EXPECT_EQ(params.integer("bits"), 4);
  EXPECT_TRUE(params.flag("symmetric"));
  EXPECT_EQ(params.text("pattern"), "2:4");
  EXPECT_TRUE(params.is_given("sparsity"));
  EXPECT_FALSE(params.is_given("bits"));
  EXPECT_EQ(params.where(), "r.yaml, step 1 (wanda)");
}

TEST(Params, TakesAnIntForAReal) {
  EXPECT_EQ(make({{"sparsity", int64_t{1}}}).real("sparsity"), 1.0);
  EXPECT_TRUE(has(error_text([] { make({{"bits", 4.0}}); }), {"step 1 (wanda)", "bits"}));
}

TEST(Params, RefusesWhatIsNotDeclared) {
  EXPECT_TRUE(has(error_text([] { make({{"sparsty", 0.5}}); }), {"r.yaml, step 1 (wanda)", "sparsty", "sparsity"}));
  EXPECT_TRUE(has(error_text([] { make({{"sparsity", std::string("half")}}); }), {"sparsity", "half"}));
  EXPECT_TRUE(has(error_text([] { make({{"symmetric", int64_t{1}}}); }), {"symmetric", "1"}));
  EXPECT_TRUE(has(error_text([] { make({{"sparsity", 1.5}}); }), {"sparsity", "1.5", "0", "1"}));
  EXPECT_TRUE(has(error_text([] { make({{"bits", int64_t{9}}}); }), {"bits", "9", "2", "8"}));
  EXPECT_TRUE(has(error_text([] { make({{"pattern", std::string("3:4")}}); }), {"pattern", "3:4", "2:4"}));
  EXPECT_TRUE(has(error_text([] { Params("r.yaml", specs(), {}); }), {"r.yaml", "rank"}));
}

TEST(Params, RangeEndsAreInside) {
  EXPECT_EQ(make({{"sparsity", 0.0}}).real("sparsity"), 0.0);
  EXPECT_EQ(make({{"sparsity", 1.0}}).real("sparsity"), 1.0);
  EXPECT_EQ(make({{"bits", int64_t{8}}}).integer("bits"), 8);
  error_text([] { make({{"sparsity", std::numeric_limits<double>::quiet_NaN()}}); });
}

TEST(Params, CanPointToAnEarlierStep) {
  const Params params = make({{"sparsity", FromStep{"owl"}}});
  ASSERT_NE(params.from("sparsity"), nullptr);
  EXPECT_EQ(params.from("sparsity")->step, "owl");
  EXPECT_EQ(params.from("bits"), nullptr);
  const Params layer = params.with("sparsity", 0.75);
  EXPECT_EQ(layer.real("sparsity"), 0.75);
  EXPECT_EQ(layer.from("sparsity"), nullptr);
  EXPECT_NE(params.from("sparsity"), nullptr);
}

TEST(ClosestName, SuggestsWithinTwoEdits) {
  const std::vector<std::string> known = {"sparsity", "bits", "group_size"};
  EXPECT_EQ(closest_name("sparsty", known), "sparsity");
  EXPECT_EQ(closest_name("bit", known), "bits");
  EXPECT_EQ(closest_name("groupsize", known), "group_size");
  EXPECT_EQ(closest_name("entirely", known), "");
  EXPECT_EQ(closest_name("x", {}), "");
}

TEST(ToText, IsReadable) {
  EXPECT_EQ(to_text(ParamValue(true)), "true");
  EXPECT_EQ(to_text(ParamValue(int64_t{-3})), "-3");
  EXPECT_EQ(to_text(ParamValue(0.5)), "0.5");
  EXPECT_TRUE(has(to_text(ParamValue(std::string("2:4"))), {"2:4"}));
  EXPECT_TRUE(has(to_text(ParamValue(FromStep{"owl"})), {"owl"}));
}

}  // namespace
}  // namespace ockham
