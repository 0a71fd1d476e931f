// Likelihood and exact-match scoring as lm-evaluation-harness's.
#include <gtest/gtest.h>

#include <cmath>

#include "ockham/core/error.h"
#include "ockham/eval/evaluate.h"
#include "ockham/eval/scorers/exact_match.h"
#include "ockham/eval/scorers/scorer.h"
#include "tests/eval/fake_model.h"

namespace ockham {
namespace {

Task make_task(const std::string& scorer, const std::map<std::string, ParamValue>& params = {}) {
  Task task;
  task.name = task.file = "test.yaml";
  task.scorer = scorer;
  task.scorer_params = params;
  return task;
}

ItemResult judged(const Task& task, const Json& item, const std::vector<double>& logprobs) {
  std::vector<ContinuationScore> scores;
  for (const double value : logprobs) scores.push_back({value, 1, value > -1});
  ItemResult result;
  result.extra = Json::object();
  make_scorer(task, nullptr)->judge_choice(item, scores, result);
  return result;
}

TEST(Choice, LengthsCountCodePointsOrBytes) {
  // Per character -2.0 against -1.5, per byte -1.0 against -1.5: each rule picks another option.
  const Json item = {{"id", "a"}, {"option", {"öö", "four"}}, {"label", 0}};
  const ItemResult result = judged(make_task("choice"), item, {-4, -6});
  EXPECT_EQ(result.extra["accuracy"], true);
  EXPECT_EQ(result.extra["accuracy_norm"], false);
  EXPECT_EQ(result.extra["accuracy_bytes"], true);
  EXPECT_EQ(judged(make_task("choice", {{"normalize", std::string("characters")}}), item, {-4, -6}).score, 0);
}

TEST(Choice, FirstWinsTiesAndListsAreRightInEveryPlace) {
  const Json item = {{"id", "a"}, {"option", {"x", "y", "z"}}, {"label", {1, 2}}};
  EXPECT_EQ(judged(make_task("choice"), item, {-1, -1, -1}).score, 0);
  EXPECT_EQ(judged(make_task("choice"), item, {-2, -2, -1}).score, 1);
  EXPECT_THROW(judged(make_task("choice"), {{"id", "a"}, {"option", {"x", "y"}}, {"label", 2}}, {-1, -2}), Error);
}

TEST(Choice, MassOfTheTruth) {
  const Task task = make_task("choice", {{"normalize", std::string("truth")}});
  Json item = {{"id", "a"}, {"option", {"x", "y", "z"}}, {"label", 0}, {"truth", {1, 0, 1}}};
  EXPECT_NEAR(judged(task, item, {std::log(0.1), std::log(0.2), std::log(0.1)}).score, 0.5, 1e-12);
  EXPECT_NEAR(judged(task, item, {-1000, -1001, -1000}).score, 2 / (2 + std::exp(-1.0)), 1e-12);  // no underflow
  item["truth"] = {1, 0};
  EXPECT_THROW(judged(task, item, {-1, -1, -1}), Error);
}

TEST(Likelihood, GreedyAccuracyAndPerplexityPerWord) {
  Task task = make_task("likelihood");
  task.metrics = {{"accuracy", "accuracy", true, true}, {"perplexity", "perplexity", false, false}};
  const Json item = {{"id", "a"}, {"option", {" word"}}};
  std::vector<ItemResult> items = {judged(task, item, {-0.5}), judged(task, item, {-2.5})};
  const std::vector<MetricResult> metrics = aggregate(task, items);
  EXPECT_DOUBLE_EQ(metrics[0].value, 50);
  EXPECT_NEAR(metrics[1].value, std::exp(1.5), 1e-9);
  EXPECT_EQ(metrics[1].unit, "ppl");
}

constexpr const char* kFilters =
    R"json([{"name": "strict", "filter": [{"function": "regex", "regex_pattern": "#### (-?[0-9.,]+)"},
        {"function": "take_first"}]},
       {"name": "flexible", "filter": [{"function": "regex", "group_select": -1,
        "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)"}, {"function": "take_first"}]}])json";

TEST(ExactMatch, FiltersCutTheAnswerOut) {
  const std::vector<FilterPipeline> filters = read_filters(kFilters, "test");
  EXPECT_EQ(apply_filters(filters[0], "so #### 12 and #### 13"), "12");
  EXPECT_EQ(apply_filters(filters[0], "so 12"), "[invalid]");
  EXPECT_EQ(apply_filters(filters[1], "first 3, then $1,200."), "$1,200.");
  EXPECT_EQ(apply_filters(filters[1], "first 3 then 4"), "4");
  EXPECT_EQ(apply_filters(read_filters("", "test")[0], " a "), " a ");
  for (const char* bad : {"{}", "[]", R"([{"name": "a"}])", R"([{"name": "a", "filter": [{"function": "map"}]}])",
                          R"([{"name": "a", "filter": [{"function": "regex", "regex_pattern": "("}]}])"})
    EXPECT_THROW(read_filters(bad, "test"), Error) << bad;
}

TEST(ExactMatch, BothEndsAndEveryPipeline) {
  Task task = make_task("exact_match", {{"filters", std::string(kFilters)},
                                        {"regexes_to_ignore", std::string(",\x1f(?s).*#### \x1f\\.$")},
                                        {"ignore_case", true}});
  task.world_suite = "items";
  task.items = {{Tier::kQuick, 0}, {Tier::kFull, 0}};
  task.samples = {{Tier::kQuick, 1}, {Tier::kFull, 1}};
  task.metrics = {{"strict", "filter:strict", true, true}, {"flexible", "filter:flexible", true, false}};
  const std::vector<Json> rows = {{{"id", "1"}, {"context", "right"}, {"answers", {"6 + 6 = 12\n#### 1,200"}}},
                                  {{"id", "2"}, {"context", "loose"}, {"answers", {"#### 12"}}},
                                  {{"id", "3"}, {"context", "empty"}, {"answers", {"#### 12"}}}};
  FakeModel model([](const std::string& prompt, uint64_t) {
    return prompt == "right" ? "so #### 1200" : prompt == "loose" ? "it is 12." : "";
  });
  EvalOptions options;
  options.world_items = [&](const std::string&) { return rows; };
  const TaskResult result = evaluate(model, task, options);
  EXPECT_NEAR(result.metrics[0].value, 100.0 / 3, 1e-9);
  EXPECT_NEAR(result.metrics[1].value, 2.0 / 3, 1e-9);
  EXPECT_EQ(result.items[2].extra["empty"], 1.0);
  EXPECT_EQ(result.items[2].score, 0);  // an empty answer is wrong
}

TEST(ExactMatch, AnyAliasCounts) {
  const Task task = make_task("exact_match", {{"ignore_case", true}, {"ignore_punctuation", true}});
  const auto scorer = make_scorer(task, nullptr);
  const auto score = [&](const std::string& text) {
    ItemResult result;
    result.extra = Json::object();
    scorer->judge({{"id", "1"}, {"answers", {"U.S.A.", "America"}}}, {text}, result);
    return result.score;
  };
  EXPECT_EQ(score("usa"), 1);
  EXPECT_EQ(score("AMERICA"), 1);
  EXPECT_EQ(score("in America"), 0);
  EXPECT_EQ(score(""), 0);
}

TEST(GenerationSettings, ReadsAndRefuses) {
  const GenerationSettings settings =
      read_generation_settings("max_gen_toks=64,temperature=0.7,top_p=0.9,until=\"a,b\",until=\\n");
  EXPECT_EQ(settings.max_tokens, 64);
  EXPECT_DOUBLE_EQ(settings.temperature.value(), 0.7);
  EXPECT_EQ(settings.stop.value(), (std::vector<std::string>{"a,b", "\n"}));
  EXPECT_DOUBLE_EQ(read_generation_settings("temperature=0.7,do_sample=false").temperature.value(), 0);
  for (const char* bad : {"x", "max_gen_toks=0", "temperature=hot", "beam=3", "top_p=2", "do_sample=maybe"})
    EXPECT_THROW(read_generation_settings(bad), Error) << bad;
}

}  // namespace
}  // namespace ockham
