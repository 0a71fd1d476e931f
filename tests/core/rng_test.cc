// Random numbers are part of the file formats: every value here must be the same on every machine and in every version.
#include "ockham/core/rng.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace ockham {
namespace {

TEST(Rng, StreamOfASeedNeverChanges) {
  // splitmix64 from 0 gives these four words (published test vector), which seed xoshiro256**; the outputs follow by
  // hand from its definition rotl(s1 * 5, 7) * 9.
  const uint64_t s[] = {0xe220a8397b1dcdafu, 0x6e789e6aa1b965f4u, 0x06c45d188009454fu, 0xf88bb8a8724c81ecu};
  const auto rotl = [](uint64_t x, int k) { return (x << k) | (x >> (64 - k)); };
  Rng rng(0);
  EXPECT_EQ(rng.next(), rotl(s[1] * 5, 7) * 9);
  // The state after one step: s1 ^= s2 ^ s0 with the words of before.
  EXPECT_EQ(rng.next(), rotl((s[1] ^ s[2] ^ s[0]) * 5, 7) * 9);
}

TEST(Rng, SameSeedSameStream) {
  Rng a(42), b(42), c(43);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const uint64_t x = a.next();
    EXPECT_EQ(x, b.next());
    differs = differs || x != c.next();
  }
  EXPECT_TRUE(differs);
}

TEST(Rng, UniformCoversItsRange) {
  Rng rng(1);
  double sum = 0, low = 1, high = 0;
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = rng.uniform();
    sum += x;
    low = std::min(low, x);
    high = std::max(high, x);
  }
  EXPECT_GE(low, 0.0);
  EXPECT_LT(high, 1.0);
  EXPECT_NEAR(sum / kDraws, 0.5, 0.005);  // 5 standard errors
}

TEST(Rng, BelowIsUnbiased) {
  Rng rng(2);
  std::vector<int> counts(7);
  constexpr int kDraws = 70'000;
  for (int i = 0; i < kDraws; ++i) ++counts.at(rng.below(7));
  for (const int count : counts) EXPECT_NEAR(count, kDraws / 7, 500);
  EXPECT_EQ(rng.below(1), 0u);
}

TEST(Rng, NormalHasMeanZeroAndVarianceOne) {
  Rng rng(3);
  double sum = 0, squares = 0;
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = rng.normal();
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 0.016);
  EXPECT_NEAR(squares / kDraws, 1.0, 0.023);
}

TEST(Rng, ShuffleKeepsTheElements) {
  std::vector<int> values(50);
  std::iota(values.begin(), values.end(), 0);
  std::vector<int> shuffled = values;
  Rng(4).shuffle(shuffled);
  EXPECT_NE(shuffled, values);
  std::sort(shuffled.begin(), shuffled.end());
  EXPECT_EQ(shuffled, values);
  std::vector<int> none;
  Rng(4).shuffle(none);
}

TEST(Seeds, MixingDependsOnBothAndOnTheOrder) {
  EXPECT_EQ(mix_seed(1, 2), mix_seed(1, 2));
  EXPECT_NE(mix_seed(1, 2), mix_seed(2, 1));
  EXPECT_NE(mix_seed(1, 2), mix_seed(1, 3));
  EXPECT_NE(mix_seed(0, 0), 0u);
  EXPECT_EQ(hash_seed("privacy"), hash_seed("privacy"));
  EXPECT_NE(hash_seed("privacy"), hash_seed("Privacy"));
}

}  // namespace
}  // namespace ockham
