// What a study stored, in memory: the input of every report. Filled by the store, or by hand in tests.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ockham/eval/evaluate.h"
#include "ockham/eval/task.h"
#include "ockham/io/json.h"

namespace ockham {

// The pseudo task whose cell holds what compressing gave: bytes, sparsity, bits; one item "model" with the packed hash.
inline constexpr const char* kCompressionTask = "compression";

// The pseudo recipe whose draws are the dense model with noise of rounding size; in no list of versions.
inline constexpr const char* kNoiseRecipe = "noise";

// What the study file asked for; written into the store, so that a report can say what is missing.
struct StudyDescription {
  struct Model {
    std::string name;
    std::vector<std::string> recipes;  // the recipes that this model gets, in order
    std::vector<uint64_t> seeds = {};  // of the recipes' calibration draws only these; empty: all
    std::string smaller_of = {};       // the model whose smaller dense rival this one is; "": of the first, if any
    std::string published = {};        // its name in the table of published scores; "": `name`
  };
  std::string title;
  std::string text;      // of the study file
  std::string baseline;  // name of the recipe that everything is compared with
  std::string tier;
  double margin = 0;  // points
  std::string prompt_mode = "clean";
  std::string system_prompt;  // a preset or a text; empty: as the tasks say
  std::vector<Model> models;
  std::map<std::string, std::vector<uint64_t>> seeds;  // per recipe
  std::vector<std::string> tasks;
  std::string published_name, published_text;  // a table of published scores (CSV) to hold the results against; or ""

  // The calibration draws that this model gets of this recipe.
  std::vector<uint64_t> draws(const Model& model, const std::string& recipe) const;
};
// Those of `recipe` that `model` is to get: all where it names none, the first where it names none of them.
std::vector<uint64_t> common_draws(const std::vector<uint64_t>& recipe, const std::vector<uint64_t>& model);
Json to_json(const StudyDescription& study);
// Error(kInput) naming `where` for a missing key or an unknown major version.
StudyDescription study_from_json(const Json& json, const std::string& where);

struct StoredRun {
  std::string version, machine, started;
};
struct StoredModel {
  std::string name, path, sha256;
  int64_t bytes = 0, parameters = 0;
};
struct StoredRecipe {
  std::string name, text, sha256;
};
struct StoredTask {
  std::string name, text, sha256;  // of the task file
  std::string data_sha256;         // of the items used
  std::vector<std::string> notes;
};
struct StoredCell {
  std::string model, recipe, task;
  uint64_t seed = 0;
  size_t run = 0;  // index into StudyResults::runs
  double seconds = 0;
  int64_t peak_bytes = 0;
  std::vector<ItemResult> items;
  std::vector<MetricResult> metrics;

  const MetricResult* metric(const std::string& name) const;  // null when absent
};

struct StudyResults {
  std::string source;  // the directory, for messages
  StudyDescription study;
  std::vector<StoredRun> runs;
  std::vector<StoredModel> models;
  std::vector<StoredRecipe> recipes;
  std::vector<StoredTask> stored_tasks;
  std::map<std::string, Task> tasks;  // parsed, by name
  std::vector<StoredCell> cells;      // finished ones of the current study only
  int64_t superseded_cells = 0;       // of changed models, recipes or tasks; kept, not shown

  const StoredModel* model(const std::string& name) const;
  const StoredRecipe* recipe(const std::string& name) const;
  const StoredCell* cell(const std::string& model, const std::string& recipe, uint64_t seed,
                         const std::string& task) const;
};

// The parts of one study, as its shards left them. Error(kInput) where a model, recipe, task or the tier differs.
StudyResults merge(std::vector<StudyResults> parts);

}  // namespace ockham
