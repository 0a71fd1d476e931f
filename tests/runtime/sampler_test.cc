#include "ockham/runtime/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "ockham/core/error.h"

namespace ockham {
namespace {

const std::vector<float> kLogits = {1.0F, 3.0F, 2.0F, 3.0F, -1.0F, 0.0F};

std::map<int32_t, double> shares(const SamplerSettings& settings, const std::vector<int32_t>& history = {}) {
  Sampler sampler(static_cast<int64_t>(kLogits.size()));
  Rng rng(1);
  std::map<int32_t, double> result;
  constexpr int kDraws = 40000;
  for (int i = 0; i < kDraws; ++i)
    result[sampler.sample(kLogits.data(), settings, history, rng, false).id] += 1.0 / kDraws;
  return result;
}

// Softmax of the logits over these ids.
std::map<int32_t, double> expected(const std::vector<int32_t>& ids, double temperature = 1) {
  double sum = 0;
  for (const int32_t id : ids) sum += std::exp(kLogits[static_cast<size_t>(id)] / temperature);
  std::map<int32_t, double> result;
  for (const int32_t id : ids) result[id] = std::exp(kLogits[static_cast<size_t>(id)] / temperature) / sum;
  return result;
}

// Four standard deviations of a share among so many draws are at most 0.01.
void expect_shares(const std::map<int32_t, double>& found, const std::map<int32_t, double>& wanted) {
  EXPECT_EQ(found.size(), wanted.size());
  for (const auto& [id, share] : wanted) EXPECT_NEAR(found.count(id) != 0 ? found.at(id) : 0, share, 0.01) << id;
}

TEST(Sampler, GreedyTakesTheLowestOfEqualIds) {
  Sampler sampler(6);
  Rng rng(1);
  const SampledToken token = sampler.sample(kLogits.data(), {}, {}, rng, true);
  EXPECT_EQ(token.id, 1);
  EXPECT_NEAR(token.logprob, std::log(expected({0, 1, 2, 3, 4, 5}).at(1)), 1e-6);
}

TEST(Sampler, DrawsByTheSettings) {
  expect_shares(shares({.temperature = 1}), expected({0, 1, 2, 3, 4, 5}));
  expect_shares(shares({.temperature = 0.5}), expected({0, 1, 2, 3, 4, 5}, 0.5));
  expect_shares(shares({.temperature = 1, .top_k = 3}), expected({1, 2, 3}));
  // Shares are 0.38, 0.38, 0.14, ...: two tokens hold 0.76, three 0.9.
  expect_shares(shares({.temperature = 1, .top_p = 0.75}), expected({1, 3}));
  expect_shares(shares({.temperature = 1, .top_p = 0.8}), expected({1, 2, 3}));
  expect_shares(shares({.temperature = 1, .min_p = 0.3}), expected({1, 2, 3}));
  expect_shares(shares({.temperature = 1, .top_k = 1, .top_p = 0.1, .min_p = 0.9}), expected({1}));
}

TEST(Sampler, ThePenaltyCountsOnceForEachToken) {
  Sampler sampler(6);
  Rng rng(1);
  const SamplerSettings settings = {.repetition_penalty = 1.4};
  const std::vector<int32_t> once = {1}, often = {1, 1, 1}, both = {1, 3, 4};
  EXPECT_EQ(sampler.sample(kLogits.data(), settings, once, rng, false).id, 3);
  EXPECT_EQ(sampler.sample(kLogits.data(), settings, both, rng, false).id, 1);  // 3 / 1.4 is still above 2
  EXPECT_EQ(sampler.sample(kLogits.data(), {.repetition_penalty = 1.6}, both, rng, false).id, 2);
  EXPECT_EQ(sampler.sample(kLogits.data(), {.repetition_penalty = 1.4}, often, rng, false).id, 3);
  const SampledToken token = sampler.sample(kLogits.data(), settings, once, rng, true);
  EXPECT_NEAR(token.logprob, std::log(expected({0, 1, 2, 3, 4, 5}).at(3)), 1e-6);  // as the model gave it
}

TEST(Sampler, SameSeedSameTokensAndLargeVocabularies) {
  std::vector<float> logits(5000);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = std::sin(static_cast<float>(i));
  const SamplerSettings settings = {.temperature = 1, .top_p = 0.9};
  std::vector<int32_t> first;
  for (int repeat = 0; repeat < 2; ++repeat) {
    Sampler sampler(5000);
    Rng rng(9);
    std::vector<int32_t> ids;
    for (int i = 0; i < 50; ++i) ids.push_back(sampler.sample(logits.data(), settings, {}, rng, false).id);
    if (repeat == 0) first = ids;
    EXPECT_EQ(ids, first);
  }
}

TEST(Sampler, NotANumberIsAnError) {
  const std::vector<float> logits(6, std::nanf(""));
  Sampler sampler(6);
  Rng rng(1);
  EXPECT_THROW(sampler.sample(logits.data(), {}, {}, rng, false), Error);
  EXPECT_THROW(sampler.sample(logits.data(), {.temperature = 1}, {}, rng, false), Error);
  EXPECT_THROW(sampler.sample(logits.data(), {.temperature = 1, .top_p = 0.5}, {}, rng, false), Error);
}

TEST(FindLikely, SortsAndBreaksTiesByTheId) {
  const float logits[] = {1, 3, 2, 3, 0, 2};
  const double all = 5;
  std::vector<LikelyToken> likely;
  find_likely(logits, 6, all, 4, likely);
  std::vector<int32_t> ids;
  for (const LikelyToken& token : likely) ids.push_back(token.id);
  EXPECT_EQ(ids, (std::vector<int32_t>{1, 3, 2, 5}));
  EXPECT_FLOAT_EQ(likely[0].logprob, -2);
  find_likely(logits, 6, all, 9, likely);
  EXPECT_EQ(likely.size(), 6u);
  find_likely(logits, 6, all, 0, likely);
  EXPECT_TRUE(likely.empty());
}

}  // namespace
}  // namespace ockham
