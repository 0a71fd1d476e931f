// Small problems whose best answer is known by trying everything.
#pragma once

#include <cmath>
#include <functional>
#include <limits>

#include "ockham/search/searcher.h"

namespace ockham::test {

class PlantedObjective final : public Objective {
 public:
  explicit PlantedObjective(std::function<double(const Assignment&)> value) : value_(std::move(value)) {}
  int64_t tokens() const override { return 1; }
  std::vector<double> evaluate(std::span<const Assignment> candidates, int64_t, uint64_t) override {
    std::vector<double> values;
    for (const Assignment& candidate : candidates) values.push_back(value_(candidate));
    calls += static_cast<int64_t>(values.size());
    return values;
  }
  int64_t spent() const override { return calls; }
  int64_t calls = 0;

 private:
  std::function<double(const Assignment&)> value_;
};

// The toy of pruning by levels: four layers, levels -2..2 (more: sparser), their sum at most 0 in what is kept; two
// pairs of layers interact. Best: levels (2, -2, 0, 0), 9.454041; uniform: 15.
inline SearchProblem interacting_problem() {
  SearchProblem problem;
  problem.budgets = {{"kept", 8}};
  for (int u = 0; u < 4; ++u) {
    SearchUnit unit{"layer " + std::to_string(u), 1, {}};
    for (int level = 2; level >= -2; --level) unit.levels.push_back({std::to_string(level), {2 - level}, 0});
    problem.units.push_back(std::move(unit));
  }
  problem.prepare("test");
  return problem;
}
inline double interacting_value(const Assignment& ranks) {
  const double weight[] = {1, 2, 4, 8};
  double level[4], sum = 0;
  for (size_t u = 0; u < 4; ++u) {
    level[u] = 2 - ranks[u];
    sum += weight[u] * std::exp(0.5 * level[u]);
  }
  return sum + 1.5 * level[0] * level[1] - 0.8 * level[1] * level[2];
}

// Units with random costs and errors that fall with the cost.
inline SearchProblem additive_problem(uint64_t seed, size_t units, size_t levels, size_t budgets) {
  Rng rng(seed);
  SearchProblem problem;
  std::vector<int64_t> largest(budgets, 0), smallest(budgets, 0);
  for (size_t u = 0; u < units; ++u) {
    SearchUnit unit{"unit " + std::to_string(u), 1, {}};
    std::vector<int64_t> costs(budgets, 0);
    double error = 1 + 10 * rng.uniform();
    for (size_t l = 0; l < levels; ++l) {
      for (int64_t& cost : costs) cost += 1 + static_cast<int64_t>(rng.below(40));
      unit.levels.push_back({std::to_string(l), costs, error});
      error *= 0.3 + 0.6 * rng.uniform();
    }
    for (size_t b = 0; b < budgets; ++b) {
      smallest[b] += unit.levels.front().costs[b];
      largest[b] += unit.levels.back().costs[b];
    }
    problem.units.push_back(std::move(unit));
  }
  for (size_t b = 0; b < budgets; ++b)
    problem.budgets.push_back({"budget " + std::to_string(b), (2 * smallest[b] + largest[b]) / 3});
  problem.prepare("test");
  return problem;
}

// The least value over all assignments that fit, and how it is reached.
inline std::pair<double, Assignment> brute_force(const SearchProblem& problem,
                                                 const std::function<double(const Assignment&)>& value) {
  std::pair<double, Assignment> best = {std::numeric_limits<double>::infinity(), {}};
  Assignment assignment(problem.units.size(), 0);
  while (true) {
    if (problem.fits(assignment))
      if (const double found = value(assignment); found < best.first) best = {found, assignment};
    size_t u = 0;
    while (u < assignment.size() && static_cast<size_t>(++assignment[u]) == problem.units[u].levels.size())
      assignment[u++] = 0;
    if (u == assignment.size()) return best;
  }
}

}  // namespace ockham::test
