// How much goes where, as a problem of choice: every unit (a linear, a half of a block or a block) takes one of its
// levels, and sums over units stay within budgets. What a choice is worth is the matter of an Objective (searcher.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/core/rng.h"

namespace ockham {

// One way to store a unit. `costs`: one for each budget of the problem, >= 0. `error`: what the choice of this level
// alone does to the model, for searchers that add errors up.
struct UnitLevel {
  std::string name;
  std::vector<int64_t> costs;
  double error = 0;
};
// Levels stand in ascending order of the first cost; a level's place is its rank.
struct SearchUnit {
  std::string name;
  int64_t weights = 0;
  std::vector<UnitLevel> levels;
};
struct SearchBudget {
  std::string name;  // "bytes"
  int64_t limit = 0;
};
// A rank for every unit.
using Assignment = std::vector<int>;

struct SearchProblem {
  std::vector<SearchUnit> units;
  std::vector<SearchBudget> budgets;  // at least one; the first orders the levels
  Assignment start;                   // where searches begin; empty: uniform_assignment()

  int64_t cost(const Assignment& assignment, size_t budget = 0) const;
  bool fits(const Assignment& assignment) const;
  // The least positive difference of the first cost between neighbouring levels of a unit; 0 where there is none.
  int64_t smallest_step() const;
  // Sum of the levels' errors.
  double error(const Assignment& assignment) const;
  // Sorts the levels; Error(kInput) where a unit has none, or where even the cheapest levels exceed a budget.
  void prepare(const std::string& where);
  Assignment cheapest() const;

  // Lowers random units until every budget holds, those of `kept` last. False where that is impossible.
  bool repair(Assignment& assignment, Rng& rng, const std::vector<bool>& kept = {}) const;
  // Raises random units by one level each until no unit can be raised without breaking a budget: what is left of the
  // first budget is then less than any step that is still possible.
  void fill(Assignment& assignment, Rng& rng) const;
  // The same in the order of the units, one level each in turn.
  void fill_in_order(Assignment& assignment) const;
};

// The highest share of every unit's own range of levels that fits, filled in order: the same level everywhere where
// units have the same levels.
Assignment uniform_assignment(const SearchProblem& problem);
// For comparison and for keys.
uint64_t hash_of(const Assignment& assignment);

}  // namespace ockham
