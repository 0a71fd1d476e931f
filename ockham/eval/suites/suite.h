// A suite reads a benchmark's own files, below --data, into items. One file per suite, listed once in registry.cc; a
// task file names it: `data: {suite: decodingtrust/privacy, params: {...}}`.
//
// An item is a JSON object. Every suite gives `id` (the benchmark's row identity, unique within the task) and, where a
// score is a mean of means, `part` ("scenario/cell"). Its prompt is one of
//   `input` with optional `description`, `system`, `examples` ([[text, label], ...])   the benchmark's chat layout
//   `messages` ([{role, content}, ...])                                               turns as they are
//   `context` with `option`                                                           for plain likelihood tasks
// `label`, `option`, `group`, `secret` and other fields are what the scorer asks for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ockham/core/params.h"
#include "ockham/eval/evaluate.h"
#include "ockham/io/json.h"

namespace ockham {

struct SuiteItems {
  std::vector<Json> items;
  // Scenarios whose files are absent, with the file that was looked for. They make the task's score "partial k/n".
  struct Missing {
    std::string scenario, file;
  };
  std::vector<Missing> missing;
  std::vector<std::string> notes;  // what a reader of the score must know: substitutes, rows left out
};

struct SuiteContext {
  const Task& task;
  const Params& params;        // of `data: {params: ...}`, checked against the entry
  const EvalOptions& options;  // tier, seed, prompt mode
  std::string directory;       // the data directory; exists
};

struct SuiteEntry {
  const char* name;     // "decodingtrust/privacy"
  const char* summary;  // what it reads, from where
  std::vector<ParamSpec> params;
  std::vector<std::string> scenarios;  // first segments of `part` that a whole score needs; empty: one unnamed scenario
  void (*read)(const SuiteContext&, SuiteItems&);
};

// Entries, one per file.
SuiteEntry advglue_suite();
SuiteEntry dt_adversarial_suite();
SuiteEntry dt_demonstrations_suite();
SuiteEntry dt_ethics_suite();
SuiteEntry dt_fairness_suite();
SuiteEntry dt_ood_suite();
SuiteEntry dt_privacy_suite();
SuiteEntry dt_stereotype_suite();
SuiteEntry dt_toxicity_suite();

// The visible table of suites, in alphabetical order.
const std::vector<SuiteEntry>& suites();
const SuiteEntry& find_suite(const std::string& name, const std::string& where);  // Error(kInput) with a suggestion

// Entries of the suites.
SuiteEntry mmlu_entry();
SuiteEntry rows_entry();

// Reads the task's suite. Error(kInput) when --data is missing, or when not one scenario has its files.
SuiteItems read_suite(const Task& task, const EvalOptions& options);

// A file of the data directory, or the first of several places where clones keep it; "" when none exists.
std::string find_data_file(const SuiteContext& context, const std::vector<std::string>& places);

}  // namespace ockham
