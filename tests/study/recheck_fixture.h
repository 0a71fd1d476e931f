// Comparisons with a known truth: a dense model at 60 everywhere, and versions whose changes a script gives.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ockham/study/recheck/claim.h"

namespace ockham {

inline const std::vector<std::string> kTrust = {
    "toxicity",       "stereotype", "adversarial_robustness", "ood_robustness", "adversarial_demonstrations", "privacy",
    "machine_ethics", "fairness"};
inline const std::vector<std::string> kKnowledge = {"factworld/closed-book", "factworld/open-book",
                                                    "factworld/multiple-choice"};

// A dense model at 60 everywhere; `change` gives each version's difference in a column, `error` its standard error.
struct Script {
  std::function<double(const ComparisonRow&, const std::string& column)> change;
  double error = 0.5;
  std::function<double(const ComparisonRow&)> perplexity_ratio = [](const ComparisonRow&) { return 1.0; };
  std::function<double(const ComparisonRow&)> refusal_change = [](const ComparisonRow&) { return 0.0; };
  std::function<std::vector<double>(const ComparisonRow&, const std::string&)> draws = {};
  std::function<std::vector<PartChange>(const ComparisonRow&)> parts = {};
  std::function<void(ComparisonRow&)> layers = {};
  double rival_change = 0;
};

ComparisonCell make_cell(double change, double error);
// The versions of a claim as this script has them; 200 items a cell.
Comparison make_comparison(const Claim& claim, const Script& script);

}  // namespace ockham
