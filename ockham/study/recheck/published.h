// Judges published tables of scores: what their figures say, and what of it stands beyond the spread over seeds.
// Goals: every statement per model, with the figures that decide. Non-goals: intervals over items, which tables lack.
#pragma once

#include <string>
#include <vector>

#include "ockham/report/published_scores.h"
#include "ockham/study/recheck/claim.h"

namespace ockham {

struct StatementRuling {
  std::string statement, rule, model;
  Ruling as_published = Ruling::kCannotTell;
  // The same ruling where the deciding figures are clear of their thresholds beyond the spread over seeds: by Student's
  // t (a spread itself by chi-square) after Holm's correction over every figure with a known spread that a statement
  // looked at.
  Ruling beyond_seeds = Ruling::kCannotTell;
  std::string evidence;
};

// Seven statements on every model of the table. A published average that differs from the mean of its row by more than
// 0.11 points (rounding) is named in `warnings`.
std::vector<StatementRuling> judge_published(const PublishedScores& scores, std::vector<std::string>& warnings);

}  // namespace ockham
