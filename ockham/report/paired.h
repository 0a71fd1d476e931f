// Paired resampling over the items of one column: the same picks for both sides, each scenario resampled on its own.
#pragma once

#include <string>
#include <vector>

#include "ockham/report/summary.h"

namespace ockham {

// One scenario on both sides; items are those that both have, in the same order. A side holds one list per calibration
// draw.
struct PairedTask {
  const Task* task = nullptr;
  std::vector<std::vector<ItemResult>> first, second;
};

// first - second, scores averaged over draws and scenarios. The p-value is that of value / standard error (the
// bootstrap's), since a counted one could not become small enough to survive the correction for many comparisons.
Difference paired_change(const std::vector<PairedTask>& tasks, const SummaryOptions& options, uint64_t seed);

// Keeps the items that every list has, sorted by id.
void align(PairedTask& task);

// Standard error behind a Difference.
double standard_error(const Difference& difference);

}  // namespace ockham
