// Two models on the same items: the comparison behind `ockham eval --baseline`, every report and every recheck.
// Resamples pick the same items for both sides, each scenario on its own.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ockham/eval/evaluate.h"
#include "ockham/eval/statistics.h"

namespace ockham {

// One scenario on both sides; items are those that both have, in the same order. A side holds one list per calibration
// draw.
struct PairedTask {
  const Task* task = nullptr;
  std::vector<std::vector<ItemResult>> first, second;
};
// The score of a list of items as a statistic; replaced in tests.
using ScoreStatistic = std::function<Statistic(const Task&, const std::vector<ItemResult>&)>;

// first - second, scores averaged over draws and scenarios. The p-value is that of value / standard error (the
// bootstrap's), since a counted one could not become small enough to survive the correction for many comparisons. No
// interval of a score in points is narrower than what n items that all agree leave open (the exact bound for no event
// in n), or six perfect answers would prove equivalence.
Difference paired_change(const std::vector<PairedTask>& tasks, int64_t resamples, uint64_t seed,
                         const ScoreStatistic& statistic = score_statistic);

// Keeps the items that every list has, sorted by id.
void align(PairedTask& task);

// Standard error behind a Difference.
double standard_error(const Difference& difference);

// Root mean square of what noise of rounding size alone does to a metric, from the metric's values on noisy copies of a
// model; 0 without copies.
double noise_floor(double value, const std::vector<double>& noisy);
// "12.3", a change in units of the floor; "–" without a floor, or with a change that is not zero over one that is.
std::string in_noise_units(double change, double floor);

}  // namespace ockham
