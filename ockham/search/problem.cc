#include "ockham/search/problem.h"

#include <algorithm>
#include <limits>

#include "ockham/core/error.h"

namespace ockham {

int64_t SearchProblem::cost(const Assignment& assignment, size_t budget) const {
  int64_t sum = 0;
  for (size_t u = 0; u < units.size(); ++u) sum += units[u].levels[static_cast<size_t>(assignment[u])].costs[budget];
  return sum;
}

bool SearchProblem::fits(const Assignment& assignment) const {
  for (size_t b = 0; b < budgets.size(); ++b)
    if (cost(assignment, b) > budgets[b].limit) return false;
  return true;
}

int64_t SearchProblem::smallest_step() const {
  int64_t least = std::numeric_limits<int64_t>::max();
  for (const SearchUnit& unit : units)
    for (size_t l = 1; l < unit.levels.size(); ++l)
      if (const int64_t step = unit.levels[l].costs[0] - unit.levels[l - 1].costs[0]; step > 0)
        least = std::min(least, step);
  return least == std::numeric_limits<int64_t>::max() ? 0 : least;
}

double SearchProblem::error(const Assignment& assignment) const {
  double sum = 0;
  for (size_t u = 0; u < units.size(); ++u) sum += units[u].levels[static_cast<size_t>(assignment[u])].error;
  return sum;
}

void SearchProblem::prepare(const std::string& where) {
  if (units.empty() || budgets.empty()) throw_input("{}: found no unit or no budget, expected both", where);
  for (SearchUnit& unit : units) {
    if (unit.levels.empty())
      throw_input("{}: unit '{}' has no level, expected at least one; add levels", where, unit.name);
    for (const UnitLevel& level : unit.levels) OCKHAM_CHECK(level.costs.size() == budgets.size());
    std::stable_sort(unit.levels.begin(), unit.levels.end(),
                     [](const UnitLevel& a, const UnitLevel& b) { return a.costs < b.costs; });
  }
  for (size_t b = 0; b < budgets.size(); ++b) {
    int64_t least = 0;
    for (const SearchUnit& unit : units) {
      int64_t smallest = std::numeric_limits<int64_t>::max();
      for (const UnitLevel& level : unit.levels) smallest = std::min(smallest, level.costs[b]);
      least += smallest;
    }
    if (least > budgets[b].limit)
      throw_input("{}: budget '{}' is {}, and the smallest levels of all units take {}; raise the budget or add levels",
                  where, budgets[b].name, budgets[b].limit, least);
  }
}

Assignment SearchProblem::cheapest() const {
  return Assignment(units.size(), 0);
}

bool SearchProblem::repair(Assignment& assignment, Rng& rng, const std::vector<bool>& kept) const {
  while (!fits(assignment)) {
    std::vector<size_t> free, others;
    for (size_t u = 0; u < units.size(); ++u)
      if (assignment[u] > 0) (kept.empty() || !kept[u] ? free : others).push_back(u);
    if (free.empty() && others.empty()) return false;
    --assignment[rng.pick(free.empty() ? others : free)];
  }
  return true;
}

namespace {

// Raising unit `u` breaks no budget; `left`: what is left of each.
bool can_raise(const SearchProblem& problem, const Assignment& assignment, const std::vector<int64_t>& left, size_t u) {
  const std::vector<UnitLevel>& levels = problem.units[u].levels;
  const auto rank = static_cast<size_t>(assignment[u]);
  if (rank + 1 >= levels.size()) return false;
  for (size_t b = 0; b < left.size(); ++b)
    if (levels[rank + 1].costs[b] - levels[rank].costs[b] > left[b]) return false;
  return true;
}

std::vector<int64_t> left_of(const SearchProblem& problem, const Assignment& assignment) {
  std::vector<int64_t> left;
  for (size_t b = 0; b < problem.budgets.size(); ++b)
    left.push_back(problem.budgets[b].limit - problem.cost(assignment, b));
  return left;
}

void raise(const SearchProblem& problem, Assignment& assignment, std::vector<int64_t>& left, size_t u) {
  const std::vector<UnitLevel>& levels = problem.units[u].levels;
  const auto rank = static_cast<size_t>(assignment[u]++);
  for (size_t b = 0; b < left.size(); ++b) left[b] -= levels[rank + 1].costs[b] - levels[rank].costs[b];
}

}  // namespace

void SearchProblem::fill(Assignment& assignment, Rng& rng) const {
  std::vector<int64_t> left = left_of(*this, assignment);
  while (true) {
    std::vector<size_t> possible;
    for (size_t u = 0; u < units.size(); ++u)
      if (can_raise(*this, assignment, left, u)) possible.push_back(u);
    if (possible.empty()) return;
    raise(*this, assignment, left, rng.pick(possible));
  }
}

void SearchProblem::fill_in_order(Assignment& assignment) const {
  std::vector<int64_t> left = left_of(*this, assignment);
  bool has_raised = true;
  while (has_raised) {
    has_raised = false;
    for (size_t u = 0; u < units.size(); ++u)
      if (can_raise(*this, assignment, left, u)) {
        raise(*this, assignment, left, u);
        has_raised = true;
      }
  }
}

Assignment uniform_assignment(const SearchProblem& problem) {
  size_t most = 0;
  for (const SearchUnit& unit : problem.units) most = std::max(most, unit.levels.size() - 1);
  // Rank r of the longest list stands for the same share of the shorter ones.
  const auto at = [&](size_t rank) {
    Assignment assignment;
    for (const SearchUnit& unit : problem.units) {
      const size_t top = unit.levels.size() - 1;
      assignment.push_back(static_cast<int>(most > 0 ? rank * top / most : 0));
    }
    return assignment;
  };
  Assignment best = at(0);
  for (size_t rank = 0; rank <= most; ++rank)
    if (Assignment next = at(rank); problem.fits(next)) best = std::move(next);
  problem.fill_in_order(best);
  return best;
}

uint64_t hash_of(const Assignment& assignment) {
  uint64_t hash = 0;
  for (const int rank : assignment) hash = mix_seed(hash, static_cast<uint64_t>(rank) + 1);
  return hash;
}

}  // namespace ockham
