// Searchers on problems whose best answer is known.
#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "ockham/search/highs.h"
#include "tests/search/planted.h"

namespace ockham {
namespace {

using test::additive_problem;
using test::brute_force;
using test::interacting_problem;
using test::interacting_value;
using test::PlantedObjective;

SearchResult run(const std::string& name, const SearchProblem& problem, Objective& objective,
                 const SearchSettings& settings = {}) {
  return find_searcher(name).make()->search(problem, objective, settings, {});
}

SearchSettings small_settings(uint64_t seed) {
  SearchSettings settings;
  settings.seed = seed;
  settings.generations = 30;
  settings.offspring = 8;
  settings.stages = {{1, 2}, {1, 1}};
  settings.siblings = 4;
  return settings;
}

TEST(Searchers, EvolutionWithRestartsSolvesThePlantedInteractions) {
  const SearchProblem problem = interacting_problem();
  const auto [least, where] = brute_force(problem, interacting_value);
  EXPECT_NEAR(least, 9.454041, 1e-6);
  EXPECT_EQ(where, (Assignment{0, 4, 2, 2}));
  int alone = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    PlantedObjective objective(interacting_value);
    SearchSettings settings = small_settings(seed);
    alone += run("evopress", problem, objective, settings).best == where;
    settings.restarts = 16;
    const SearchResult result = run("evopress", problem, objective, settings);
    EXPECT_EQ(result.best, where) << "seed " << seed;
    EXPECT_DOUBLE_EQ(result.fitness, least);
  }
  // Without restarts some seeds stay in a local optimum, which is what restarts are for.
  EXPECT_GT(alone, 5);
}

TEST(Searchers, EvolutionKeepsTheBudgetAndNeverGetsWorse) {
  const SearchProblem problem = interacting_problem();
  PlantedObjective objective([&](const Assignment& assignment) {
    EXPECT_EQ(problem.cost(assignment), problem.budgets[0].limit);
    return interacting_value(assignment);
  });
  const SearchResult result = run("evopress", problem, objective, small_settings(3));
  double last = 15.001;
  for (const SearchPoint& point : result.history) {
    EXPECT_LE(point.fitness, last);
    last = point.fitness;
  }
}

TEST(Searchers, EvolutionMakesUpForStepsOfDifferentSize) {
  const SearchProblem problem = additive_problem(5, 12, 5, 1);
  PlantedObjective objective([&](const Assignment& assignment) {
    EXPECT_TRUE(problem.fits(assignment));
    Assignment filled = assignment;
    problem.fill_in_order(filled);
    EXPECT_EQ(filled, assignment);  // nothing that would still fit is left out
    return problem.error(assignment);
  });
  run("evopress", problem, objective, small_settings(1));
}

TEST(Searchers, EvolutionGoesOnFromAStoredState) {
  const SearchProblem problem = additive_problem(7, 10, 4, 1);
  const auto value = [&](const Assignment& assignment) { return problem.error(assignment); };
  SearchSettings settings = small_settings(2);
  settings.restarts = 2;
  PlantedObjective whole(value);
  std::vector<Json> states;
  const SearchResult expected =
      make_evopress()->search(problem, whole, settings, {Json(), [&](const Json& state) { states.push_back(state); }});
  for (const size_t place : {size_t{0}, size_t{12}, states.size() / 2, states.size() - 2}) {
    PlantedObjective rest(value);
    const SearchResult found =
        make_evopress()->search(problem, rest, settings, {parse_json(states[place].dump(), "state"), {}});
    EXPECT_EQ(found.best, expected.best) << place;
    EXPECT_EQ(found.evaluations, expected.evaluations) << place;
    EXPECT_EQ(found.history.size(), expected.history.size()) << place;
  }
}

TEST(Searchers, DpMatchesBruteForceAndGreedyKeepsTheBudget) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const SearchProblem problem = additive_problem(seed, 6, 4, 1);
    PlantedObjective objective([](const Assignment&) { return 0.0; });
    const double least = brute_force(problem, [&](const Assignment& a) { return problem.error(a); }).first;
    const SearchResult dp = run("dp", problem, objective), greedy = run("greedy", problem, objective);
    EXPECT_NEAR(dp.fitness, least, 1e-12) << seed;
    EXPECT_TRUE(problem.fits(dp.best));
    EXPECT_TRUE(problem.fits(greedy.best));
    EXPECT_GE(greedy.fitness, least - 1e-12);
    EXPECT_LT(greedy.fitness, 3 * least);
  }
}

TEST(Searchers, MilpMatchesDpAndBruteForce) {
  if (!has_highs()) GTEST_SKIP() << "no libhighs.so: install HiGHS, or name the file in OCKHAM_HIGHS";
  for (uint64_t seed = 0; seed < 20; ++seed) {
    for (const size_t budgets : {size_t{1}, size_t{2}}) {
      const SearchProblem problem = additive_problem(seed, 6, 4, budgets);
      PlantedObjective objective([](const Assignment&) { return 0.0; });
      const double least = brute_force(problem, [&](const Assignment& a) { return problem.error(a); }).first;
      const SearchResult milp = run("milp", problem, objective), lp = run("lp", problem, objective);
      EXPECT_NEAR(milp.fitness, least, 1e-9) << seed;
      if (budgets == 1) {
        EXPECT_NEAR(milp.fitness, run("dp", problem, objective).fitness, 1e-9);
      }
      EXPECT_TRUE(problem.fits(lp.best));
      for (const double multiplier : lp.multipliers) EXPECT_GE(multiplier, -1e-9);
    }
  }
}

TEST(Searchers, MilpIsRefusedWithoutHighs) {
  if (has_highs()) GTEST_SKIP() << "HiGHS is installed";
  PlantedObjective objective([](const Assignment&) { return 0.0; });
  try {
    run("milp", additive_problem(1, 3, 3, 1), objective);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("libhighs"), std::string::npos);
  }
}

TEST(Searchers, RandomIsTheFloorAndRepeats) {
  const SearchProblem problem = interacting_problem();
  PlantedObjective objective(interacting_value);
  SearchSettings settings = small_settings(4);
  settings.samples = 64;
  const SearchResult first = run("random", problem, objective, settings),
                     again = run("random", problem, objective, settings);
  EXPECT_EQ(first.best, again.best);
  EXPECT_EQ(problem.cost(first.best), 8);
  EXPECT_LT(first.fitness, 15);
}

TEST(Searchers, UniformFillsUpWhatIsLeft) {
  SearchProblem problem = interacting_problem();
  EXPECT_EQ(uniform_assignment(problem), (Assignment{2, 2, 2, 2}));
  problem.budgets[0].limit = 10;
  EXPECT_EQ(uniform_assignment(problem), (Assignment{3, 3, 2, 2}));
}

TEST(Searchers, BudgetsThatNoLevelReachesAreNamed) {
  SearchProblem problem = additive_problem(1, 3, 3, 1);
  problem.budgets[0].limit = 2;
  try {
    problem.prepare("--budget");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInput);
    EXPECT_NE(std::string(error.what()).find("budget 0"), std::string::npos);
  }
}

TEST(Searchers, UnknownNamesGetASuggestion) {
  try {
    find_searcher("evopres");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'evopress'"), std::string::npos);
  }
}

}  // namespace
}  // namespace ockham
