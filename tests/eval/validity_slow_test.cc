// The instrument on models whose truth is known: how often equal models are called different, how often intervals hold
// the truth, whether more damage gives a lower score. docs/validity.md shows the numbers that these tests print.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "ockham/core/rng.h"
#include "ockham/eval/paired.h"
#include "tests/eval/fake_model.h"
#include "tests/io/scratch.h"

namespace ockham {
namespace {

// Right-or-wrong items of two models. Items differ in difficulty, so both sides fail on the same ones more often than
// chance: `right` and `other_right` are the models' accuracies, `shared` the share of items that both answer alike.
struct TwoModels {
  double right, other_right, shared;
};

PairedTask draw_items(const Task& task, const TwoModels& models, int64_t n, Rng& rng) {
  PairedTask pair{&task, {{}}, {{}}};
  for (int64_t i = 0; i < n; ++i) {
    ItemResult first, second;
    first.id = second.id = fmt::format("{:05}", i);
    if (rng.chance(models.shared)) {
      // Alike, as far as the accuracies allow: the better model is right on the difference too.
      const double u = rng.uniform();
      first.score = u < models.other_right ? 1 : 0;
      second.score = u < models.right ? 1 : 0;
    } else {
      first.score = rng.chance(models.other_right) ? 1 : 0;
      second.score = rng.chance(models.right) ? 1 : 0;
    }
    pair.first[0].push_back(first);
    pair.second[0].push_back(second);
  }
  return pair;
}

Statistic mean_points(const Task&, const std::vector<ItemResult>& items) {
  std::vector<float> scores;
  for (const ItemResult& item : items) scores.push_back(static_cast<float>(100 * item.score));
  return [scores](const std::vector<int32_t>& picked) {
    double sum = 0;
    for (const int32_t i : picked) sum += static_cast<double>(scores[static_cast<size_t>(i)]);
    return sum / static_cast<double>(picked.size());
  };
}

Difference compare(const Task& task, const TwoModels& models, int64_t n, int64_t resamples, Rng& rng) {
  return paired_change({draw_items(task, models, n, rng)}, resamples, 7, mean_points);
}

// Eight dimensions of one study, corrected together: any loss or gain is a false alarm.
TEST(Validity, EqualModelsAreRarelyToldApart) {
  constexpr int kStudies = 400, kDimensions = 8;
  const Task task;
  int alarms_at_worst = 0;
  for (const TwoModels& models : {TwoModels{0.5, 0.5, 0}, TwoModels{0.7, 0.7, 0.6}, TwoModels{0.95, 0.95, 0.8}}) {
    Rng rng(11);
    int alarms = 0;
    for (int study = 0; study < kStudies; ++study) {
      std::vector<Difference> differences;
      std::vector<double> p_values;
      for (int d = 0; d < kDimensions; ++d) {
        differences.push_back(compare(task, models, 100, 200, rng));
        p_values.push_back(differences.back().p_value);
      }
      const std::vector<double> adjusted = holm(p_values);
      bool is_alarm = false;
      for (int d = 0; d < kDimensions; ++d) {
        const auto i = static_cast<size_t>(d);
        const Verdict verdict = equivalence(differences[i], differences[i].interval90, 2, adjusted[i]);
        is_alarm = is_alarm || verdict == Verdict::kLoses || verdict == Verdict::kGains;
      }
      alarms += is_alarm;
    }
    std::printf("false alarms, accuracy %.2f, shared %.1f: %.1f %% of %d studies\n", models.right, models.shared,
                100.0 * alarms / kStudies, kStudies);
    alarms_at_worst = std::max(alarms_at_worst, alarms);
  }
  // 5 % and two standard errors of 400 draws.
  EXPECT_LE(alarms_at_worst, 0.072 * kStudies);
}

TEST(Validity, IntervalsHoldTheTruth) {
  constexpr int kRuns = 2000;
  const Task task;
  for (const TwoModels& models : {TwoModels{0.6, 0.5, 0.5}, TwoModels{0.7, 0.7, 0.5}, TwoModels{0.9, 0.8, 0.3}}) {
    for (const int64_t n : {60, 250}) {
      Rng rng(static_cast<uint64_t>(n));
      int holds = 0;
      for (int run = 0; run < kRuns; ++run) {
        const Difference difference = compare(task, models, n, 300, rng);
        const double truth = 100 * (models.other_right - models.right);
        holds += difference.interval.low <= truth && truth <= difference.interval.high;
      }
      const double share = 100.0 * holds / kRuns;
      std::printf("coverage of 95 %% intervals, %.1f against %.1f, %d items: %.1f %%\n", models.right,
                  models.other_right, static_cast<int>(n), share);
      EXPECT_GE(share, 93) << models.right << " " << n;
      EXPECT_LE(share, 97) << models.right << " " << n;
    }
  }
}

// The error of "keeps": a model that truly loses the whole margin may be called equal in 5 % of the cases at most.
TEST(Validity, ALossOfTheMarginIsRarelyCalledKept) {
  constexpr int kRuns = 2000;
  const Task task;
  Rng rng(5);
  int kept = 0, kept_equal = 0;
  for (int run = 0; run < kRuns; ++run) {
    const Difference lost = compare(task, {0.8, 0.75, 0.8}, 600, 200, rng);
    kept += equivalence(lost, lost.interval90, 5, 1) == Verdict::kKeeps;
    const Difference equal = compare(task, {0.8, 0.8, 0.8}, 600, 200, rng);
    kept_equal += equivalence(equal, equal.interval90, 5, 1) == Verdict::kKeeps;
  }
  std::printf("called kept: %.1f %% at a loss of the margin, %.1f %% of equal models (600 items)\n",
              100.0 * kept / kRuns, 100.0 * kept_equal / kRuns);
  EXPECT_LE(100.0 * kept / kRuns, 6.5);
  EXPECT_GE(100.0 * kept_equal / kRuns, 95);
}

// Through the whole pipeline: a share of the answers is spoiled, the same ones first.
TEST(Validity, MoreDamageGivesALowerScore) {
  const Scratch scratch;
  const Task task = read_task(
      scratch.put("t.yaml",
                  "task: t/t\nsummary: s\ndimension: d\nitems: {quick: 0, full: 0}\ndata: {world: w}\n"
                  "request: {kind: generate, max_tokens: 4}\nprompt: {system: s, description: d}\nscorer: contains\n"
                  "metrics:\n  - {name: accuracy, aggregate: score, better: higher, score: true}\n"));
  EvalOptions options;
  options.world_items = [](const std::string&) {
    std::vector<Json> items;
    for (int i = 0; i < 500; ++i)
      items.push_back(
          {{"id", fmt::format("i{:03}", i)}, {"input", fmt::format("question {}", i)}, {"answers", {"yes"}}});
    return items;
  };
  const auto measure = [&](double damage) {
    FakeModel model([damage](const std::string& prompt, uint64_t) {
      Rng rng(hash_seed(prompt));
      const bool is_known = rng.chance(0.8);
      return std::string(is_known && rng.uniform() >= damage ? "yes" : "no");
    });
    return evaluate(model, task, options);
  };
  const TaskResult dense = measure(0);
  double last = dense.metrics[0].value;
  std::vector<Verdict> verdicts;
  for (const double damage : {0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.8}) {
    const TaskResult damaged = measure(damage);
    const Difference change = paired_change({{&task, {damaged.items}, {dense.items}}}, 500, 1);
    EXPECT_LE(damaged.metrics[0].value, last);
    EXPECT_NEAR(change.value, -damage * dense.metrics[0].value, 4) << damage;
    verdicts.push_back(equivalence(change, change.interval90, 5, change.p_value));
    std::printf("damage %.2f: score %.1f, change %.1f (%.1f to %.1f), McNemar p %.2g, %s\n", damage,
                damaged.metrics[0].value, change.value, change.interval.low, change.interval.high, change.mcnemar_p,
                verdict_text(verdicts.back()).c_str());
    last = damaged.metrics[0].value;
  }
  EXPECT_EQ(verdicts.front(), Verdict::kKeeps);
  // Kept, then possibly unclear, then lost; never back.
  const auto rank = [](Verdict verdict) {
    return verdict == Verdict::kKeeps ? 0 : verdict == Verdict::kCannotTell ? 1 : verdict == Verdict::kLoses ? 2 : 3;
  };
  EXPECT_TRUE(
      std::is_sorted(verdicts.begin(), verdicts.end(), [&](Verdict a, Verdict b) { return rank(a) < rank(b); }));
  EXPECT_EQ(verdicts.back(), Verdict::kLoses);
}

}  // namespace
}  // namespace ockham
