// Every claim on comparisons whose truth is known: it must be able to hold, to fail, and to say that it cannot tell.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "ockham/core/error.h"
#include "ockham/core/rng.h"
#include "ockham/io/yaml.h"
#include "ockham/study/recheck/evidence.h"
#include "ockham/study/recheck/run_recheck.h"
#include "tests/study/recheck_fixture.h"

namespace ockham {
namespace {

Ruling rule(const std::string& name, const Script& script) {
  const Claim& claim = find_claim(name);
  return claim.judge(make_comparison(claim, script), {}).ruling;
}

bool is_quantized(const ComparisonRow& row) {
  return row.family == MethodFamily::kQuantization;
}

// Script of a claim for each ruling.
struct Truth {
  const char* claim;
  Script holds, fails, cannot_tell;
};

std::vector<Truth> truths() {
  const auto constant = [](double value) {
    return [value](const ComparisonRow&, const std::string&) { return value; };
  };
  const auto noisy = [&](double value) {
    Script script{constant(value)};
    script.error = 10;
    return script;
  };
  std::vector<Truth> all;
  all.push_back({"four-bit", {constant(-0.5)}, {constant(-12)}, noisy(-2)});
  all.push_back({"extreme",
                 {[](const ComparisonRow& row, const std::string&) { return row.nominal_bits <= 3 ? -20.0 : 0.0; }},
                 {constant(0)},
                 noisy(-6)});
  all.push_back({"moderate-bits",
                 {[](const ComparisonRow&, const std::string& id) { return id == "fairness" ? 8.0 : 0.0; }},
                 {constant(-1)},
                 noisy(1)});
  all.push_back({"monotone",
                 {[](const ComparisonRow& row, const std::string& id) {
                   const double bits = static_cast<double>(row.nominal_bits);
                   return id.starts_with("factworld") ? 2 * bits - 16 : row.nominal_bits % 2 == 0 ? -6.0 : 6.0;
                 }},
                 {[](const ComparisonRow& row, const std::string&) { return row.nominal_bits % 2 == 0 ? -6.0 : 6.0; }},
                 {[](const ComparisonRow& row, const std::string&) { return static_cast<double>(row.nominal_bits); }}});
  all.push_back({"quant-vs-prune",
                 {[](const ComparisonRow& row, const std::string&) { return is_quantized(row) ? -1.0 : -9.0; }},
                 {[](const ComparisonRow& row, const std::string&) { return is_quantized(row) ? -9.0 : -1.0; }},
                 noisy(-4)});
  Script quiet_loss{[](const ComparisonRow&, const std::string& id) { return id == "privacy" ? -9.0 : 0.0; }};
  all.push_back({"hidden-risk", quiet_loss, {constant(0)}, noisy(-1)});
  Script private_gain{constant(6)}, more_refusals{constant(6)}, unclear = noisy(2);
  private_gain.refusal_change = unclear.refusal_change = [](const ComparisonRow&) { return -0.2; };
  more_refusals.refusal_change = [](const ComparisonRow&) { return 0.2; };
  all.push_back({"refusal", private_gain, more_refusals, unclear});
  Script near{constant(0.3)}, far{constant(9)}, same{constant(4)};
  near.rival_change = -9;
  far.rival_change = -2;
  same.rival_change = -4;
  all.push_back({"inherits", near, far, same});
  all.push_back({"prune50", {constant(-9)}, {constant(0)}, noisy(-6)});
  all.push_back(
      {"knowledge-knee",
       {[](const ComparisonRow& row, const std::string&) { return row.nominal_sparsity < 0.25 ? 0.0 : -30.0; }},
       {[](const ComparisonRow& row, const std::string&) { return row.nominal_sparsity < 0.65 ? 0.0 : -30.0; }},
       noisy(-3)});
  all.push_back(
      {"nm-knowledge",
       {[](const ComparisonRow& row, const std::string&) { return row.pattern == "unstructured" ? -5.0 : -40.0; }},
       {constant(-5)},
       noisy(-30)});
  all.push_back({"in-context",
                 {[](const ComparisonRow&, const std::string& id) { return id.ends_with("open-book") ? -2.0 : -30.0; }},
                 {[](const ComparisonRow&, const std::string& id) { return id.ends_with("open-book") ? -30.0 : -2.0; }},
                 noisy(-5)});
  Script behind{constant(-30)}, ahead{constant(-2)}, level = noisy(-10);
  behind.rival_change = ahead.rival_change = level.rival_change = -10;
  all.push_back({"large-vs-small", behind, ahead, level});
  const auto spread = [](double at_three, double at_eight) {
    return [=](const ComparisonRow& row, const std::string& id) {
      const double width = row.nominal_bits == 8 ? at_eight : at_three;
      Rng rng(hash_seed(id + row.recipe));
      std::vector<double> draws;
      for (int draw = 0; draw < 16; ++draw) draws.push_back(50 + width * rng.normal());
      return draws;
    };
  };
  Script wider{constant(0)}, narrower{constant(0)}, equal{constant(0)};
  wider.draws = spread(6, 1);
  narrower.draws = spread(1, 6);
  equal.draws = spread(2, 2);
  all.push_back({"calib-spread", wider, narrower, equal});
  const auto helped = [](double few_at_half, double few_at_high) {
    return [=](const ComparisonRow& row) {
      if (!row.recipe.ends_with("-few")) return 1.0;
      return row.nominal_sparsity > 0.6 ? few_at_high : few_at_half;
    };
  };
  Script high{constant(0)}, low{constant(0)}, both{constant(0)};
  high.perplexity_ratio = helped(1.01, 1.5);
  low.perplexity_ratio = helped(1.5, 1.01);
  both.perplexity_ratio = helped(1.1, 1.1);
  all.push_back({"calib-count", high, low, both});
  const auto along = [](bool quantized_follow, bool pruned_follow) {
    return [=](const ComparisonRow& row, const std::string& id) {
      const double place = is_quantized(row) ? static_cast<double>(row.nominal_bits) : 100 * (1 - row.nominal_sparsity);
      if (id.starts_with("factworld") || (is_quantized(row) ? quantized_follow : pruned_follow)) return place;
      return 10 * Rng(hash_seed(id + row.recipe)).normal();
    };
  };
  all.push_back({"prune-variance", {along(true, false)}, {along(false, true)}, {along(true, true)}});
  const auto helps = [](double at_half, double at_high) {
    return [=](const ComparisonRow& row, const std::string& id) {
      return id == "few_shot" ? (row.nominal_sparsity > 0.6 ? at_high : at_half) - 20 : -20.0;
    };
  };
  all.push_back({"fewshot", {helps(1, 12)}, {helps(12, 1)}, {helps(5, 5)}});
  const auto parts = [](double first, double second, double error) {
    return [=](const ComparisonRow&) {
      return std::vector<PartChange>{{"a", first, error, 50}, {"b", second, error, 50}};
    };
  };
  Script uneven{constant(0)}, even{constant(0)}, vague{constant(0)};
  uneven.parts = parts(-20, 0, 1.5);
  even.parts = parts(-6, -5, 1);
  vague.parts = parts(-8, -2, 5);
  all.push_back({"subject-gap", uneven, even, vague});
  const auto hit = [](double refusals, double utility) {
    return [=](const ComparisonRow& row, const std::string& id) {
      if (row.recipe.starts_with("random")) return -1.0;
      return id == "refusals" ? refusals : utility;
    };
  };
  Script vague_hit{hit(-8, -1)};
  vague_hit.error = 6;
  all.push_back({"brittleness", {hit(-40, -1)}, {hit(-1, -1)}, vague_hit});
  // Perplexity follows the number of the draw; the layer error follows it too, or not.
  const auto layers = [](bool follows, double noise) {
    return [=](ComparisonRow& row) {
      const double place = std::stod(row.recipe.substr(row.recipe.find('-') + 1));
      Rng rng(hash_seed(row.recipe));
      row.layer_error = follows ? 0.1 + 0.01 * place : 0.1 + rng.uniform();
      for (int i = 0; i < 50; ++i) row.perplexity_items.push_back(2 + 0.05 * place + noise * rng.normal());
    };
  };
  Script scattered{constant(0)}, ordered{constant(0)}, drowned{constant(0)};
  scattered.layers = layers(false, 0.05);
  ordered.layers = layers(true, 0.05);
  drowned.layers = layers(true, 20);
  all.push_back({"monotone-error", scattered, ordered, drowned});
  std::sort(all.begin(), all.end(), [](const Truth& a, const Truth& b) { return std::string(a.claim) < b.claim; });
  return all;
}

TEST(Recheck, EveryClaimReachesEveryRuling) {
  std::vector<std::string> covered;
  for (const Truth& truth : truths()) {
    covered.emplace_back(truth.claim);
    EXPECT_EQ(rule(truth.claim, truth.holds), Ruling::kHolds) << truth.claim;
    EXPECT_EQ(rule(truth.claim, truth.fails), Ruling::kFails) << truth.claim;
    EXPECT_EQ(rule(truth.claim, truth.cannot_tell), Ruling::kCannotTell) << truth.claim;
  }
  std::sort(covered.begin(), covered.end());
  std::vector<std::string> names;
  for (const Claim& claim : claims()) names.emplace_back(claim.name);
  EXPECT_EQ(covered, names) << "a claim without scripts of its three rulings";
}

TEST(Recheck, SearchedAllocationsStandBesideTheRandomOnes) {
  RecheckRequest request;
  request.model = "model";
  request.settings.searched = {"a/recipe.yaml", "b/recipe.yaml"};
  const Claim& claim = find_claim("monotone-error");
  EXPECT_NE(recheck_study(claim, request).find("{name: searched-1, use: \"b/recipe.yaml\"}"), std::string::npos);
  Script script{[](const ComparisonRow&, const std::string&) { return 0.0; }};
  script.layers = [](ComparisonRow& row) {
    Rng rng(hash_seed(row.recipe));
    // The searched ones have the larger layer errors and the better texts.
    const bool is_searched = row.recipe.starts_with("searched-");
    row.layer_error = is_searched ? 2 : 0.1 + 0.01 * rng.uniform();
    for (int i = 0; i < 50; ++i) row.perplexity_items.push_back((is_searched ? 1 : 2) + 0.001 * rng.normal());
  };
  Claim with = claim;
  with.versions = [](const RecheckSettings&) {
    RecheckSettings settings;
    settings.searched = {"a", "b", "c"};
    return find_claim("monotone-error").versions(settings);
  };
  const Recheck result = with.judge(make_comparison(with, script), {});
  EXPECT_EQ(result.ruling, Ruling::kHolds);
  EXPECT_NE(result.evidence.find("27 allocations (3 of them searched)"), std::string::npos) << result.evidence;
}

TEST(Recheck, RefusalsThatFallWithUtilityAreNoBrittleness) {
  const auto at = [](double refusals, double utility_at_1, double utility_at_3) {
    return Script{[=](const ComparisonRow& row, const std::string& id) {
      if (row.recipe.starts_with("random")) return 0.0;
      return id == "refusals" ? refusals : row.nominal_sparsity < 0.02 ? utility_at_1 : utility_at_3;
    }};
  };
  EXPECT_EQ(rule("brittleness", at(-40, -40, -40)), Ruling::kFails);
  EXPECT_EQ(rule("brittleness", at(-20, -40, -40)), Ruling::kFails);
  EXPECT_EQ(rule("brittleness", at(-40, -5, -5)), Ruling::kCannotTell);  // utility at the margin
  // At most 3 %: the smaller share is enough.
  EXPECT_EQ(rule("brittleness", at(-40, 0, -40)), Ruling::kHolds);
}

// What random weights cost as well is no sign of a few special ones.
TEST(Recheck, RefusalsThatFallWithAnyWeightsAreNoBrittleness) {
  const Script script{[](const ComparisonRow&, const std::string& id) { return id == "refusals" ? -40.0 : 0.0; }};
  EXPECT_EQ(rule("brittleness", script), Ruling::kFails);
}

TEST(Recheck, BrittlenessWeighsTheTwoTextsNamed) {
  RecheckRequest request;
  request.model = "m";
  request.refusal_text = "refused.jsonl";
  request.utility_text = "plain.jsonl";
  const std::string study = recheck_study(find_claim("brittleness"), request);
  EXPECT_NE(study.find("calibration: {data: \"refused.jsonl\", samples: 32, tokens: 512}, contrast: {data: "
                       "\"plain.jsonl\", samples: 32, tokens: 512}"),
            std::string::npos)
      << study;
}

TEST(Recheck, NothingMeasuredIsNeverARuling) {
  for (const Claim& claim : claims())
    EXPECT_EQ(claim.judge(Comparison{}, {}).ruling, Ruling::kCannotTell) << claim.name;
}

TEST(Recheck, StudiesAreWellFormed) {
  for (const Claim& claim : claims()) {
    RecheckRequest request;
    request.model = "models/mini";
    if (claim.needs_rival) request.rival = "models/mini-small";
    const YamlNode study = YamlNode::parse(recheck_study(claim, request), claim.name);
    EXPECT_EQ(study.at("recipes").items().size(), claim.versions({}).size() + 1) << claim.name;
    EXPECT_EQ(study.at("seeds").items().size(), static_cast<size_t>(claim.draws)) << claim.name;
    EXPECT_FALSE(std::string(claim.rule).empty());
  }
  EXPECT_GE(find_claim("calib-spread").draws, 16);
}

TEST(Recheck, UnknownClaimsAndMissingRivalsAreRefused) {
  try {
    find_claim("four-bits");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'four-bit'"), std::string::npos);
  }
}

}  // namespace
}  // namespace ockham
