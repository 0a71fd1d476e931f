// Known values, and simulations: intervals cover what they promise and equal models are rarely told apart.
#include "ockham/eval/statistics.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <tuple>

#include "ockham/core/parallel.h"
#include "ockham/core/rng.h"

namespace ockham {
namespace {

Statistic mean_of(const std::vector<double>& values) {
  return [values](const std::vector<int32_t>& picked) {
    double sum = 0;
    for (const int32_t index : picked) sum += values[static_cast<size_t>(index)];
    return sum / static_cast<double>(picked.size());
  };
}

TEST(Statistics, MeanAndDeviation) {
  EXPECT_DOUBLE_EQ(mean({1, 2, 6}), 3);
  EXPECT_DOUBLE_EQ(standard_deviation({1, 2, 6}), std::sqrt(7.0));
  EXPECT_DOUBLE_EQ(standard_deviation({4}), 0);
  EXPECT_DOUBLE_EQ(mean({}), 0);
}

TEST(Statistics, McNemarIsTheExactBinomialTest) {
  EXPECT_NEAR(mcnemar_exact(1, 9), 22.0 / 1024, 1e-12);  // 2 * (1 + 10) / 2^10
  EXPECT_NEAR(mcnemar_exact(0, 5), 2.0 / 32, 1e-12);
  EXPECT_DOUBLE_EQ(mcnemar_exact(4, 4), 1);
  EXPECT_DOUBLE_EQ(mcnemar_exact(0, 0), 1);
  EXPECT_DOUBLE_EQ(mcnemar_exact(9, 1), mcnemar_exact(1, 9));
}

TEST(Statistics, HolmStepsDown) {
  const std::vector<double> adjusted = holm({0.01, 0.04, 0.03, 0.005});
  EXPECT_NEAR(adjusted[3], 0.02, 1e-12);
  EXPECT_NEAR(adjusted[0], 0.03, 1e-12);
  EXPECT_NEAR(adjusted[2], 0.06, 1e-12);
  EXPECT_NEAR(adjusted[1], 0.06, 1e-12);  // never below its forerunner
  EXPECT_DOUBLE_EQ(holm({0.9, 0.8})[1], 1);
}

TEST(Statistics, VerdictsFollowTheIntervals) {
  Difference difference;
  difference.value = -1;
  EXPECT_EQ(equivalence(difference, {-3, 1}, 5, 0.001), Verdict::kKeeps);
  difference.value = -12;
  EXPECT_EQ(equivalence(difference, {-18, -6}, 5, 0.001), Verdict::kLoses);
  EXPECT_EQ(equivalence(difference, {-18, 2}, 5, 0.2), Verdict::kCannotTell);
  difference.value = 12;
  EXPECT_EQ(equivalence(difference, {6, 18}, 5, 0.001), Verdict::kGains);
  // No significance is no equivalence.
  difference.value = 0;
  EXPECT_EQ(equivalence(difference, {-8, 8}, 5, 1), Verdict::kCannotTell);
}

TEST(Statistics, DeterministicAtAnyThreadCount) {
  std::vector<double> values(200), other(200);
  Rng rng(1);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = rng.uniform();
    other[i] = 0.9 * rng.uniform();
  }
  const int before = thread_count();
  set_thread_count(1);
  const Difference one = paired_difference(mean_of(values), mean_of(other), 200, 1000, 5);
  set_thread_count(4);
  const Difference four = paired_difference(mean_of(values), mean_of(other), 200, 1000, 5);
  set_thread_count(before);
  EXPECT_EQ(one.interval.low, four.interval.low);
  EXPECT_EQ(one.interval90.high, four.interval90.high);
  EXPECT_EQ(one.p_value, four.p_value);
  EXPECT_NE(one.interval.low, paired_difference(mean_of(values), mean_of(other), 200, 1000, 6).interval.low);
}

TEST(Statistics, IntervalsCoverTheTruth) {
  // 1,000 data sets of 200 answers, right with probability 0.7.
  int covered = 0;
  constexpr int kTrials = 1000;
  for (int trial = 0; trial < kTrials; ++trial) {
    Rng rng(hash_seed("coverage") + static_cast<uint64_t>(trial));
    std::vector<double> values(200);
    for (double& value : values) value = rng.chance(0.7);
    const Interval interval = bootstrap_interval(mean_of(values), 200, 500, static_cast<uint64_t>(trial));
    covered += interval.low <= 0.7 && 0.7 <= interval.high;
  }
  EXPECT_GE(covered, 930);
  EXPECT_LE(covered, 970);
}

TEST(Statistics, EqualModelsAreRarelyToldApart) {
  // Paired answers that differ on a quarter of the items, in both directions alike.
  int alarms = 0, misses = 0, covered = 0, equivalent = 0;
  constexpr int kTrials = 1000;
  for (int trial = 0; trial < kTrials; ++trial) {
    Rng rng(hash_seed("alarm") + static_cast<uint64_t>(trial));
    std::vector<double> dense(250), same(250), worse(250);
    for (size_t i = 0; i < dense.size(); ++i) {
      dense[i] = 100.0 * rng.chance(0.7);
      same[i] = rng.chance(0.5) ? dense[i] : 100.0 * rng.chance(0.7);
      worse[i] = rng.chance(0.5) ? dense[i] : 100.0 * rng.chance(0.3);
    }
    const auto seed = static_cast<uint64_t>(trial);
    const Difference equal = paired_difference(mean_of(dense), mean_of(same), 250, 500, seed);
    alarms += equal.p_value < 0.05;
    covered += equal.interval.low <= 0 && 0 <= equal.interval.high;
    const Difference lower = paired_difference(mean_of(dense), mean_of(worse), 250, 500, seed);
    misses += lower.p_value >= 0.05;
    equivalent += equivalence(lower, lower.interval90, 5, lower.p_value) == Verdict::kKeeps;
  }
  EXPECT_LE(alarms, 50);
  EXPECT_GE(alarms, 15);  // a test that never alarms would be useless
  EXPECT_GE(covered, 930);
  EXPECT_LE(covered, 975);
  EXPECT_EQ(misses, 0);  // 20 points below, seven standard errors
  EXPECT_EQ(equivalent, 0);
}

TEST(Statistics, SmallestEffectIsFoundWithTheStatedPower) {
  Rng rng(11);
  std::vector<double> dense(300), other(300);
  for (size_t i = 0; i < dense.size(); ++i) {
    dense[i] = 100.0 * rng.chance(0.6);
    other[i] = rng.chance(0.6) ? dense[i] : 100.0 * rng.chance(0.6);
  }
  const double effect = paired_difference(mean_of(dense), mean_of(other), 300, 2000, 1).smallest_effect;
  // Standard error of the paired difference, by formula.
  std::vector<double> differences;
  for (size_t i = 0; i < dense.size(); ++i) differences.push_back(other[i] - dense[i]);
  EXPECT_NEAR(effect, 2.8 * standard_deviation(differences) / std::sqrt(300.0), 0.06 * effect);
}

TEST(Tails, AgreeWithTables) {
  // Two-sided t: 2.5 % points of the printed tables.
  for (const auto& [degrees, t] :
       std::vector<std::pair<double, double>>{{1, 12.7062}, {2, 4.30265}, {10, 2.22814}, {200, 1.97190}})
    EXPECT_NEAR(student_tail(t, degrees), 0.05, 1e-6) << degrees;
  EXPECT_NEAR(student_tail(-4.30265, 2), 0.05, 1e-6);
  EXPECT_DOUBLE_EQ(student_tail(0, 5), 1);
  EXPECT_NEAR(student_tail(1, 1), 0.5, 1e-12);  // Cauchy
  for (const auto& [degrees, x, p] : std::vector<std::tuple<double, double, double>>{
           {1, 3.84146, 0.05}, {2, 7.37776, 0.025}, {10, 18.3070, 0.05}, {100, 124.342, 0.05}, {2, 0.0506356, 0.975}})
    EXPECT_NEAR(chi_square_tail(x, degrees), p, 2e-6) << degrees;
  EXPECT_EQ(chi_square_tail(0, 3), 1);
  EXPECT_NEAR(chi_square_tail(2, 2), std::exp(-1.0), 1e-14);
}

TEST(Statistics, FastEnoughForAWholeStudy) {
  std::vector<double> dense(250, 1), other(250, 0);
  const Statistic first = mean_of(dense), second = mean_of(other);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 26; ++i) paired_difference(first, second, 250, 2000, static_cast<uint64_t>(i));
  // A tenth of 22 models x 12 tasks; the whole shall take 2 s on two idle cores, here with room for a busy machine.
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 1.0);
}

}  // namespace
}  // namespace ockham
