// The exact choice of one option per item under a budget, behind error-dp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ockham {

// One option per item with the least sum of errors among those whose costs stay within `budget`; of equally good
// choices the one that costs least. errors[i][k] and costs[i][k] >= 0 belong to option k of item i. Empty where even
// the cheapest options cost more. By dynamic programming over costs in units of their greatest common divisor; where
// that makes more than a million of units, costs are rounded up to coarser ones.
std::vector<size_t> choose_options(const std::vector<std::vector<double>>& errors,
                                   const std::vector<std::vector<int64_t>>& costs, int64_t budget);

}  // namespace ockham
