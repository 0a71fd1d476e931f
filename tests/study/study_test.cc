// Reading, planning, resuming, sharding; every bad study file is refused with its place before any work.
#include "ockham/study/study.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "ockham/core/progress.h"
#include "ockham/report/html.h"
#include "ockham/report/published_scores.h"
#include "ockham/report/summary.h"
#include "ockham/report/text_formats.h"
#include "ockham/study/plan_backend.h"
#include "ockham/study/store.h"
#include "tests/study/scripted_fixture.h"

namespace ockham {
namespace {

class StudyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    clear_interrupt();
    make_home(scratch_);
  }
  Study read(const std::string& text) {
    scratch_.put("study.yaml", text);
    return read_study(scratch_.file("study.yaml"), options_, backend_);
  }
  std::string refusal(const std::string& text) {
    return error_text([&] {
      const Study study = read(text);
      run_study(study, options_, backend_);
    });
  }
  StudyOutcome run() { return run_study(read(study_text()), options_, backend_); }

  Scratch scratch_;
  ScriptedBackend backend_;
  StudyOptions options_ = options_in(scratch_, "out");
};

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

TEST_F(StudyTest, PlansEveryCellOnce) {
  const Study study = read(study_text());
  EXPECT_EQ(study.margin, 5);
  EXPECT_EQ(study.tasks.size(), 2u);
  // Calibration matters to wanda only: three draws; rtn and dense get one.
  std::multiset<std::string> groups;
  for (const StudyGroup& group : plan_groups(study, 1, 1))
    groups.insert(
        fmt::format("{} {} {}", study.models[group.model].name, study.recipes[group.recipe].name, group.seed));
  EXPECT_EQ(groups, (std::multiset<std::string>{"big dense 0", "small dense 0", "big wanda-50 0", "big wanda-50 1",
                                                "big wanda-50 2", "big rtn-4 0"}));
  EXPECT_EQ(plan_groups(study, 1, 1)[1].model, 1u) << "baselines come first";
}

TEST_F(StudyTest, ShardsCoverThePlanWithoutOverlap) {
  const Study study = read(study_text());
  std::multiset<std::string> all;
  for (int shard = 1; shard <= 4; ++shard)
    for (const StudyGroup& group : plan_groups(study, shard, 4))
      all.insert(fmt::format("{} {} {}", group.model, group.recipe, group.seed));
  EXPECT_EQ(all.size(), 6u);
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), 6u);
}

TEST_F(StudyTest, ShardsMergeToTheWholeStudy) {
  run();
  const Comparison whole = summarize(read_results(options_.directory));
  std::vector<StudyResults> parts;
  for (int shard = 1; shard <= 3; ++shard) {
    StudyOptions options = options_in(scratch_, fmt::format("part{}", shard));
    options.shard = shard;
    options.shards = 3;
    run_study(read(study_text()), options, backend_);
    parts.push_back(read_results(options.directory));
  }
  const Comparison merged = summarize(merge(std::move(parts)));
  ASSERT_EQ(merged.rows.size(), whole.rows.size());
  EXPECT_EQ(merged.cells_done, whole.cells_done);
  EXPECT_EQ(merged.cells_done, merged.cells_planned);
  for (size_t r = 0; r < whole.rows.size(); ++r) {
    EXPECT_EQ(merged.rows[r].label(), whole.rows[r].label());
    for (size_t c = 0; c < whole.columns.size(); ++c) {
      EXPECT_EQ(merged.rows[r].cells[c].score, whole.rows[r].cells[c].score);
      EXPECT_EQ(merged.rows[r].cells[c].change.value, whole.rows[r].cells[c].change.value);
    }
  }
}

TEST_F(StudyTest, MergingDifferentRecipesIsRefused) {
  run();
  StudyOptions options = options_in(scratch_, "other");
  run_study(read(replaced(study_text(), "sparsity: 0.5", "sparsity: 0.6")), options, backend_);
  std::vector<StudyResults> parts = {read_results(options_.directory), read_results(options.directory)};
  EXPECT_TRUE(has(error_text([&] { merge(std::move(parts)); }), {"recipe 'wanda-50'", "other"}));
}

TEST_F(StudyTest, NoisyCopiesGiveTheFloorOfEveryScore) {
  const Study study = read(study_text() + "noise_floor: 4\n");
  run_study(study, options_, backend_);
  const Comparison comparison = summarize(read_results(options_.directory));
  EXPECT_EQ(comparison.noise_copies, 4);
  for (const ComparisonRow& row : comparison.rows) {
    EXPECT_NE(row.recipe, kNoiseRecipe);
    for (const ComparisonCell& cell : row.cells) EXPECT_GT(cell.noise_floor, 0) << row.label();
  }
  EXPECT_TRUE(has(refusal(study_text() + "noise_floor: -1\n"), {"noise_floor", "0 to 100"}));
  EXPECT_TRUE(has(refusal(replaced(study_text(), "wanda-50", "noise") + "noise_floor: 1\n"), {"'noise'"}));
}

TEST_F(StudyTest, EveryRecipeAlsoWithACompressedCache) {
  options_.kv = "h2o,budget=0.3";
  const Study study = read(study_text());
  EXPECT_TRUE(study.recipe("dense+h2o-budget-0.3").recipe.steps.empty());
  const StudyRecipe& pruned = study.recipe("wanda-50+h2o-budget-0.3");
  EXPECT_EQ(pruned.seeds, study.recipe("wanda-50").seeds);
  EXPECT_NE(pruned.sha256, study.recipe("wanda-50").sha256);
  EXPECT_NE(pruned.text.find("# calibration data sha256"), std::string::npos);
  run_study(study, options_, backend_);
  const Comparison comparison = summarize(read_results(options_.directory));
  const auto row = std::find_if(comparison.rows.begin(), comparison.rows.end(),
                                [](const ComparisonRow& one) { return one.recipe == "dense+h2o-budget-0.3"; });
  ASSERT_NE(row, comparison.rows.end());
  EXPECT_EQ(row->family, MethodFamily::kCache);
  EXPECT_EQ(row->cache_policy, "h2o, budget 0.3");
  EXPECT_EQ(row->cache_bytes, 512);
  EXPECT_EQ(row->cache_kept, 0.25);
  EXPECT_EQ(row->cache_mass, 0.75);
  EXPECT_TRUE(row->cells[0].has_change);
  EXPECT_FALSE(comparison.baseline("big")->cache_bytes.has_value());
  const std::string html = html_report(read_results(options_.directory), comparison);
  EXPECT_NE(html.find("Compressed KV caches"), std::string::npos);
  EXPECT_NE(markdown_report(comparison).find("| h2o, budget 0.3 |"), std::string::npos);
}

TEST_F(StudyTest, ACacheAloneIsARecipe) {
  const Study study =
      read(replaced(study_text(), "\nrecipes: [", "\nrecipes: [{name: h2o, kv_cache: {policy: h2o}}, "));
  run_study(study, options_, backend_);
  EXPECT_EQ(backend_.compressed, 4) << "of the others alone";
  EXPECT_TRUE(has(refusal(replaced(study_text(), "\nrecipes: [",
                                   "\nrecipes: [{name: h2o, kv_cache: {policy: h2o}, params: {sparsity: 0.5}}, ")),
                  {"'h2o'", "cache alone", "params"}));
}

TEST_F(StudyTest, SecondRunHasNothingToDo) {
  const StudyOutcome first = run();
  EXPECT_EQ(first.cells_run, 12);
  EXPECT_EQ(backend_.compressed, 4);
  backend_ = ScriptedBackend();
  const StudyOutcome second = run();
  EXPECT_EQ(second.cells_run, 0);
  EXPECT_EQ(second.cells_kept, 12);
  EXPECT_EQ(backend_.compressed + backend_.opened, 0);
}

TEST_F(StudyTest, InterruptKeepsFinishedCellsAndResumes) {
  backend_.interrupt_after = 11;
  EXPECT_TRUE(has(error_text([&] { run(); }, ErrorKind::kInterrupted), {"run the same command again"}));
  clear_interrupt();
  backend_.interrupt_after = 0;
  const StudyOutcome rest = run();
  EXPECT_GT(rest.cells_kept, 0);
  EXPECT_EQ(rest.cells_kept + rest.cells_run, 12);
  StudyOptions whole = options_in(scratch_, "whole");
  run_study(read(study_text()), whole, backend_);
  EXPECT_EQ(contents(options_.directory), contents(whole.directory));
}

TEST_F(StudyTest, ModelsSideBySideStoreTheSame) {
  run();
  for (const int workers : {2, 3, 16}) {
    ScriptedBackend backend;
    backend.side_by_side = workers;
    backend.pause_us = 200;
    const StudyOptions options = options_in(scratch_, fmt::format("out{}", workers));
    EXPECT_EQ(run_study(read(study_text()), options, backend).cells_run, 12);
    EXPECT_EQ(contents(options.directory), contents(options_.directory)) << workers;
    EXPECT_EQ(backend.workers_set, (std::vector<int>{std::min(workers, 6), 1}));
  }
}

TEST_F(StudyTest, InterruptStopsEveryWorkerAndTheRestIsTakenUp) {
  backend_.side_by_side = 3;
  backend_.interrupt_after = 11;
  EXPECT_TRUE(has(error_text([&] { run(); }, ErrorKind::kInterrupted), {"run the same command again"}));
  clear_interrupt();
  backend_.interrupt_after = 0;
  const StudyOutcome rest = run();
  EXPECT_EQ(rest.cells_kept + rest.cells_run, 12);
  ScriptedBackend alone;
  StudyOptions whole = options_in(scratch_, "whole");
  run_study(read(study_text()), whole, alone);
  EXPECT_EQ(contents(options_.directory), contents(whole.directory));
  EXPECT_EQ(backend_.workers_set.back(), 1);
}

TEST_F(StudyTest, ChangedRecipeIsMeasuredAgainAndShownAlone) {
  run();
  const StudyOutcome outcome =
      run_study(read(replaced(study_text(), "sparsity: 0.5", "sparsity: 0.6")), options_, backend_);
  EXPECT_EQ(outcome.cells_run, 6);   // three draws of two tasks
  EXPECT_EQ(outcome.superseded, 9);  // and their compressions
  const StudyResults results = read_results(options_.directory);
  EXPECT_NE(results.recipe("wanda-50")->text.find("0.6"), std::string::npos);
  EXPECT_EQ(results.superseded_cells, 9);
}

TEST_F(StudyTest, ChangedModelIsMeasuredAgain) {
  run();
  backend_.model_version = "2";
  EXPECT_EQ(run().cells_run, 12);
}

TEST_F(StudyTest, RemovedRecipeIsNotShown) {
  run();
  run_study(read(replaced(study_text(), ", rtn-4]", "]")), options_, backend_);
  EXPECT_EQ(summarize(read_results(options_.directory)).rows.size(), 3u);
}

TEST_F(StudyTest, ChangedItemsAreRefused) {
  run();
  backend_.items = 60;
  std::filesystem::remove_all(scratch_.file("out/none"));
  const std::string text = error_text([&] {
    run_study(read(replaced(study_text(), "rtn-4", "{name: rtn-3, use: rtn, params: {bits: 3}}")), options_, backend_);
  });
  EXPECT_TRUE(has(text, {"items of task", "choose another -o"}));
}

TEST_F(StudyTest, DryRunWritesNothing) {
  const Study study = read(study_text());
  const std::vector<GroupEstimate> estimates = estimate_study(study, options_, backend_);
  EXPECT_EQ(estimates.size(), 6u);
  EXPECT_GT(estimates.back().seconds, 0);
  EXPECT_EQ(estimates.back().bytes, 500);
  EXPECT_FALSE(std::filesystem::exists(options_.directory));
  EXPECT_EQ(backend_.opened + backend_.compressed, 0);
  run();
  for (const GroupEstimate& estimate : estimate_study(study, options_, backend_)) EXPECT_EQ(estimate.done, 2u);
}

TEST_F(StudyTest, ModelsAreKeptOnlyOnRequest) {
  run();
  EXPECT_FALSE(std::filesystem::exists(scratch_.file("out/models")));
  options_ = options_in(scratch_, "kept");
  options_.keep_models = true;
  run();
  EXPECT_TRUE(std::filesystem::is_regular_file(scratch_.file("kept/models/big-wanda-50-s2/weights")));
  EXPECT_TRUE(std::filesystem::is_regular_file(scratch_.file("kept/recipes/wanda-50.yaml")));
}

TEST_F(StudyTest, TierAndMargin) {
  EXPECT_EQ(read(study_text() + "margin: {quick: 4, full: 1}\n").margin, 4);
  options_.tier = "full";
  EXPECT_EQ(read(study_text() + "margin: {quick: 4, full: 1}\n").margin, 1);
  EXPECT_EQ(read(study_text()).margin, 2);
  options_.margin = 3;
  EXPECT_EQ(read(study_text()).margin, 3);
}

TEST_F(StudyTest, BadStudiesAreRefusedBeforeAnyWork) {
  const std::string good = study_text();
  EXPECT_TRUE(has(refusal(good + "seed: [1]\n"), {"study.yaml", "seed", "seeds"}));
  EXPECT_TRUE(has(refusal(replaced(good, "rtn-4]", "rtn-5]")), {"study.yaml:2", "rtn-5", "did you mean"}));
  EXPECT_TRUE(has(refusal(replaced(good, "rtn-4]", "dense]")), {"recipe 'dense'", "twice"}));
  EXPECT_TRUE(has(refusal(replaced(good, "sparsity: 0.5", "sparsty: 0.5")), {"sparsty", "did you mean 'sparsity'"}));
  EXPECT_TRUE(has(refusal(replaced(good, "recipes: [dense, {", "recipes: [{")), {"baseline 'dense'"}));
  EXPECT_TRUE(
      has(refusal(replaced(good, "recipes: [dense]}", "recipes: [dens]}")), {"dens", "not among the study's recipes"}));
  EXPECT_TRUE(has(refusal(replaced(good, "name: small", "name: big")), {"model 'big'", "twice"}));
  EXPECT_TRUE(has(refusal(replaced(good, "name: small", "name: ../small")), {"../small", "letters"}));
  EXPECT_TRUE(has(refusal(replaced(good, "trial/*", "trail/*")), {"trail/*", "matches no task"}));
  EXPECT_TRUE(has(refusal(replaced(good, "seeds: [0, 1, 2]", "seeds: [0, 0]")), {"seed 0", "twice"}));
  EXPECT_TRUE(has(refusal(replaced(good, "seeds: [0, 1, 2]", "seeds: [-1]")), {"-1"}));
  EXPECT_TRUE(has(refusal(replaced(good, "data: made-up, ", "")), {"wanda-50", "calibration data"}));
  EXPECT_TRUE(has(refusal(good + "tier: medium\n"), {"medium", "quick or full"}));
  EXPECT_TRUE(has(refusal(good + "margin: 0\n"), {"margin 0"}));
  EXPECT_TRUE(has(refusal(replaced(good, "/models/small", "/models/missing")), {"missing"}));
  EXPECT_TRUE(has(refusal(replaced(good, "rtn-4]", "{name: rtn-7, use: rtn, params: {bits: 7}}]")), {"seven bits"}));
  EXPECT_EQ(backend_.opened + backend_.compressed, 0);
  EXPECT_FALSE(std::filesystem::exists(scratch_.file("out/results.sqlite")));
}

TEST_F(StudyTest, QuickstartPlanIsWhole) {
  options_.home = OCKHAM_SOURCE_DIR;
  const Study study = read_study(std::string(OCKHAM_SOURCE_DIR) + "/examples/quickstart.yaml", options_, backend_);
  EXPECT_EQ(plan_groups(study, 1, 1).size(), 22u);  // dense, rival, 8 without calibration, 4 x 3 draws
  std::set<std::string> dimensions;
  for (const Task& task : study.tasks) dimensions.insert(task.dimension);
  for (const char* dimension :
       {"toxicity", "stereotype", "adversarial_robustness", "ood_robustness", "adversarial_demonstrations", "privacy",
        "machine_ethics", "fairness", "knowledge", "perplexity"})
    EXPECT_TRUE(dimensions.contains(dimension)) << dimension;
  EXPECT_EQ(study.margin, 5);
}

TEST_F(StudyTest, ModelsAndRecipesMayHaveTheirOwnDraws) {
  const Study study = read(
      "models: [{name: big, path: /models/big}, {name: other, path: /models/other, seeds: [1]},\n"
      "  {name: small, path: /models/small, recipes: [dense], smaller_of: other}]\n"
      "recipes: [dense, {name: wanda-50, use: wanda, params: {sparsity: 0.5}, seeds: [0, 1]},\n"
      "  {name: wanda-60, use: wanda, params: {sparsity: 0.6}}, rtn-4]\n"
      "calibration: {data: made-up, samples: 4, tokens: 8}\nseeds: [5]\ntasks: [trial/*]\nnoise_floor: 2\n");
  std::multiset<std::string> groups;
  for (const StudyGroup& group : plan_groups(study, 1, 1))
    if (study.models[group.model].name != "big")
      groups.insert(
          fmt::format("{} {} {}", study.models[group.model].name, study.recipes[group.recipe].name, group.seed));
  EXPECT_EQ(groups, (std::multiset<std::string>{"other dense 5", "other wanda-50 1", "other wanda-60 5",
                                                "other rtn-4 5", "other noise 0", "other noise 1", "small dense 5"}));
  run_study(study, options_, backend_);
  const Comparison comparison = summarize(read_results(options_.directory));
  EXPECT_EQ(comparison.cells_done, comparison.cells_planned);
  for (const ComparisonRow& row : comparison.rows) {
    if (row.label() == "small (dense)") {
      EXPECT_EQ(row.compared_with, "other");
    }
    if (row.label() == "other wanda-50") {
      EXPECT_EQ(row.seeds, (std::vector<uint64_t>{1}));
    }
    if (row.label() == "big wanda-50") {
      EXPECT_EQ(row.seeds.size(), 2u);
    }
  }
  EXPECT_TRUE(has(refusal(replaced(study_text(), "recipes: [dense]}", "recipes: [dense], smaller_of: huge}")),
                  {"smaller_of 'huge'", "big, small"}));
  EXPECT_TRUE(has(refusal(replaced(study_text(), "rtn-4]", "{name: rtn-4, use: rtn-4, seeds: [1]}]")),
                  {"rtn-4", "draws no calibration data"}));
}

TEST_F(StudyTest, PublishedScoresStandBesideTheMeasuredOnes) {
  scratch_.put("scores.csv", "model,method,rate,privacy,fairness\nBig,dense,,50,1\nBig,RTN,4,50,99\nBig,AWQ,4,50,50\n");
  run_study(read(replaced(study_text(), "path: /models/big}", "path: /models/big, published: Big}") +
                 "published: scores.csv\n"),
            options_, backend_);
  const PublishedComparison published = compare_with_published(summarize(read_results(options_.directory)));
  ASSERT_EQ(published.figures.size(), 6u);
  EXPECT_EQ(published.name, "scores");
  EXPECT_EQ(published.figures[1].agreement, Agreement::kHigher);  // half of the answers are right
  EXPECT_EQ(published.figures[3].agreement, Agreement::kLower);
  EXPECT_EQ(published.figures[3].label, "rtn-4");
  EXPECT_EQ(published.count(Agreement::kNotMeasured), 2);
  EXPECT_TRUE(has(refusal(study_text() + "published: nowhere\n"), {"'nowhere'", "tasks/published"}));
  scratch_.put("bad.csv", "model,method,rate,privacy\nBig,dense,,150\n");
  EXPECT_TRUE(has(refusal(study_text() + "published: bad.csv\n"), {"'150'", "0 to 100"}));
}

// The paper's study is planned on a machine that has neither its models nor its data.
TEST(PaperStudy, IsPlannedWithoutWeights) {
  const std::string home = OCKHAM_SOURCE_DIR;
  StudyOptions options;
  options.home = home;
  options.directory = "/nowhere";
  options.is_plan = true;
  // Stands for an engine on which nothing lies.
  struct Empty final : StudyBackend {
    ModelInfo describe(const std::string& path) override { throw_input("{}: not here", path); }
    void check(const std::string&, const Recipe&) override {}
    std::string data_sha256(const std::string& data) override { throw_input("{}: not here", data); }
    using StudyBackend::open;
    CompressedModel open(const std::string&, std::optional<uint64_t>) override { return {}; }
    CompressedModel compress(const std::string&, const Recipe&, const std::string&) override { return {}; }
    Estimate estimate(const std::string&, const Recipe*) override { return {}; }
    EvalOptions eval_options() override { return {}; }
  } empty;
  PlanBackend plan(empty, home + "/models/shapes.json");
  const Study study = read_study(home + "/examples/decoding-compressed-trust.yaml", options, plan);
  std::map<std::string, int> groups;
  for (const StudyGroup& group : plan_groups(study, 1, 1))
    ++groups[study.models[group.model].name + " " + study.recipes[group.recipe].name];
  EXPECT_EQ(groups.size(), 16u + 10u + 10u + 3u);
  EXPECT_EQ(groups["Llama-2-13b-chat gptq-3"], 3);
  EXPECT_EQ(groups["Llama-2-13b-chat gptq-8"], 1);
  EXPECT_EQ(groups["Vicuna-13b-v1.3 gptq-3"], 1);
  // Every published figure has its version and its task.
  StudyResults results;
  results.study = study.description();
  for (const StudyRecipe& recipe : study.recipes) results.recipes.push_back({recipe.name, recipe.text, recipe.sha256});
  for (const Task& task : study.tasks) results.tasks.emplace(task.name, task);
  for (const auto& [name, count] : groups) {
    StoredCell cell;
    cell.model = name.substr(0, name.find(' '));
    cell.recipe = name.substr(name.find(' ') + 1);
    cell.task = kCompressionTask;
    results.cells.push_back(cell);
  }
  const PublishedComparison published = compare_with_published(summarize(results));
  EXPECT_EQ(published.figures.size(), 39u * 9u);
  for (const PublishedFigure& figure : published.figures)
    EXPECT_TRUE(figure.is_planned) << figure.model << " " << figure.version << " " << figure.dimension;
  // Sizes follow from the shapes.
  EXPECT_EQ(plan.describe("meta-llama/Llama-2-13b-chat-hf").parameters, 13'015'864'320);
  EXPECT_EQ(plan.describe("lmsys/vicuna-7b-v1.3").parameters, 6'738'415'616);
  EXPECT_TRUE(has(error_text([&] { plan.describe("org/unknown"); }), {"org/unknown", "llama-2-13b"}));
  bool is_said = false;
  for (const std::string& assumption : plan.assumptions())
    is_said = is_said || (has(assumption, {"Llama-2-13b-chat-hf", "shapes.json"}));
  EXPECT_TRUE(is_said);
  const StudyBackend::Estimate dense = plan.estimate("meta-llama/Llama-2-13b-chat-hf", nullptr);
  EXPECT_EQ(dense.bytes, 2 * int64_t{13'015'864'320});
  Recipe rtn = Recipe::load("rtn-4", home + "/recipes");
  // Four bits and a scale of two bytes per 128 weights, or what the recipe's groups say, against two bytes a weight.
  const StudyBackend::Estimate small = plan.estimate("meta-llama/Llama-2-13b-chat-hf", &rtn);
  EXPECT_LT(static_cast<double>(small.bytes), 0.31 * static_cast<double>(dense.bytes));
  EXPECT_GT(static_cast<double>(small.bytes), 0.25 * static_cast<double>(dense.bytes));
  EXPECT_GT(small.seconds, 0);
}

}  // namespace
}  // namespace ockham
