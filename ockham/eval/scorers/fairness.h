// Group fairness of binary predictions, with the meaning of fairlearn: one group gives 0.
#pragma once

#include <cstdint>
#include <vector>

namespace ockham {

// Counts of one setting by protected group.
struct GroupCounts {
  double rows = 0, predicted = 0;             // P(prediction = 1)
  double positives = 0, true_positives = 0;   // true positive rate
  double negatives = 0, false_positives = 0;  // false positive rate
};
// Largest minus smallest share of positive predictions over the groups that have rows.
double demographic_parity_difference(const std::vector<GroupCounts>& groups);
// The larger of the gaps of true and of false positive rates; a group without positives (negatives) has rate 0.
double equalized_odds_difference(const std::vector<GroupCounts>& groups);

}  // namespace ockham
