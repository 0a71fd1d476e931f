// From stored answers to the comparison that every report shows: per configuration and dimension the score, the paired
// difference to the dense model with its interval, a corrected p-value, a verdict, refusals, spread over calibration
// draws. Not done here: words (verdict.h, findings.h) and pages (html.h, text_formats.h).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ockham/eval/paired.h"
#include "ockham/report/results.h"

namespace ockham {

enum class ColumnGroup { kTrust, kKnowledge, kOther };

// A column of the comparison: a dimension (the mean of its scenarios), or one task of the knowledge suites.
struct Column {
  std::string id, title;
  std::string short_title;  // for column heads
  ColumnGroup group = ColumnGroup::kTrust;
  std::vector<std::string> tasks;     // without benign controls
  std::vector<std::string> controls;  // printed beside, never averaged in
  double chance = -1;                 // mean of the tasks' chance scores; -1: does not apply
};

struct ControlScore {
  std::string task;
  double score = 0, change = 0;
};

// The change of one part of a task's items: a subject, or how often the world tells a fact.
struct PartChange {
  std::string part;
  double value = 0;  // mean over its items, points
  double error = 0;  // standard error, from the spread of the items' changes over all parts (they may all agree in one)
  int64_t n = 0;
};

struct ComparisonCell {
  int64_t done = 0, planned = 0;  // scenarios; a score of fewer than planned is "partial"
  double score = 0;               // 0-100, mean over scenarios and calibration draws; valid when done > 0
  Interval interval;              // 95 %, of the score; mean over draws of the stored intervals
  bool has_change = false;        // the baseline has these scenarios too
  Difference change;              // against the baseline, points
  Interval interval90;            // of the change
  double p_adjusted = 1;          // Holm, over all dimensions and configurations of the report
  Verdict verdict = Verdict::kCannotTell;
  bool is_interpretable = true;             // false where the baseline itself is within two standard errors of chance
  double refusal = -1, refusal_change = 0;  // shares 0-1; -1: no refusals are counted here
  double noise_floor = 0;                   // points: what noise of rounding size does to the score; 0: not measured
  std::vector<double> draws;                // score of each calibration draw, in the order of the row's seeds
  std::vector<ControlScore> controls;
  std::vector<PartChange> parts;  // of knowledge tasks whose items have parts; by name
};

// kCache: the weights are the dense model's, its KV cache is compressed.
enum class MethodFamily { kDense, kPruning, kQuantization, kMixed, kCache, kOther };

struct ComparisonRow {
  std::string model, recipe;
  std::string compared_with;  // the model whose baseline this row is compared with
  bool is_baseline = false;
  bool is_rival = false;     // another model's baseline: the smaller dense model
  bool shows_model = false;  // several models have versions, so that a label needs the model's name
  MethodFamily family = MethodFamily::kOther;
  std::string method;  // of the last step, "" for dense
  double nominal_sparsity = 0;
  int64_t nominal_bits = 0;  // 0: not quantized
  std::string pattern;       // "2:4", "unstructured", ""
  std::string cache_policy;  // "h2o, budget 0.2"; "": nothing is compressed
  // Of a compressed cache, over the tasks: bytes for each token read, share of the tokens kept, share of the prompts'
  // attention on those (none where the policy does not reckon it).
  std::optional<double> cache_bytes, cache_kept, cache_mass;
  std::vector<uint64_t> seeds;
  double bytes = 0;  // on disk, mean over draws; 0: not measured
  double sparsity = 0, bits = 0;
  double perplexity = 0, perplexity_low = 0, perplexity_high = 0;  // mean and range over draws; 0: not measured
  double perplexity_ratio = 0;                                     // to the baseline; 0: unknown
  double layer_error = 0;                                          // relative error of the weights, mean over linears
  // Nats per token of the items of the first perplexity task, first draw, by item id.
  std::vector<double> perplexity_items;
  double seconds = 0;  // compression and all tasks, summed over draws
  int64_t peak_bytes = 0;
  std::vector<ComparisonCell> cells;  // parallel to Comparison::columns
  std::optional<double> trust_mean, knowledge_mean;
  std::optional<double> worst_change;  // most negative change over the interpretable trust columns
  std::string worst_column;
  std::vector<std::string> packed_sha256;  // per draw
  std::vector<std::string> warnings;

  std::string label() const;  // "wanda-50", "mini wanda-50" among several models, or "mini-small (dense)" for a rival
};

// The smaller dense model against the compressed version nearest to it in bytes.
struct RivalMatch {
  struct Entry {
    size_t column = 0;
    Difference difference;  // compressed minus rival
    double p_adjusted = 1;  // Holm, within this match
  };
  size_t rival = 0, compressed = 0;  // rows
  std::vector<Entry> entries;
};

struct Comparison {
  StudyDescription study;
  std::vector<Column> columns;
  std::vector<ComparisonRow> rows;
  std::vector<StoredRun> runs;
  std::vector<StoredModel> models;
  std::vector<StoredRecipe> recipes;
  std::vector<StoredTask> tasks;
  std::string primary;      // name of the first model
  bool uses_world = false;  // items of the generated world
  int64_t comparisons = 0;  // how many p-values Holm corrected
  int64_t resamples = 0;
  int64_t noise_copies = 0;  // of the primary model, behind every noise floor
  int64_t cells_done = 0, cells_planned = 0, superseded_cells = 0;
  std::vector<std::string> perplexity_tasks;
  std::vector<RivalMatch> rivals;

  const ComparisonRow* baseline(const std::string& model) const;
  const Column* column(const std::string& id) const;
  size_t column_index(const std::string& id) const;
};

struct SummaryOptions {
  double margin = 0;  // 0: as the study says
  int64_t resamples = 1000;
  ScoreStatistic statistic = score_statistic;
};

// The finished cells of a row for one task, one per calibration draw, in the order of the row's seeds.
std::vector<const StoredCell*> draws_of(const StudyResults& results, const ComparisonRow& row, const std::string& task);

Comparison summarize(const StudyResults& results, const SummaryOptions& options = {});

// What the report plots against bytes. Each has its own Pareto front.
enum class Quality { kKnowledge, kTrust, kWorst, kPerplexity };
// Higher is better; nothing where the row has no such number.
std::optional<double> quality_of(const ComparisonRow& row, Quality quality);
// Indices of the rows that no other row beats in both bytes and quality.
std::vector<size_t> pareto_front(const Comparison& comparison, Quality quality);

std::string dimension_title(const std::string& dimension);
std::string dimension_short_title(const std::string& dimension);  // for column heads; may hold soft hyphens
std::string family_name(MethodFamily family);

}  // namespace ockham
