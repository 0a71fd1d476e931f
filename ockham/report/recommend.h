// Limits in, one configuration out: which one, by which rule, on which evidence. The same input gives the same choice.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ockham/report/summary.h"

namespace ockham {

struct Limits {
  double max_bytes = 0;                    // 0: none
  std::map<std::string, double> changes;   // dimension -> least allowed change, points (<= 0)
  std::map<std::string, double> scores;    // dimension -> least allowed score, 0-100
  std::map<std::string, double> refusals;  // dimension -> least allowed share of refusals, 0-1
  double max_perplexity_ratio = 0;         // to dense; 0: none
  bool by_estimate = false;  // judge the estimates; otherwise the worse end of the 90 % interval must be inside
};

// One limit held against one configuration.
struct LimitCheck {
  std::string limit;     // "fairness may fall by 2.0"
  std::string measured;  // "−0.5 (90 %: −3.1 to +2.1)"
  bool is_met = false;
  double excess = 0;  // how far outside, in units of the limit's scale; 0 inside
};

struct Candidate {
  size_t row = 0;
  std::vector<LimitCheck> checks;
  double excess = 0;  // sum over checks
  bool is_met() const;
};

struct Recommendation {
  std::optional<Candidate> choice;   // empty: nothing meets the limits
  std::optional<Candidate> nearest;  // what comes closest otherwise
  std::string rule;                  // "the smallest of 3 configurations that meet all limits"
  std::vector<Candidate> all;        // in the order of the report
};

// Dimensions are column ids, titles, task names, or the groups `trust`, `knowledge`, `all`. Error(kUsage) with a
// suggestion for another name.
Recommendation recommend(const Comparison& comparison, const Limits& limits);

// The seed of the draw in the middle by trust mean (the best one would be luck), and its place in the row's seeds.
size_t median_draw(const Comparison& comparison, const ComparisonRow& row);

}  // namespace ockham
