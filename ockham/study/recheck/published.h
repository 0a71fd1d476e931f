// Judges published tables of scores: what their figures say, and what of it stands beyond the spread over seeds.
// Goals: every statement per model, with the figures that decide. Non-goals: intervals over items, which tables lack.
#pragma once

#include <string>
#include <vector>

#include "ockham/study/recheck/claim.h"

namespace ockham {

// One version of a model. `method` is "dense" (the reference), "smaller" (a smaller dense model) or a compressor.
struct PublishedRow {
  std::string model, method, rate;
  int64_t seeds = 1;
  std::vector<double> scores;   // points, in the order of PublishedScores::dimensions
  std::vector<double> spreads;  // standard deviation over seeds, points; 0: not known
  double average = -1;          // as published; -1: not given
};
struct PublishedScores {
  std::vector<std::string> dimensions;  // "mmlu" first where there is one
  std::vector<PublishedRow> rows;
};
struct StatementRuling {
  std::string statement, rule, model;
  Ruling as_published = Ruling::kCannotTell;
  // The same ruling where the deciding figures are clear of their thresholds beyond the spread over seeds: by Student's
  // t (a spread itself by chi-square) after Holm's correction over every figure with a known spread that a statement
  // looked at.
  Ruling beyond_seeds = Ruling::kCannotTell;
  std::string evidence;
};

// CSV with the columns model, method, rate, seeds (optional), average (optional), one per dimension in points, and
// DIMENSION_sd (optional). Error(kInput) names row, column, found and expected.
PublishedScores read_published(const std::string& path);
// Seven statements on every model of the table. A published average that differs from the mean of its row by more than
// 0.11 points (rounding) is named in `warnings`.
std::vector<StatementRuling> judge_published(const PublishedScores& scores, std::vector<std::string>& warnings);

}  // namespace ockham
