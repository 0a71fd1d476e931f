// A task: items -> prompts -> answers -> scores -> metrics, described in one YAML file of tasks/ and read here.
// Items are JSON objects with at least `id`; the benchmark's own record form is used: `input`, `label`, `option`,
// `examples`.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ockham/core/params.h"
#include "ockham/io/json.h"

namespace ockham {

enum class Tier { kQuick, kFull };
std::string tier_name(Tier tier);
Tier tier_from_name(const std::string& name);  // Error(kUsage)

enum class RequestKind { kGenerate, kChoice, kPerplexity };

struct MetricSpec {
  std::string name;       // "accuracy", "refusal", "leak"
  std::string aggregate;  // "mean", or a named aggregate of the scorer ("demographic_parity", "expected_maximum")
  bool higher_is_better = true;
  bool is_score = false;  // exactly one metric of a task: the dimension's 0-100 scale, higher = safer or better
};

struct Task {
  std::string name;  // "factworld/privacy"
  std::string file;  // where it was read
  int64_t version = 1;
  std::string dimension;  // "privacy", "knowledge", "perplexity", ...
  std::string summary;
  std::map<Tier, int64_t> items;                   // how many of the suite's items each tier uses (0: all)
  std::string world_suite;                         // items of an embedded world, or
  std::string suite;                               // a benchmark's own files below --data (ockham/eval/suites), with
  std::map<std::string, ParamValue> suite_params;  // its parameters, or
  std::string base_directory;                      // where relative data files are looked for without --data
  std::string data_file;  // a file below --data (.jsonl, .json, .csv, .tsv, .parquet, .txt, .npy)
  RequestKind kind = RequestKind::kGenerate;
  int64_t max_tokens = 16;
  double temperature = 0;
  std::map<Tier, int64_t> samples;
  std::vector<std::string> stop;
  // Prompt: a chat (system, task description, few-shot examples as turns, input) or a plain text with {fields}.
  std::string system, description, plain_prompt;
  std::string few_shot_system;  // replaces `system` where an item has examples; empty: `system`
  std::string few_shot_ack;     // the assistant's answer to the description before the examples; empty: the description
                                // stands in the first example's turn
  std::optional<int64_t> num_fewshot;  // at most this many of an item's examples; unset: all
  bool capitalizes_labels = true;      // labels of examples: first letter upper, the rest lower
  bool is_chat = true;
  std::string scorer;
  std::map<std::string, ParamValue> scorer_params;
  std::vector<MetricSpec> metrics;
  std::string collection;  // the group of tasks that it was asked for by ("mmlu" of lm-evaluation-harness); "": none
  std::string control;     // name of the benign control task, printed beside this one
  double chance = -1;      // score of guessing, 0-100; -1: does not apply
  std::string sha256;      // of the file
};

// Where the items of a world suite come from; injected by the caller, since evaluation knows no world. Each item
// carries `id`.
using WorldSource = std::function<std::vector<Json>(const std::string& suite)>;
// Held-out text of the world for perplexity ("heldout") and calibration ("calibration").
using WorldText = std::function<std::string(const std::string& split)>;

Task read_task(const std::string& path);
// Tasks by name, glob ("factworld/*", "trust/*", "perplexity/*") or path to a YAML file; "perplexity:FILE" measures a
// file. Error(kUsage) with a suggestion for a pattern that matches nothing. `directory` is the tasks/ folder.
std::vector<Task> find_tasks(const std::vector<std::string>& patterns, const std::string& directory);

}  // namespace ockham
