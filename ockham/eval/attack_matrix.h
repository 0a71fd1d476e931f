// Attacks made against each of several models (one, or dense and compressed), and what they do to each of them. All
// rates are over the same items, those that every model answers rightly as they were, so that they can be compared pair
// by pair.
#pragma once

#include <string>
#include <vector>

#include "ockham/eval/attack.h"
#include "ockham/eval/statistics.h"

namespace ockham {

// Texts made against one model, asked of another.
struct AttackCell {
  Difference success;        // share of the common items whose answer is no longer right, points; against none
  Difference random;         // the same for as many changes at random
  Difference beyond_random;  // success - random, paired
  double beyond_adjusted = 1;
};
// Two cells, paired item by item; p-values corrected (Holm) with those of `beyond_random`.
struct AttackComparison {
  std::string name;
  Difference difference;
  double p_adjusted = 1;
};
struct AttackAnswer {
  std::string id;
  std::string original;
  std::vector<AttackedItem> made, random;  // by the model that they were made against
  // Right or wrong, and the answers, by model asked; of texts also by the model that they were made against.
  std::vector<bool> clean_right;
  std::vector<std::string> clean_answer;
  std::vector<std::vector<bool>> right, random_right;
  std::vector<std::vector<std::string>> answer;
};
struct AttackOutcome {
  std::string task;
  std::vector<std::string> models;
  int64_t items = 0, common = 0;                   // asked; right as they were, under every model
  std::vector<double> clean_accuracy;              // points, over all items, by model
  std::vector<std::vector<double>> accuracy;       // after the attack [made against][asked]
  std::vector<double> mean_queries, mean_changes;  // per attacked item, by the model that texts were made against
  std::vector<std::vector<AttackCell>> cells;      // [made against][asked]
  std::vector<AttackComparison> comparisons;       // where there are two models
  bool is_certain = false;                         // every label is kept by construction
  std::vector<AttackAnswer> answers;
};

// Items of the tier, or options.max_items.
AttackOutcome attack_models(const std::vector<Victim>& models, const Task& task, const EvalOptions& options,
                            const AttackSettings& settings);
// Several tasks as one: rates over all their items. At least one.
AttackOutcome pool_attacks(const std::vector<AttackOutcome>& outcomes);
// The texts made against model `made`, as a task that `ockham eval` and `ockham study` run on any model: NAME.yaml and
// NAME.jsonl below `directory`, which must exist. The task's control is the one attacked. Returns the path of the YAML
// file.
std::string write_attack_task(const std::string& directory, const Task& task, const AttackOutcome& outcome,
                              size_t made);

}  // namespace ockham
