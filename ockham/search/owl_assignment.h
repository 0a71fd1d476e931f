// The choices that a search is compared with, at the same budget.
#pragma once

#include "ockham/model/checkpoint.h"
#include "ockham/search/budget.h"

namespace ockham {

// Shares of outliers per block, in percent, on the dense model (m = 5, see methods/allocation/owl.h).
std::vector<double> owl_shares(const Checkpoint& checkpoint, const std::vector<LevelUnit>& units, const Tensor& ids);

// Every unit at the level next to what OWL gives its block, within the budgets and filled up to them. OWL speaks of
// sparsity; for other costs the share of the dense cost stands in its place (`dense`: cost of a dense weight in the
// first budget, as 16 for bits of a bfloat16 model): at 3 of 16 bits the blocks differ by at most lambda * 16 bits from
// the mean.
Assignment owl_assignment(const SearchProblem& problem, const std::vector<LevelUnit>& units,
                          const std::vector<double>& shares, double dense, double lambda);

}  // namespace ockham
