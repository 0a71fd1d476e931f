// What names, flags and recipes of a KV-cache policy mean.
#include "ockham/core/kv_policy.h"

#include <gtest/gtest.h>

#include "ockham/core/error.h"

namespace ockham {
namespace {

std::string refusal(const std::string& text) {
  try {
    parse_kv_policy("--kv", text);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInput);
    return error.what();
  }
  return "";
}

TEST(KvPolicy, EveryEntryHasDefaultsThatItAccepts) {
  for (const KvPolicyEntry& entry : kv_policies()) {
    const KvPolicy policy = parse_kv_policy("--kv", entry.name);
    EXPECT_EQ(policy.text(), entry.name);
    EXPECT_EQ(policy.name, entry.name);
  }
}

TEST(KvPolicy, ReadsWhatItWrites) {
  const KvPolicy policy = parse_kv_policy("--kv", "h2o,budget=64,heavy=0.25,positions=rolling,bits=4,chunk=128");
  EXPECT_EQ(policy.keep, KvPolicy::Keep::kHeavyHitters);
  EXPECT_EQ(policy.budget, 64);
  EXPECT_EQ(policy.heavy, 0.25);
  EXPECT_EQ(policy.positions, KvPolicy::Positions::kRolling);
  EXPECT_EQ(policy.bits, 4);
  EXPECT_EQ(policy.chunk, 128);
  EXPECT_TRUE(policy.needs_scores());
  const KvPolicy again = parse_kv_policy("--kv", policy.text());
  EXPECT_EQ(again.text(), policy.text());
  EXPECT_EQ(again.budget, policy.budget);
  EXPECT_EQ(again.chunk, policy.chunk);
}

TEST(KvPolicy, BudgetIsAShareOfWhatWasReadOrANumber) {
  KvPolicy policy = parse_kv_policy("--kv", "local,budget=0.2");
  EXPECT_EQ(policy.budget_of(10), 2);
  EXPECT_EQ(policy.budget_of(11), 3);
  EXPECT_EQ(policy.budget_of(1), 1);
  EXPECT_EQ(policy.budget_of(0), 1);
  policy = parse_kv_policy("--kv", "local,budget=16");
  EXPECT_EQ(policy.budget_of(10), 10);
  EXPECT_EQ(policy.budget_of(1000), 16);
  EXPECT_TRUE(policy.evicts());
  policy = parse_kv_policy("--kv", "h2o,budget=1");
  EXPECT_EQ(policy.budget_of(1000), 1000);
  EXPECT_FALSE(policy.evicts());
}

TEST(KvPolicy, APyramidSharesTheSameTotalOut) {
  const auto budgets = [](const std::string& text, int64_t tokens, int64_t blocks) {
    const KvPolicy policy = parse_kv_policy("--kv", text + ",layers=pyramid");
    std::vector<int64_t> result;
    for (int64_t block = 0; block < blocks; ++block) result.push_back(policy.budget_of(tokens, block, blocks));
    return result;
  };
  using Budgets = std::vector<int64_t>;
  EXPECT_EQ(budgets("h2o,budget=0.2", 1000, 3), (Budgets{390, 200, 10}));
  EXPECT_EQ(budgets("h2o,budget=100", 1000, 5), (Budgets{195, 148, 100, 52, 5}));
  EXPECT_EQ(budgets("h2o,budget=100", 120, 5), (Budgets{120, 120, 100, 52, 5}));
  EXPECT_EQ(budgets("local,budget=20,sinks=15", 1000, 3), (Budgets{24, 20, 16}));
  EXPECT_EQ(budgets("h2o,budget=0.8", 1000, 3), (Budgets{1000, 800, 600}));
  EXPECT_EQ(budgets("h2o,budget=0.5", 10, 1), (Budgets{5}));
  EXPECT_EQ(budgets("h2o,budget=1", 10, 2), (Budgets{10, 10}));
  // One token more never takes one away, nor gives two.
  for (const char* text : {"h2o,budget=0.3", "h2o,budget=64", "h2o,budget=0.77"}) {
    for (int64_t tokens = 1; tokens < 300; ++tokens) {
      const Budgets before = budgets(text, tokens, 7), behind = budgets(text, tokens + 1, 7);
      for (size_t block = 0; block < 7; ++block) {
        EXPECT_GE(behind[block], before[block]) << text << " " << tokens;
        EXPECT_LE(behind[block], before[block] + 1) << text << " " << tokens;
      }
    }
  }
  EXPECT_EQ(parse_kv_policy("--kv", "h2o,layers=pyramid").text(), "h2o,layers=pyramid");
  EXPECT_NE(refusal("streaming,layers=pyramid").find("positions=absolute"), std::string::npos);
}

// n = 1000, D = 4096 in 32 heads, 16-bit numbers: shares of the whole cache, side data counted.
TEST(KvPolicy, BytesCountTheSideData) {
  const auto share = [](const std::string& text) {
    return kv_bytes(parse_kv_policy("--kv", text), 32, 128, 1000, 2).total() / (2 * 2 * 1000.0 * 4096);
  };
  EXPECT_NEAR(share("quantized,bits=2,group=64"), 0.156, 6e-4);
  EXPECT_NEAR(share("gear,bits=2,group=64"), 0.252, 6e-4);
  EXPECT_NEAR(share("gear,bits=2,group=64,outliers=0"), 0.192, 6e-4);
  EXPECT_NEAR(share("gear,bits=4,group=64"), 0.377, 6e-4);
  EXPECT_NEAR(share("h2o,budget=0.2"), 0.2, 1e-9);
  EXPECT_EQ(share("full"), 1);
}

TEST(KvPolicy, RefusesWhatItDoesNotUnderstand) {
  EXPECT_NE(refusal("h20").find("did you mean 'h2o'"), std::string::npos);
  EXPECT_NE(refusal("h2o,budged=0.2").find("did you mean 'budget'"), std::string::npos);
  EXPECT_NE(refusal("h2o,budget=2.5").find("whole number of tokens"), std::string::npos);
  EXPECT_NE(refusal("h2o,budget=-1").find("key 'budget'"), std::string::npos);
  EXPECT_NE(refusal("h2o,budget=nan").find("key 'budget'"), std::string::npos);
  EXPECT_NE(refusal("gear,bits=3").find("expected 2, 4 or 8"), std::string::npos);
  EXPECT_NE(refusal("gear,group=24").find("key 'group'"), std::string::npos);
  EXPECT_NE(refusal("streaming,budget=4,sinks=4").find("key 'sinks'"), std::string::npos);
  EXPECT_NE(refusal("h2o,budget").find("expected key=value"), std::string::npos);
  EXPECT_NE(refusal("h2o,budget=2,budget=3").find("stands twice"), std::string::npos);
  EXPECT_NE(refusal("full,budget=0.2").find("unknown key 'budget'"), std::string::npos);
  EXPECT_THROW(make_kv_policy("recipe.yaml:3", "h2o", {{"budget", FromStep{"owl"}}}), Error);
}

}  // namespace
}  // namespace ockham
