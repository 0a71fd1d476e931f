// A table of published scores, and a study's own scores held against it: one line per published figure.
// Non-goals: what the figures say by themselves (study/recheck/published.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/report/summary.h"

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

// CSV with the columns model, method, rate, seeds (optional), average (optional), one per dimension in points, and
// DIMENSION_sd (optional). Error(kInput) names row, column, found and expected.
PublishedScores parse_published(const std::string& text, const std::string& where);
PublishedScores read_published(const std::string& path);

enum class Agreement { kAgrees, kLower, kHigher, kCannotTell, kNotMeasured };
std::string agreement_text(Agreement agreement);  // "agrees", "differs: lower", ..., "not measured"

// One published figure. A version of the study belongs to it where its model is named so (or carries that name under
// `published`), its last step is that method (any case), and bits or pattern are that rate.
struct PublishedFigure {
  std::string model, version, dimension;  // "Llama-2-13b-chat", "GPTQ 4", "privacy"
  double published = 0;
  double spread = 0;  // standard deviation over `seeds` published seeds; 0: not known
  int64_t seeds = 1;
  bool is_planned = false;  // the study has the version and the dimension
  std::string label;        // of the study's row; "" where there is none
  double measured = 0;      // valid unless kNotMeasured
  // Measured minus published, points. The error joins the items' of the measured score, the spreads over draws on both
  // sides where they are known, and the rounding of the published figure.
  Difference difference;
  double p_adjusted = 1;  // Holm, over all measured figures
  // Agrees: two one-sided tests within the margin. Differs: after Holm. Otherwise nothing is claimed.
  Agreement agreement = Agreement::kNotMeasured;
  std::string reason;  // of kNotMeasured: "partial 2/3", "no such version in this study"
};
struct PublishedComparison {
  std::string name;  // of the table
  std::vector<std::string> dimensions;
  std::vector<PublishedFigure> figures;
  std::vector<std::string> cautions;  // settings that differ from the published ones
  int64_t count(Agreement agreement) const;
};
// No figures where the study names no table.
PublishedComparison compare_with_published(const Comparison& comparison);
// "360 published figures: 12 agree, ...", for a terminal line or a lede.
std::string published_summary(const PublishedComparison& comparison);

}  // namespace ockham
