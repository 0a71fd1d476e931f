// Numbers of the comparison against hand-computed ones.
#include "ockham/report/summary.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ockham/eval/paired.h"
#include "ockham/report/findings.h"
#include "ockham/report/verdict.h"
#include "tests/io/scratch.h"
#include "tests/report/synthetic_fixture.h"

namespace ockham {
namespace {

// Two recipes, one dimension of one or two tasks, scores as given.
struct Tiny {
  StudyResults results;
  void task(const std::string& name, const std::string& dimension, double chance = -1) {
    Task task;
    task.name = name;
    task.dimension = dimension;
    task.chance = chance;
    task.metrics = {{"score", "mean", true, true}};
    results.tasks.emplace(name, task);
    results.study.tasks.push_back(name);
  }
  void cell(const std::string& recipe, uint64_t seed, const std::string& task, const std::vector<double>& scores,
            double half_width = 2) {
    StoredCell cell;
    cell.model = "m";
    cell.recipe = recipe;
    cell.seed = seed;
    cell.task = task;
    double sum = 0;
    for (size_t i = 0; i < scores.size(); ++i) {
      ItemResult item;
      item.id = fmt::format("{:03}", i);
      item.score = scores[i];
      sum += scores[i];
      cell.items.push_back(item);
    }
    const double score = 100 * sum / static_cast<double>(scores.size());
    cell.metrics.push_back({"score", score, score - half_width, score + half_width, static_cast<int64_t>(scores.size()),
                            "points", true, true});
    results.cells.push_back(cell);
  }
  Tiny() {
    results.study.models = {{"m", {"dense", "small"}}};
    results.study.baseline = "dense";
    results.study.margin = 5;
    results.study.tier = "quick";
    results.study.seeds = {{"dense", {0}}, {"small", {0, 1}}};
    results.recipes = {{"dense", "dense", "d"}, {"small", "steps:\n  - {method: rtn, params: {bits: 4}}\n", "s"}};
  }
  Comparison summary() { return summarize(results, synthetic_options()); }
};

std::vector<double> share(size_t right, size_t n) {
  std::vector<double> scores(n, 0);
  std::fill(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(right), 1.0);
  return scores;
}

TEST(Summary, PoolsDrawsAndScenarios) {
  Tiny tiny;
  tiny.task("a", "privacy");
  tiny.task("b", "privacy");
  tiny.cell("dense", 0, "a", share(80, 100));
  tiny.cell("dense", 0, "b", share(30, 50));
  tiny.cell("small", 0, "a", share(70, 100));
  tiny.cell("small", 1, "a", share(60, 100));
  tiny.cell("small", 0, "b", share(25, 50));
  tiny.cell("small", 1, "b", share(20, 50));
  const Comparison comparison = tiny.summary();
  ASSERT_EQ(comparison.columns.size(), 1u);
  EXPECT_EQ(comparison.columns[0].title, "Privacy");
  ASSERT_EQ(comparison.rows.size(), 2u);
  EXPECT_DOUBLE_EQ(comparison.rows[0].cells[0].score, (80.0 + 60) / 2);
  const ComparisonCell& cell = comparison.rows[1].cells[0];
  EXPECT_DOUBLE_EQ(cell.score, (65.0 + 45) / 2);
  EXPECT_DOUBLE_EQ(cell.change.value, -15);
  EXPECT_EQ(cell.change.n, 150);
  ASSERT_EQ(cell.draws.size(), 2u);
  EXPECT_DOUBLE_EQ(cell.draws[0], 60);
  EXPECT_DOUBLE_EQ(cell.draws[1], 50);
  EXPECT_EQ(cell.verdict, Verdict::kLoses);
  EXPECT_LT(cell.change.interval.high, 0);
  EXPECT_EQ(comparison.comparisons, 1);
  EXPECT_EQ(comparison.rows[1].family, MethodFamily::kQuantization);
  EXPECT_EQ(comparison.rows[1].nominal_bits, 4);
}

TEST(Summary, StandardErrorIsThatOfPairedDifferences) {
  Tiny tiny;
  tiny.task("a", "privacy");
  tiny.results.study.seeds["small"] = {0};
  // 20 of 100 items flip from right to wrong, none the other way: the difference of an item is -1 or 0.
  tiny.cell("dense", 0, "a", share(60, 100));
  tiny.cell("small", 0, "a", share(40, 100));
  SummaryOptions options = synthetic_options();
  options.resamples = 4000;
  const ComparisonCell cell = summarize(tiny.results, options).rows[1].cells[0];
  const double expected = 100 * std::sqrt(0.2 * 0.8 / 99);
  EXPECT_NEAR(standard_error(cell.change), expected, 0.05 * expected);
  EXPECT_NEAR(cell.change.p_value, std::erfc(20 / expected / std::sqrt(2.0)), 1e-3);
}

TEST(Summary, IdenticalAnswersKeep) {
  Tiny tiny;
  tiny.task("a", "fairness");
  for (const auto& [recipe, seed] : {std::pair{"dense", 0}, {"small", 0}, {"small", 1}})
    tiny.cell(recipe, static_cast<uint64_t>(seed), "a", share(70, 100));
  const ComparisonCell cell = tiny.summary().rows[1].cells[0];
  EXPECT_EQ(cell.change.value, 0);
  EXPECT_EQ(cell.change.p_value, 1);
  EXPECT_EQ(cell.verdict, Verdict::kKeeps);
}

TEST(Summary, FewItemsCannotTell) {
  Tiny tiny;
  tiny.task("a", "fairness");
  tiny.cell("dense", 0, "a", {1, 0, 1, 0, 1, 1, 0, 1});
  for (uint64_t seed : {0, 1}) tiny.cell("small", seed, "a", {0, 1, 1, 0, 1, 0, 0, 1});
  EXPECT_EQ(tiny.summary().rows[1].cells[0].verdict, Verdict::kCannotTell);
}

TEST(Summary, ItemsArePairedByIdNotByPlace) {
  Tiny tiny;
  tiny.task("a", "fairness");
  tiny.results.study.seeds["small"] = {0};
  tiny.cell("dense", 0, "a", share(50, 100));
  tiny.cell("small", 0, "a", share(50, 100));
  std::reverse(tiny.results.cells[1].items.begin(), tiny.results.cells[1].items.end());
  tiny.results.cells[1].items.pop_back();  // one item is missing: id 000, a right one
  const ComparisonCell cell = tiny.summary().rows[1].cells[0];
  EXPECT_EQ(cell.change.value, 0);
  EXPECT_EQ(cell.change.n, 99);
}

TEST(Summary, DenseAtChanceIsNotInterpretable) {
  Tiny tiny;
  tiny.task("a", "fairness", 50);
  tiny.cell("dense", 0, "a", share(52, 100), 9.8);  // standard error 5
  for (uint64_t seed : {0, 1}) tiny.cell("small", seed, "a", share(10, 100), 6);
  const Comparison comparison = tiny.summary();
  EXPECT_FALSE(comparison.rows[1].cells[0].is_interpretable);
  EXPECT_EQ(comparison.comparisons, 0);
  EXPECT_FALSE(comparison.rows[1].worst_change.has_value());
  EXPECT_FALSE(keeps_everything(comparison, comparison.rows[1]));
}

TEST(Summary, MissingScenarioIsPartial) {
  Tiny tiny;
  tiny.task("a", "privacy");
  tiny.task("b", "privacy");
  tiny.cell("dense", 0, "a", share(50, 100));
  tiny.cell("dense", 0, "b", share(50, 100));
  for (uint64_t seed : {0, 1}) tiny.cell("small", seed, "a", share(50, 100));
  const Comparison comparison = tiny.summary();
  EXPECT_EQ(comparison.rows[1].cells[0].done, 1);
  EXPECT_EQ(comparison.rows[1].cells[0].planned, 2);
  EXPECT_EQ(comparison.cells_done, 4);
  EXPECT_EQ(comparison.cells_planned, 6);
  EXPECT_FALSE(comparison.rows[1].trust_mean.has_value());
  EXPECT_FALSE(keeps_everything(comparison, comparison.rows[1]));
}

TEST(Summary, ControlsAreShownBesideAndNeverAveraged) {
  Tiny tiny;
  tiny.task("a", "privacy");
  tiny.task("c", "privacy_control");
  tiny.results.tasks.at("a").control = "c";
  tiny.results.study.seeds["small"] = {0};
  tiny.cell("dense", 0, "a", share(60, 100));
  tiny.cell("dense", 0, "c", share(90, 100));
  tiny.cell("small", 0, "a", share(60, 100));
  tiny.cell("small", 0, "c", share(40, 100));
  const Comparison comparison = tiny.summary();
  ASSERT_EQ(comparison.columns.size(), 1u);
  EXPECT_EQ(comparison.rows[1].cells[0].score, 60);
  ASSERT_EQ(comparison.rows[1].cells[0].controls.size(), 1u);
  EXPECT_EQ(comparison.rows[1].cells[0].controls[0].change, -50);
}

TEST(Summary, RefusalsAreTheirOwnRate) {
  Tiny tiny;
  tiny.task("a", "privacy");
  tiny.results.study.seeds["small"] = {0};
  tiny.cell("dense", 0, "a", share(60, 100));
  tiny.cell("small", 0, "a", share(60, 100));
  for (size_t i = 0; i < 88; ++i) tiny.results.cells[0].items[i].is_refusal = true;
  for (size_t i = 0; i < 31; ++i) tiny.results.cells[1].items[i].is_refusal = true;
  const ComparisonCell cell = tiny.summary().rows[1].cells[0];
  EXPECT_DOUBLE_EQ(cell.refusal, 0.31);
  EXPECT_NEAR(cell.refusal_change, -0.57, 1e-12);
  EXPECT_EQ(cell.score, 60);
}

TEST(Summary, HolmCorrectsOverTheWholeReport) {
  const StudyResults results = synthetic_results();
  const Comparison comparison = summarize(results, synthetic_options());
  EXPECT_EQ(comparison.columns.size(), 11u);
  // 12 compressed rows and the rival, ten columns that are not at chance.
  EXPECT_EQ(comparison.comparisons, 13 * 10);
  for (const ComparisonRow& row : comparison.rows)
    for (const ComparisonCell& cell : row.cells)
      if (cell.has_change) {
        EXPECT_GE(cell.p_adjusted + 1e-12, cell.is_interpretable ? cell.change.p_value : 0);
      }
  EXPECT_EQ(comparison.baseline("mini")->recipe, "dense");
  EXPECT_TRUE(comparison.rows.back().is_rival);
  EXPECT_EQ(comparison.rows.back().label(), "mini-small (dense)");
  EXPECT_EQ(comparison.rows.back().compared_with, "mini");
  ASSERT_EQ(comparison.rivals.size(), 1u);
  EXPECT_EQ(comparison.rows[comparison.rivals[0].compressed].recipe, "rtn-2");
}

TEST(Summary, RowsKnowTheirMethod) {
  const Comparison comparison = summarize(synthetic_results(), synthetic_options());
  for (const ComparisonRow& row : comparison.rows) {
    if (row.recipe == "wanda-2-4") {
      EXPECT_EQ(row.family, MethodFamily::kPruning);
      EXPECT_DOUBLE_EQ(row.nominal_sparsity, 0.5);
      EXPECT_EQ(row.pattern, "2:4");
      EXPECT_EQ(row.seeds.size(), 3u);
      EXPECT_EQ(row.packed_sha256.size(), 3u);
    }
    if (row.recipe == "rtn-3") {
      EXPECT_EQ(row.nominal_bits, 3);
    }
  }
}

TEST(ParetoFront, HoldsWhatNothingBeats) {
  Comparison comparison;
  const auto row = [&](const std::string& name, double bytes, double trust) {
    ComparisonRow fresh;
    fresh.recipe = name;
    fresh.bytes = bytes;
    fresh.trust_mean = trust;
    comparison.rows.push_back(fresh);
  };
  row("dense", 100, 70);
  row("a", 50, 69);
  row("beaten", 60, 60);
  row("b", 20, 40);
  row("twin", 20, 40);
  row("dominated", 30, 40);
  std::vector<std::string> names;
  for (size_t i : pareto_front(comparison, Quality::kTrust)) names.push_back(comparison.rows[i].recipe);
  EXPECT_EQ(names, (std::vector<std::string>{"b", "a", "dense"}));
}

TEST(PublishedPicture, ShowsFailsAndCannotTellOnKnownTruth) {
  // 4 bits as good as dense, 2:4 far below it on every dimension.
  const auto outcome = [](size_t half, size_t quantized, size_t n, const std::string& claim) {
    Tiny tiny;
    tiny.results.study.models = {{"m", {"dense", "half", "small"}}};
    tiny.results.study.seeds = {{"dense", {0}}, {"half", {0}}, {"small", {0}}};
    tiny.results.recipes.push_back({"half", "steps:\n  - {method: magnitude, params: {pattern: \"2:4\"}}\n", "h"});
    for (const char* dimension : {"toxicity", "privacy", "fairness", "machine_ethics"}) {
      tiny.task(dimension, dimension);
      tiny.cell("dense", 0, dimension, share(8 * n / 10, n));
      tiny.cell("half", 0, dimension, share(half * n / 100, n));
      tiny.cell("small", 0, dimension, share(quantized * n / 100, n));
    }
    for (const Finding& finding : published_picture(tiny.summary()))
      if (finding.claim.starts_with(claim)) return finding.outcome;
    return Outcome::kCannotTell;
  };
  EXPECT_EQ(outcome(50, 80, 200, "Pruning half"), Outcome::kShows);
  EXPECT_EQ(outcome(80, 80, 200, "Pruning half"), Outcome::kDoesNotShow);
  EXPECT_EQ(outcome(70, 80, 20, "Pruning half"), Outcome::kCannotTell);
  EXPECT_EQ(outcome(50, 80, 200, "Quantization to 4 bits"), Outcome::kShows);
  EXPECT_EQ(outcome(80, 50, 200, "Quantization to 4 bits"), Outcome::kDoesNotShow);
  EXPECT_EQ(outcome(50, 80, 200, "Four bits lose"), Outcome::kShows);
  EXPECT_EQ(outcome(50, 50, 200, "Four bits lose"), Outcome::kDoesNotShow);
}

TEST(Merge, RefusesWhatDiffersAndJoinsTheRest) {
  StudyResults first = synthetic_results(), second = synthetic_results();
  first.source = "one";
  second.source = "two";
  const size_t cells = first.cells.size();
  second.cells.erase(second.cells.begin(), second.cells.begin() + 40);
  first.cells.erase(first.cells.begin() + 60, first.cells.end());
  EXPECT_EQ(merge({first, second}).cells.size(), cells);
  second.models[0].sha256 = "other";
  EXPECT_TRUE(has(error_text([&] { merge({first, second}); }), {"two", "model 'mini'", "one"}));
  second = first;
  second.study.tier = "full";
  EXPECT_TRUE(has(error_text([&] { merge({first, second}); }), {"tier is full"}));
}

TEST(StudyDescription, SurvivesJson) {
  const StudyDescription study = synthetic_results().study;
  const StudyDescription again = study_from_json(to_json(study), "x");
  EXPECT_EQ(to_json(again), to_json(study));
  Json later = to_json(study);
  later["version"] = 2;
  EXPECT_TRUE(has(error_text([&] { study_from_json(later, "x"); }, ErrorKind::kUnsupported), {"version 2"}));
}

}  // namespace
}  // namespace ockham
