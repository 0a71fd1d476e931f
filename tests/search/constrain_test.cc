// Limits: the way from the best choice to one that keeps them, on planted problems.
#include "ockham/search/constrain.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/model/model_fixture.h"
#include "tests/search/planted.h"

namespace ockham {
namespace {

// Eight units of five levels; what the text asks for and what the trust dimension asks for lie in different units.
struct Planted {
  SearchProblem problem;
  test::ScratchDirectory scratch;
  double floor = -2;

  Planted() {
    problem.budgets = {{"bytes", 16}};
    for (int u = 0; u < 8; ++u) {
      SearchUnit unit{"unit " + std::to_string(u), 1, {}};
      for (int64_t l = 0; l < 5; ++l) unit.levels.push_back({std::to_string(l), {l}, 0});
      problem.units.push_back(std::move(unit));
    }
    problem.prepare("test");
    problem.start = uniform_assignment(problem);
  }
  static double text_loss(const Assignment& ranks) {
    double sum = 0;
    for (size_t u = 0; u < 8; ++u) sum += (u < 4 ? 10 : 1) * std::exp(-ranks[u]);
    return sum;
  }
  // Points that the dimension falls: the last two units decide.
  static double fall(const Assignment& ranks) { return 8.0 - ranks[6] - ranks[7]; }

  std::vector<FloorResult> judge(const Assignment& ranks) const {
    const double change = -fall(ranks);
    return {{"privacy", "privacy", floor, change, change, change, 100, change >= floor},
            {"fairness", "fairness", -50, 0, 0, 0, 100, true}};
  }
  Constrained run(double spend, const std::string& name) const {
    test::PlantedObjective text(text_loss);
    SearchSettings settings;
    settings.generations = 60;
    settings.offspring = 16;
    settings.stages = {{1, 2}, {1, 1}};
    const Assignment best = make_evopress()->search(problem, text, settings, {}).best;
    SearchState state(scratch.path(name), {{"name", name}}, false);
    return constrain({problem, text,
                      [](const std::vector<bool>& wanted) {
                        EXPECT_TRUE(wanted[0]);
                        EXPECT_FALSE(wanted[1]);
                        return std::make_unique<test::PlantedObjective>(fall);
                      },
                      [this](const Assignment& ranks) { return judge(ranks); },
                      [this](const Assignment& ranks) { return problem.cost(ranks); }, settings, spend},
                     best, state);
  }
};

TEST(Constrain, APenaltyFindsAChoiceOfTheSameSizeThatKeepsTheLimit) {
  const Planted planted;
  const Constrained result = planted.run(0, "same");
  ASSERT_GT(result.attempts.size(), 1U);
  EXPECT_FALSE(all_hold(result.attempts[0].floors));  // the best choice without limits breaks it
  EXPECT_TRUE(result.is_met);
  const Attempt& chosen = result.attempts[result.chosen];
  EXPECT_TRUE(all_hold(chosen.floors));
  EXPECT_EQ(chosen.bytes, 16);
  EXPECT_TRUE(binds(result, 0));
  EXPECT_FALSE(binds(result, 1));
  EXPECT_EQ(price_of(result, 0), 0);  // paid in quality, not in bytes
  EXPECT_GT(Planted::text_loss(chosen.assignment), Planted::text_loss(result.attempts[0].assignment));
}

TEST(Constrain, WhatTheBudgetCannotGiveIsPricedInBytes) {
  Planted planted;
  planted.problem.budgets[0].limit = 5;  // less than the two units alone need
  planted.problem.start = uniform_assignment(planted.problem);
  const Constrained refused = planted.run(0, "refused");
  EXPECT_FALSE(refused.is_met);
  ASSERT_LT(refused.feasible, refused.attempts.size());  // the nearest choice that keeps the limit
  EXPECT_GT(refused.attempts[refused.feasible].bytes, 5);
  EXPECT_LE(refused.attempts[refused.chosen].bytes, 5);
  const Constrained paid = planted.run(4, "paid");
  EXPECT_TRUE(paid.is_met);
  EXPECT_GT(price_of(paid, 0), 0);
  EXPECT_EQ(price_of(paid, 1), 0);
  EXPECT_EQ(price_of(paid, 0), static_cast<double>(paid.attempts[paid.chosen].bytes - paid.attempts[0].bytes));
}

TEST(Constrain, LimitsThatNoLevelKeepsAreSaidToBeSo) {
  Planted planted;
  planted.floor = 1;  // better than dense
  const Constrained result = planted.run(4, "never");
  EXPECT_FALSE(result.is_met);
  EXPECT_EQ(result.feasible, result.attempts.size());
  EXPECT_TRUE(std::isnan(price_of(result, 0)));
}

TEST(Constrain, GoesOnFromAStoredPath) {
  const Planted planted;
  const Constrained first = planted.run(0, "again");
  int judged = 0;
  test::PlantedObjective text(Planted::text_loss);
  SearchState state(planted.scratch.path("again"), {{"name", "again"}}, false);
  const Constrained second =
      constrain({planted.problem, text, [](const std::vector<bool>&) -> std::unique_ptr<Objective> { return nullptr; },
                 [&](const Assignment& ranks) {
                   ++judged;
                   return planted.judge(ranks);
                 },
                 [&](const Assignment& ranks) { return planted.problem.cost(ranks); }, SearchSettings(), 0},
                first.attempts[0].assignment, state);
  EXPECT_EQ(judged, 0);
  EXPECT_EQ(second.chosen, first.chosen);
}

}  // namespace
}  // namespace ockham
