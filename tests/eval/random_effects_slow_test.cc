// Pooling over models: cases by hand, and coverage where the truth is known.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "ockham/core/rng.h"
#include "ockham/eval/random_effects.h"

namespace ockham {
namespace {

TEST(RandomEffects, ByHand) {
  // Equal errors of 1: between = max(0, variance - 1), every weight equal, error = s / sqrt(n).
  const PooledEffect effect = random_effects({1, 3, 8}, {1, 1, 1});
  EXPECT_NEAR(effect.value, 4, 1e-12);
  EXPECT_NEAR(effect.between, std::sqrt(13 - 1), 1e-9);  // sample variance 13
  EXPECT_NEAR(effect.interval.high - effect.value, 4.302653 * std::sqrt(13.0 / 3), 1e-5);
  EXPECT_NEAR(effect.interval90.high - effect.value, 2.919986 * std::sqrt(13.0 / 3), 1e-5);
  EXPECT_NEAR(effect.q_p, std::exp(-13.0), 1e-12);  // Q = 26 with two degrees of freedom
  // 1/4 and 1 as weights where nothing lies between.
  const PooledEffect unequal = random_effects({1, 2}, {2, 1});
  EXPECT_NEAR(unequal.value, (0.25 * 1 + 1 * 2) / 1.25, 1e-12);
  EXPECT_EQ(unequal.between, 0);
}

TEST(RandomEffects, EqualValuesProveNoMoreThanTheItems) {
  const PooledEffect effect = random_effects({-2, -2, -2, -2}, {1, 1, 1, 1});
  EXPECT_NEAR(effect.interval.high - effect.interval.low, 2 * 1.959964 * 0.5, 1e-6);
  EXPECT_NEAR(effect.p_value, std::erfc(4 / std::sqrt(2.0)), 1e-9);
}

TEST(RandomEffects, OneModelKeepsItsInterval) {
  const PooledEffect effect = random_effects({-2}, {0.5});
  EXPECT_NEAR(effect.interval.low, -2 - 1.959964 * 0.5, 1e-9);
  EXPECT_NEAR(effect.error, 0.5, 1e-9);
}

TEST(RandomEffects, QuantilesAndSigns) {
  EXPECT_NEAR(student_quantile(0.05, 4), 2.776445, 1e-5);
  EXPECT_NEAR(student_quantile(0.05, 1), 12.7062, 1e-3);
  EXPECT_NEAR(sign_test(5, 0), 0.0625, 1e-12);
  EXPECT_NEAR(sign_test(6, 0), 0.03125, 1e-12);
  EXPECT_NEAR(sign_test(9, 1), 22.0 / 1024, 1e-12);
  EXPECT_EQ(sign_test(0, 0), 1);
}

// Share of 4000 simulated sets of models whose 95 % interval holds the true mean. docs/validity.md shows the numbers.
TEST(RandomEffects, IntervalsHoldTheTruth) {
  constexpr int kSets = 4000;
  Rng rng(5);
  for (const int models : {3, 5, 10})
    for (const double between : {0.0, 1.0, 4.0}) {
      int held = 0;
      for (int set = 0; set < kSets; ++set) {
        std::vector<double> values, errors;
        for (int m = 0; m < models; ++m) {
          errors.push_back(m % 2 == 0 ? 1.0 : 1.5);  // two sizes
          values.push_back(-3 + between * rng.normal() + errors.back() * rng.normal());
        }
        const Interval interval = random_effects(values, errors).interval;
        held += interval.low <= -3 && -3 <= interval.high;
      }
      const double share = static_cast<double>(held) / kSets;
      std::printf("%d models, spread %.0f between them: %.1f %%\n", models, between, 100 * share);
      EXPECT_GE(share, 0.93) << models << " models, " << between;
      // Never narrower than the items leave it: wide where nothing lies between few models.
      EXPECT_LE(share, between > 0 ? 0.975 : 0.99) << models << " models, " << between;
    }
}

}  // namespace
}  // namespace ockham
