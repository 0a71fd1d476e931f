// Which tokens stay, against explicit sets and the examples of the papers' specifications.
#include "ockham/runtime/kv_choice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

namespace ockham {
namespace {

KvPolicy choice_policy(const std::string& text) {
  return parse_kv_policy("test", text);
}

// Held positions of a head, in ascending order.
std::vector<int32_t> held_positions(const KvChoice& choice, int64_t free_slot = -1, int64_t block = 0,
                                    int64_t head = 0) {
  std::vector<int32_t> result;
  for (int64_t s = 0; s < choice.slots(); ++s)
    if (s != free_slot) result.push_back(choice.head(block, head).positions[s]);
  std::sort(result.begin(), result.end());
  return result;
}

// One token after the other: `row` gives the weight of key j for query i. Returns what is held after each.
template <typename Row>
std::vector<std::vector<int32_t>> decode(KvChoice& choice, int64_t tokens, const Row& row) {
  std::vector<std::vector<int32_t>> result;
  for (int64_t i = 0; i < tokens; ++i) {
    choice.append(1);
    const KvHead head = choice.head(0, 0);
    if (head.scores != nullptr) {
      double sum = 0;
      for (int64_t s = 0; s < choice.slots(); ++s) sum += row(i, head.positions[s]);
      for (int64_t s = 0; s < choice.slots(); ++s)
        head.scores[s] += static_cast<float>(row(i, head.positions[s]) / sum);
    }
    int64_t free_slot = -1;
    if (choice.excess() > 0) {
      choice.prepare(0, false);
      free_slot = choice.drop_one(0, 0);
      choice.finish(false);
    }
    result.push_back(held_positions(choice, free_slot));
  }
  return result;
}

TEST(KvChoice, HeavyHittersOfTheWorkedExample) {
  const std::vector<std::vector<double>> rows = {
      {1}, {.6, .4}, {.5, .2, .3}, {.4, .1, .2, .3}, {.3, .05, .35, .1, .2}, {.1, .3, .2, .1, .1, .2}};
  KvChoice choice;
  choice.reset(choice_policy("h2o,budget=3,heavy=0.6667"), 1, 1, 4);
  ASSERT_EQ(KvRule::of(choice.policy(), 6).recent, 1);
  const auto kept =
      decode(choice, 6, [&](int64_t i, int32_t j) { return rows[static_cast<size_t>(i)][static_cast<size_t>(j)]; });
  const std::vector<std::vector<int32_t>> wanted = {{0}, {0, 1}, {0, 1, 2}, {0, 1, 3}, {0, 1, 4}, {0, 1, 5}};
  EXPECT_EQ(kept, wanted);
  EXPECT_NEAR(choice.head(0, 0).scores[0], 3.1044, 5e-5);
  EXPECT_NEAR(choice.head(0, 0).scores[1], 1.2055, 5e-5);
}

TEST(KvChoice, SinksAndTheNewestAtToken20) {
  KvChoice choice;
  choice.reset(choice_policy("streaming,budget=8,sinks=4"), 1, 1, 9);
  decode(choice, 19, [](int64_t, int32_t) { return 1.0; });
  choice.append(1);
  choice.prepare(0, false);
  const int64_t free_slot = choice.drop_one(0, 0);
  choice.finish(false);
  EXPECT_EQ(held_positions(choice, free_slot), (std::vector<int32_t>{0, 1, 2, 3, 16, 17, 18, 19}));
  std::vector<std::pair<int32_t, int32_t>> places;
  const KvHead head = choice.head(0, 0);
  for (int64_t s = 0; s < choice.slots(); ++s)
    if (s != free_slot) places.emplace_back(head.positions[s], head.places[s]);
  std::sort(places.begin(), places.end());
  for (int32_t i = 0; i < 8; ++i) EXPECT_EQ(places[static_cast<size_t>(i)].second, i);
  choice.append(1);
  EXPECT_EQ(choice.place(20), 8);
  EXPECT_EQ(choice.slot(0, 0, 20), free_slot);
}

TEST(KvChoice, ColumnsOfThePatterns) {
  const auto seen = [](KvRule rule, int64_t row) {
    rule.read = row + 1;
    std::vector<int64_t> keys;
    for (int64_t j = 0; j <= row; ++j)
      if (rule.rank(j) != KvRule::kFree) keys.push_back(j);
    return keys;
  };
  // Row 7, the last 2 and every third; row 6, stretches of 4 with their last column; row 6 of a window of 2.
  EXPECT_EQ(seen({.recent = 2, .stride = 3}, 7), (std::vector<int64_t>{2, 5, 6, 7}));
  EXPECT_EQ(seen({.recent = 3, .stretch = 4, .summary = 1}, 6), (std::vector<int64_t>{3, 4, 5, 6}));
  EXPECT_EQ(seen({.recent = 2}, 6), (std::vector<int64_t>{5, 6}));
}

TEST(KvChoice, AKeyOnceDroppedIsNeverWantedAgain) {
  for (const char* text : {"local,budget=6", "strided,budget=0.3", "strided,budget=12", "fixed,budget=0.3",
                           "fixed,budget=12", "fixed,budget=0.4,heavy=0.5", "strided,budget=16,heavy=0.5"}) {
    KvChoice choice;
    choice.reset(choice_policy(text), 1, 1, 8);
    std::mt19937 random(3);
    const auto kept = decode(choice, 150, [&](int64_t, int32_t) { return 1.0 + random() % 100; });
    for (size_t i = 1; i < kept.size(); ++i) {
      EXPECT_EQ(static_cast<int64_t>(kept[i].size()), choice.policy().budget_of(static_cast<int64_t>(i) + 1)) << text;
      std::set<int32_t> before(kept[i - 1].begin(), kept[i - 1].end());
      before.insert(static_cast<int32_t>(i));
      EXPECT_TRUE(std::includes(before.begin(), before.end(), kept[i].begin(), kept[i].end())) << text << " " << i;
      EXPECT_EQ(kept[i].back(), static_cast<int32_t>(i)) << text;
    }
  }
}

TEST(KvChoice, AttentionAndErrorsTogether) {
  for (const auto& [lambda, wanted] :
       std::vector<std::pair<std::string, std::vector<int32_t>>>{{"1", {0, 1}}, {"0.5", {0, 2}}}) {
    KvChoice choice;
    choice.reset(choice_policy("qhitter,budget=2,heavy=1,lambda=" + lambda), 1, 1, 4);
    choice.append(4);
    const std::vector<float> scores = {5, 3, 2.9F, .5F}, errors = {.2F, 1, .1F, .05F};
    const KvHead head = choice.head(0, 0);
    for (size_t s = 0; s < 4; ++s) {
      head.scores[s] = scores[s];
      if (head.key_errors != nullptr) head.key_errors[s] = head.value_errors[s] = errors[s];
    }
    choice.prepare(0, true);
    choice.choose(0, 0);
    choice.compact(0, 0);
    choice.finish(true);
    EXPECT_EQ(held_positions(choice), wanted) << lambda;
    EXPECT_NEAR(choice.kept_share(), (5 + scores[static_cast<size_t>(wanted[1])]) / 11.4, 1e-6);
  }
}

// Explicit sets: who must go of those that are held, when `kept` may stay.
std::vector<int32_t> stays(const KvPolicy& policy, std::vector<int32_t> held_now, const std::vector<double>& score,
                           int64_t read) {
  const int64_t budget = policy.budget_of(read);
  const auto heavy = static_cast<int64_t>(policy.heavy * static_cast<double>(budget) + 1e-9);
  const int64_t sinks = std::min(policy.sinks, budget), recent = budget - sinks - std::min(heavy, budget - sinks);
  while (static_cast<int64_t>(held_now.size()) > budget) {
    auto victim = held_now.end();
    for (auto j = held_now.begin(); j != held_now.end(); ++j) {
      if (*j < sinks || *j >= read - recent) continue;
      const bool is_lower = victim == held_now.end() ||
                            (policy.heavy > 0 && score[static_cast<size_t>(*j)] < score[static_cast<size_t>(*victim)]);
      if (is_lower) victim = j;
    }
    held_now.erase(victim);
  }
  return held_now;
}

TEST(KvChoice, EqualsExplicitSetsOnRandomAttention) {
  std::mt19937 random(11);
  for (const char* text : {"h2o,budget=0.4", "h2o,budget=9,heavy=0.7,sinks=2", "local,budget=0.5,sinks=1",
                           "streaming,budget=10,sinks=3", "h2o,budget=0.25,heavy=1"}) {
    const KvPolicy policy = choice_policy(text);
    for (int round = 0; round < 20; ++round) {
      constexpr int64_t kBlocks = 2, kHeads = 3, kUnits = kBlocks * kHeads;
      KvChoice choice;
      choice.reset(policy, kBlocks, kHeads, round);
      std::vector<std::vector<int32_t>> wanted(kUnits);
      std::vector<std::vector<double>> scores(kUnits);
      const auto cut = [&](bool is_step) {
        const int64_t excess = choice.excess();
        const bool compacts = !is_step || excess > 1;
        std::vector<int64_t> freed(kUnits, -1);
        for (int64_t unit = 0; excess > 0 && unit < kUnits; ++unit) {
          if (unit % kHeads == 0) choice.prepare(unit / kHeads, !is_step);
          if (compacts) {
            choice.choose(unit / kHeads, unit % kHeads);
            choice.compact(unit / kHeads, unit % kHeads);
          } else {
            freed[static_cast<size_t>(unit)] = choice.drop_one(unit / kHeads, unit % kHeads);
          }
        }
        if (excess > 0) choice.finish(compacts);
        for (size_t unit = 0; unit < kUnits; ++unit) {
          wanted[unit] = stays(policy, wanted[unit], scores[unit], choice.read());
          const auto block = static_cast<int64_t>(unit) / kHeads, head = static_cast<int64_t>(unit) % kHeads;
          ASSERT_EQ(held_positions(choice, freed[unit], block, head), wanted[unit])
              << text << " after " << choice.read();
        }
      };
      const auto read_some = [&](int64_t tokens) {
        choice.append(tokens);
        for (size_t unit = 0; unit < kUnits; ++unit) {
          const KvHead head = choice.head(static_cast<int64_t>(unit) / kHeads, static_cast<int64_t>(unit) % kHeads);
          scores[unit].resize(static_cast<size_t>(choice.read()));
          for (int64_t i = choice.read() - tokens; i < choice.read(); ++i)
            wanted[unit].push_back(static_cast<int32_t>(i));
          for (int64_t s = 0; s < choice.slots(); ++s) {
            const float weight = static_cast<float>(random() % 1000) / 256;  // sums are exact
            if (head.scores != nullptr) head.scores[s] += weight;
            scores[unit][static_cast<size_t>(head.positions[s])] += weight;
          }
        }
      };
      for (int chunk = 0; chunk < 3; ++chunk) {
        read_some(1 + static_cast<int64_t>(random() % 40));
        cut(false);
      }
      for (int step = 0; step < 60; ++step) {
        read_some(1);
        cut(true);
      }
    }
  }
}

TEST(KvChoice, SlotsAndCutsThatAPolicyAsksFor) {
  const KvPolicy whole = choice_policy("h2o,budget=0.2"), chunked = choice_policy("streaming,budget=64,chunk=16");
  EXPECT_EQ(most_kv_slots(KvPolicy(), 100, 150), 150);
  EXPECT_EQ(most_kv_slots(whole, 100, 150), 100);
  EXPECT_EQ(most_kv_slots(whole, 0, 150), 31);
  EXPECT_EQ(most_kv_slots(chunked, 1000, 5000), 80);
  const KvPolicy pyramid = choice_policy("h2o,budget=100,layers=pyramid");
  EXPECT_EQ(most_kv_slots(pyramid, 0, 1000, 0, 5), 196);
  EXPECT_EQ(most_kv_slots(pyramid, 0, 1000, 4, 5), 6);
  EXPECT_EQ(most_kv_slots(pyramid, 500, 1000, 4, 5), 500);
  EXPECT_EQ(next_kv_cut(whole, 0, 100), 100);
  EXPECT_EQ(next_kv_cut(whole, 100, 100), 101);
  EXPECT_EQ(next_kv_cut(chunked, 0, 40), 16);
  EXPECT_EQ(next_kv_cut(chunked, 20, 40), 32);
  EXPECT_EQ(next_kv_cut(chunked, 32, 40), 40);
  EXPECT_EQ(kv_policy_of_text(whole).chunk, 32);
  EXPECT_EQ(kv_policy_of_text(chunked).chunk, 16);
}

}  // namespace
}  // namespace ockham
