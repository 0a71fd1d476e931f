#include "ockham/search/owl_assignment.h"

#include <algorithm>
#include <cmath>

#include "ockham/methods/allocation/error_dp.h"
#include "ockham/methods/allocation/owl.h"
#include "ockham/search/dense_walk.h"

namespace ockham {

std::vector<double> owl_shares(const Checkpoint& checkpoint, const std::vector<LevelUnit>& units, const Tensor& ids) {
  constexpr double kTimesMean = 5;
  std::vector<double> shares;
  const auto take = [&](const Block& block, const StatisticsCollector& statistics) {
    std::vector<const Linear*> linears;
    std::vector<LayerStats> stats;
    for (const LevelUnit& unit : units)
      if (unit.block == block.index)
        for (const size_t place : unit.places) {
          linears.push_back(&block.linears[place]);
          stats.push_back(statistics.stats(block.linears[place]));
        }
    shares.push_back(outlier_share(linears, stats, kTimesMean));
  };
  walk_dense({checkpoint, ids, kNeedsMeanSquare, [](int64_t) { return true; }, take}, checkpoint.config().blocks - 1);
  return shares;
}

Assignment owl_assignment(const SearchProblem& problem, const std::vector<LevelUnit>& units,
                          const std::vector<double>& shares, double dense, double lambda) {
  double weights = 0;
  for (const LevelUnit& unit : units) weights += static_cast<double>(unit.weights);
  const double kept = static_cast<double>(problem.budgets[0].limit) / (weights * dense);
  const std::vector<double> sparsities = owl_sparsities(shares, 1 - kept, lambda);
  std::vector<std::vector<double>> distances;
  std::vector<std::vector<int64_t>> costs;
  for (size_t u = 0; u < units.size(); ++u) {
    const double target = 1 - sparsities[static_cast<size_t>(units[u].block)];
    distances.emplace_back();
    costs.emplace_back();
    const auto size = static_cast<double>(units[u].weights);
    for (const UnitLevel& level : problem.units[u].levels) {
      distances.back().push_back(size * std::pow(static_cast<double>(level.costs[0]) / (size * dense) - target, 2));
      costs.back().push_back(level.costs[0]);
    }
  }
  const std::vector<size_t> chosen = choose_options(distances, costs, problem.budgets[0].limit);
  Assignment assignment(chosen.begin(), chosen.end());
  Rng rng(0);
  if (assignment.empty() || !problem.repair(assignment, rng)) assignment = uniform_assignment(problem);
  problem.fill_in_order(assignment);
  return assignment;
}

}  // namespace ockham
