// Searchers that take the errors of levels to add up: dp and greedy; and the two floors, uniform and random.
#include <algorithm>
#include <limits>
#include <queue>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/methods/allocation/error_dp.h"
#include "ockham/search/searcher.h"

namespace ockham {
namespace {

SearchResult additive_result(const SearchProblem& problem, Assignment best) {
  SearchResult result;
  result.best = std::move(best);
  result.fitness = problem.error(result.best);
  result.evaluations = 1;
  result.history.push_back({0, 0, result.fitness});
  return result;
}

// dp: the exact choice under one budget, as a multiple-choice knapsack over costs in units of their greatest common
// divisor. Papers: Hubara et al., "Accurate Post Training Quantization With Small Calibration Sets" (ICML 2021); Markov
// et al., "L-GreCo" (2023).
class Dp final : public Searcher {
 public:
  bool is_additive() const override { return true; }
  SearchResult search(const SearchProblem& problem, Objective&, const SearchSettings&,
                      const SearchMemory&) const override {
    if (problem.budgets.size() > 1)
      throw_error(ErrorKind::kUnsupported,
                  "search: searcher 'dp' found {} budgets, expected one; take --searcher milp or evopress",
                  problem.budgets.size());
    std::vector<std::vector<double>> errors;
    std::vector<std::vector<int64_t>> costs;
    for (const SearchUnit& unit : problem.units) {
      errors.emplace_back();
      costs.emplace_back();
      for (const UnitLevel& level : unit.levels) {
        errors.back().push_back(level.error);
        costs.back().push_back(level.costs[0]);
      }
    }
    const std::vector<size_t> chosen = choose_options(errors, costs, problem.budgets[0].limit);
    if (chosen.empty())
      throw_input("search: no choice of levels keeps {} within {}; raise the budget", problem.budgets[0].name,
                  problem.budgets[0].limit);
    return additive_result(problem, Assignment(chosen.begin(), chosen.end()));
  }
};

// greedy: from the dearest levels downwards, always the step that costs the least error for what it frees.
class Greedy final : public Searcher {
 public:
  bool is_additive() const override { return true; }
  SearchResult search(const SearchProblem& problem, Objective&, const SearchSettings&,
                      const SearchMemory&) const override {
    Assignment assignment;
    for (const SearchUnit& unit : problem.units) assignment.push_back(static_cast<int>(unit.levels.size()) - 1);
    while (!problem.fits(assignment)) {
      const auto [unit, rank] = best_step(problem, assignment);
      if (unit == problem.units.size())
        throw_input("search: no choice of levels keeps {} within {}; raise the budget", problem.budgets[0].name,
                    problem.budgets[0].limit);
      assignment[unit] = rank;
    }
    refill(problem, assignment);
    return additive_result(problem, std::move(assignment));
  }

 private:
  // The unit and its new rank, over all ranks below its own; units.size(): none.
  static std::pair<size_t, int> best_step(const SearchProblem& problem, const Assignment& assignment) {
    std::pair<size_t, int> best = {problem.units.size(), 0};
    double least = std::numeric_limits<double>::infinity();
    for (size_t u = 0; u < assignment.size(); ++u) {
      const std::vector<UnitLevel>& levels = problem.units[u].levels;
      const UnitLevel& now = levels[static_cast<size_t>(assignment[u])];
      for (int rank = assignment[u] - 1; rank >= 0; --rank) {
        const UnitLevel& next = levels[static_cast<size_t>(rank)];
        const auto freed = static_cast<double>(now.costs[0] - next.costs[0]);
        const double ratio = (next.error - now.error) / std::max(freed, 1e-9);
        if (ratio >= least) continue;
        least = ratio;
        best = {u, rank};
      }
    }
    return best;
  }

  // The last step may have freed more than was needed.
  static void refill(const SearchProblem& problem, Assignment& assignment) {
    while (true) {
      std::pair<size_t, int> best = {problem.units.size(), 0};
      double most = 0;
      for (size_t u = 0; u < assignment.size(); ++u) {
        const std::vector<UnitLevel>& levels = problem.units[u].levels;
        for (size_t rank = 0; rank < levels.size(); ++rank) {
          const double gain = levels[static_cast<size_t>(assignment[u])].error - levels[rank].error;
          if (gain <= most) continue;
          Assignment next = assignment;
          next[u] = static_cast<int>(rank);
          if (!problem.fits(next)) continue;
          most = gain;
          best = {u, static_cast<int>(rank)};
        }
      }
      if (best.first == problem.units.size()) return;
      assignment[best.first] = best.second;
    }
  }
};

SearchResult measured_result(Objective& objective, const std::vector<Assignment>& candidates, int64_t tokens) {
  SearchResult result;
  const std::vector<double> fitness = objective.evaluate(candidates, tokens, 0);
  const size_t best = static_cast<size_t>(std::min_element(fitness.begin(), fitness.end()) - fitness.begin());
  result.best = candidates[best];
  result.fitness = fitness[best];
  return result;
}

class Uniform final : public Searcher {
 public:
  SearchResult search(const SearchProblem& problem, Objective& objective, const SearchSettings&,
                      const SearchMemory&) const override {
    SearchResult result = measured_result(
        objective, {problem.start.empty() ? uniform_assignment(problem) : problem.start}, objective.tokens());
    result.evaluations = 1;
    result.history.push_back({0, objective.spent(), result.fitness});
    return result;
  }
};

// random: the best of a number of random assignments, all on the same tokens; what any other searcher must beat.
class RandomSearch final : public Searcher {
 public:
  SearchResult search(const SearchProblem& problem, Objective& objective, const SearchSettings& settings,
                      const SearchMemory&) const override {
    constexpr int64_t kBatch = 32;
    SearchResult result;
    Rng rng(mix_seed(settings.seed, hash_seed("random search")));
    for (int64_t done = 0; done < settings.samples; done += kBatch) {
      check_interrupt();
      std::vector<Assignment> candidates;
      for (int64_t i = 0; i < std::min(kBatch, settings.samples - done); ++i) candidates.push_back(draw(problem, rng));
      SearchResult part = measured_result(objective, candidates, settings.stages.front().tokens);
      if (result.best.empty() || part.fitness < result.fitness) {
        result.best = std::move(part.best);
        result.fitness = part.fitness;
      }
      result.evaluations += static_cast<int64_t>(candidates.size());
      result.history.push_back({result.evaluations, objective.spent(), result.fitness});
      report_progress({"random search", result.evaluations, settings.samples, "candidates"});
    }
    result.fitness = objective.evaluate({{result.best}}, objective.tokens(), 0).front();
    return result;
  }

 private:
  static Assignment draw(const SearchProblem& problem, Rng& rng) {
    Assignment assignment;
    for (const SearchUnit& unit : problem.units) assignment.push_back(static_cast<int>(rng.below(unit.levels.size())));
    if (!problem.repair(assignment, rng)) assignment = uniform_assignment(problem);
    problem.fill(assignment, rng);
    return assignment;
  }
};

}  // namespace

std::unique_ptr<Searcher> make_dp() {
  return std::make_unique<Dp>();
}
std::unique_ptr<Searcher> make_greedy() {
  return std::make_unique<Greedy>();
}
std::unique_ptr<Searcher> make_uniform() {
  return std::make_unique<Uniform>();
}
std::unique_ptr<Searcher> make_random() {
  return std::make_unique<RandomSearch>();
}

}  // namespace ockham
