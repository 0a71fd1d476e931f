// Claims over several models whose truth is known: each ruling, models that disagree, sizes, and what pooling leaves
// out.
#include "ockham/study/recheck/over_models.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ockham/core/rng.h"
#include "ockham/study/recheck/evidence.h"
#include "tests/study/recheck_fixture.h"

namespace ockham {
namespace {

// `count` trained models: the change of model m is `change` plus its own deviation, every item error 0.5.
std::vector<Comparison> models(const std::string& claim, int count, const std::function<double(int)>& change,
                               double error = 0.5) {
  std::vector<Comparison> all;
  for (int m = 0; m < count; ++m) {
    Script script{[&](const ComparisonRow&, const std::string&) { return change(m); }};
    script.error = error;
    all.push_back(make_comparison(find_claim(claim), script));
    all.back().models = {{"model", fmt::format("models/m{}", m), "", 0, m % 2 == 0 ? 64'000 : 96'000}};
  }
  return all;
}
OverModels judged(const std::string& claim, const std::vector<Comparison>& all) {
  return judge_over_models(find_claim(claim), all, {});
}

TEST(OverModels, ReachesEveryRuling) {
  EXPECT_EQ(judged("four-bit", models("four-bit", 5, [](int m) { return -0.5 + 0.1 * m; })).recheck().ruling,
            Ruling::kHolds);
  EXPECT_EQ(judged("four-bit", models("four-bit", 5, [](int m) { return -12 + 0.5 * m; })).recheck().ruling,
            Ruling::kFails);
  // Each model is sure of itself; together they are not.
  const OverModels mixed = judged("four-bit", models("four-bit", 6, [](int m) { return m % 2 == 0 ? -0.5 : -12.0; }));
  EXPECT_EQ(mixed.recheck().ruling, Ruling::kCannotTell);
  EXPECT_EQ(mixed.groups[0].holding, 3);
  EXPECT_EQ(mixed.groups[0].failing, 3);
  EXPECT_DOUBLE_EQ(mixed.groups[0].sign_p, 1);
}

TEST(OverModels, OneModelDoesNotSpeakForTheOthers) {
  // One of five loses much: what holds over models of this kind is open, not lost and not kept.
  const OverModels one = judged("four-bit", models("four-bit", 5, [](int m) { return m == 2 ? -20.0 : -0.2; }));
  EXPECT_EQ(one.recheck().ruling, Ruling::kCannotTell) << one.recheck().evidence;
  EXPECT_EQ(one.models[2].recheck.ruling, Ruling::kFails);
  EXPECT_EQ(one.models[0].recheck.ruling, Ruling::kHolds);
  EXPECT_EQ(one.models[2].model, "models/m2");
}

TEST(OverModels, ManyWeakModelsAreStrongTogether) {
  // No model alone shows that it stays within 5 points (error 4); ten of them do.
  const auto all = models(
      "four-bit", 10, [](int m) { return 0.4 * (m - 4.5); }, 4);
  const OverModels result = judged("four-bit", all);
  for (const ModelRuling& model : result.models) EXPECT_EQ(model.recheck.ruling, Ruling::kCannotTell);
  EXPECT_EQ(result.recheck().ruling, Ruling::kHolds) << result.recheck().evidence;
}

TEST(OverModels, SizesAreRuledOnApart) {
  const OverModels result =
      judged("four-bit", models("four-bit", 8, [](int m) { return (m % 2 == 0 ? -0.3 : -11.0) + 0.05 * m; }));
  ASSERT_EQ(result.groups.size(), 3u);
  EXPECT_EQ(result.groups[0].name, "all");
  EXPECT_EQ(result.groups[1].name, "64000 parameters");
  EXPECT_EQ(result.groups[1].recheck.ruling, Ruling::kHolds);
  EXPECT_EQ(result.groups[2].recheck.ruling, Ruling::kFails);
  EXPECT_EQ(result.groups[2].models, 4);
}

TEST(OverModels, ClaimsThatDoNotPoolNeedSixModelsThatAgree) {
  const auto spread = [](int count) {
    std::vector<Comparison> all;
    for (int m = 0; m < count; ++m) {
      Script script{[](const ComparisonRow&, const std::string&) { return 0.0; }};
      script.draws = [m](const ComparisonRow& row, const std::string& id) {
        Rng rng(hash_seed(id + row.recipe + std::to_string(m)));
        std::vector<double> draws;
        for (int draw = 0; draw < 16; ++draw) draws.push_back(50 + (row.nominal_bits == 8 ? 1 : 6) * rng.normal());
        return draws;
      };
      all.push_back(make_comparison(find_claim("calib-spread"), script));
    }
    return all;
  };
  EXPECT_EQ(judged("calib-spread", spread(5)).recheck().ruling, Ruling::kCannotTell);
  EXPECT_EQ(judged("calib-spread", spread(6)).recheck().ruling, Ruling::kHolds);
}

TEST(OverModels, PoolingFollowsTheFormula) {
  // Three models, equal errors: the mean, and t with two degrees of freedom on their spread.
  const std::vector<Comparison> all = models("four-bit", 3, [](int m) { return -4.0 + 2 * m; });
  const Comparison pooled = pool_models(all);
  const ComparisonCell& cell = pooled.rows.back().cells[0];
  EXPECT_NEAR(cell.change.value, -2, 1e-9);
  EXPECT_NEAR(cell.change.interval.high, -2 + 4.302653 * 2 / std::sqrt(3.0), 1e-4);
  EXPECT_NEAR(change_of(cell).high(), cell.change.interval.high, 1e-3) << "rules reckon with 1.96 errors";
  EXPECT_EQ(cell.change.n, 600);
  EXPECT_NEAR(cell.score, 58, 1e-9);
  EXPECT_EQ(pooled.rows.size(), all[0].rows.size());
  // What one model lacks or cannot interpret is not claimed over all.
  std::vector<Comparison> partly = all;
  partly[1].rows.pop_back();
  for (ComparisonRow& row : partly[0].rows) row.cells[1].is_interpretable = false;
  for (ComparisonRow& row : partly[2].rows) row.cells[1].is_interpretable = false;
  const Comparison less = pool_models(partly);
  EXPECT_EQ(less.rows.size(), all[0].rows.size() - 1);
  EXPECT_FALSE(less.rows.back().cells[1].is_interpretable);
  EXPECT_TRUE(less.rows.back().cells[0].is_interpretable);
}

TEST(OverModels, OneModelIsItself) {
  const auto one = models("four-bit", 1, [](int) { return -3.0; });
  const ComparisonCell& cell = pool_models(one).rows.back().cells[0];
  EXPECT_NEAR(cell.change.interval.low, one[0].rows.back().cells[0].change.interval.low, 1e-3);
  EXPECT_NEAR(cell.change.value, -3, 1e-12);
}

TEST(OverModels, NothingMeasuredIsNeverARuling) {
  for (const Claim& claim : claims())
    EXPECT_EQ(judge_over_models(claim, {Comparison{}, Comparison{}}, {}).recheck().ruling, Ruling::kCannotTell)
        << claim.name;
}

}  // namespace
}  // namespace ockham
