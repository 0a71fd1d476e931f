// lp and milp: the least sum of errors under any number of budgets, as a programme with one 0-1 variable for every unit
// and level. Paper: Hubara et al., "Accurate Post Training Quantization With Small Calibration Sets" (ICML 2021),
// section 4. lp gives up whole levels: its answer is rounded to each unit's largest share and repaired, and its duals
// are the prices of the budgets.
#include <algorithm>
#include <cmath>

#include "ockham/core/error.h"
#include "ockham/search/highs.h"
#include "ockham/search/searcher.h"

namespace ockham {
namespace {

// Rows: one for each unit (its shares add up to 1), then one for each budget in units of its limit.
LinearProgram program_of(const SearchProblem& problem, bool is_integer) {
  LinearProgram program;
  program.is_integer = is_integer;
  const size_t units = problem.units.size();
  program.row_lower.assign(units, 1);
  program.row_upper.assign(units, 1);
  std::vector<double> scales;
  for (const SearchBudget& budget : problem.budgets) {
    // Whole costs stay exact where the limit is scaled to a power of two.
    scales.push_back(std::exp2(-std::floor(std::log2(std::max<double>(1, static_cast<double>(budget.limit))) - 10)));
    program.row_lower.push_back(-1e30);
    program.row_upper.push_back(static_cast<double>(budget.limit) * scales.back());
  }
  for (size_t u = 0; u < units; ++u)
    for (const UnitLevel& level : problem.units[u].levels) {
      program.starts.push_back(static_cast<int32_t>(program.values.size()));
      program.cost.push_back(level.error);
      program.rows.push_back(static_cast<int32_t>(u));
      program.values.push_back(1);
      for (size_t b = 0; b < scales.size(); ++b) {
        if (level.costs[b] == 0) continue;
        program.rows.push_back(static_cast<int32_t>(units + b));
        program.values.push_back(static_cast<double>(level.costs[b]) * scales[b]);
      }
    }
  return program;
}

class Milp final : public Searcher {
 public:
  explicit Milp(bool is_integer) : is_integer_(is_integer) {}
  bool is_additive() const override { return true; }
  SearchResult search(const SearchProblem& problem, Objective&, const SearchSettings& settings,
                      const SearchMemory&) const override {
    const LinearProgram program = program_of(problem, is_integer_);
    const LinearSolution solution = solve(program);
    SearchResult result;
    size_t column = 0;
    for (const SearchUnit& unit : problem.units) {
      const auto first = solution.values.begin() + static_cast<std::ptrdiff_t>(column);
      const auto last = first + static_cast<std::ptrdiff_t>(unit.levels.size());
      result.best.push_back(static_cast<int>(std::max_element(first, last) - first));
      column += unit.levels.size();
    }
    Rng rng(settings.seed);
    // Rounding of shares, and the solver's tolerance, may break a budget by a little.
    if (!problem.repair(result.best, rng))
      throw_input("search: no choice of levels keeps every budget; raise one of them or add levels");
    if (!is_integer_) {
      problem.fill(result.best, rng);
      for (size_t b = 0; b < problem.budgets.size(); ++b) {
        const double scale =
            program.row_upper[problem.units.size() + b] / static_cast<double>(problem.budgets[b].limit);
        result.multipliers.push_back(-solution.duals[problem.units.size() + b] * scale);
      }
    }
    result.fitness = problem.error(result.best);
    result.evaluations = 1;
    result.history.push_back({0, 0, result.fitness});
    return result;
  }

 private:
  bool is_integer_;
};

}  // namespace

std::unique_ptr<Searcher> make_milp() {
  return std::make_unique<Milp>(true);
}
std::unique_ptr<Searcher> make_lp() {
  return std::make_unique<Milp>(false);
}

}  // namespace ockham
