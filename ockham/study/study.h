// A study: models x recipes x calibration draws x tasks, read from YAML, planned, run and resumed.
// Not done here: loading, compressing and measuring models (backend.h), the database (store.h), the report (report/).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ockham/eval/evaluate.h"
#include "ockham/eval/judges/judge.h"
#include "ockham/pipeline/recipe.h"
#include "ockham/report/results.h"
#include "ockham/study/backend.h"

namespace ockham {

// A model behind an API, which nothing is done to.
struct RemoteModel {
  std::string url;        // "https://HOST/v1"
  std::string name;       // on the server; "": its only one
  std::string tokenizer;  // a model directory with its tokenizer, or ""
};
struct StudyModel {
  std::string name, path;            // path: resolved directory, or a Hub id
  std::vector<std::string> recipes;  // names, in order
  std::vector<uint64_t> seeds;       // of the recipes' draws only these; empty: all
  std::string smaller_of;            // the model that this one is the smaller dense rival of; "": the first, if any
  std::string published;             // its name in the table of published scores; "": `name`
  std::optional<RemoteModel> remote;
};
struct StudyRecipe {
  std::string name;
  bool is_dense = false;
  bool is_noise = false;        // the dense model with noise of rounding size, one copy a seed
  Recipe recipe;                // empty for dense; of a compressed cache alone without steps
  std::vector<uint64_t> seeds;  // one for a recipe without calibration
  std::string text, sha256;     // with every default and override, and the hash of the calibration data
};
struct Study {
  std::string file, title, text, baseline;
  Tier tier = Tier::kQuick;
  double margin = 0;  // points
  PromptMode prompt_mode = PromptMode::kClean;
  std::string chat_template;       // of the faithful mode; empty: what each model's name says
  std::string system_prompt_wish;  // a preset or a text; empty: as the tasks say
  ToxicityJudge judge;             // empty: the tasks' word lists
  std::vector<StudyModel> models;
  std::vector<StudyRecipe> recipes;
  std::vector<Task> tasks;
  std::map<std::string, std::string> task_texts;  // the task files
  std::string published_name, published_text;     // a table of published scores, as CSV; ""

  const StudyRecipe& recipe(const std::string& name) const;
  StudyDescription description() const;
  // Tier, prompt settings and judge: cells of another setting are superseded, never mixed in.
  std::string setting() const;
};

struct StudyOptions {
  std::string home;            // holds tasks/, recipes/ and models/
  std::string directory;       // -o
  std::string data_directory;  // --data of benchmark tasks
  std::string tier;            // replaces the file's; empty: as it says
  double margin = 0;           // replaces the file's; 0: as it says
  int shard = 1, shards = 1;
  bool keep_models = false;
  std::string kv;        // every recipe also with this KV-cache policy (parse_kv_policy()); "": none
  std::string judge;     // replaces the file's; empty: as it says
  bool is_plan = false;  // no judge is opened where that needs what is not here, and no server is asked
  // By the name that --judge takes; empty: files of `ockham data judge` only.
  std::function<ToxicityJudge(const std::string& name)> open_judge;
  // Models behind an API; empty: they are refused.
  std::function<std::unique_ptr<LanguageModel>(const RemoteModel& model)> open_remote;
};

// Checks everything that can be checked without a model. Error(kInput) names the file and the line; unknown keys, names
// twice, a baseline that is no recipe, a recipe that needs calibration data and has none are refused.
Study read_study(const std::string& path, const StudyOptions& options, StudyBackend& backend);

// One model and recipe with one draw: compressed once, then asked all tasks.
struct StudyGroup {
  size_t model = 0, recipe = 0;  // indices
  uint64_t seed = 0;
  std::vector<size_t> tasks;  // indices, in order
};
// All groups of a shard (1-based), baselines first.
std::vector<StudyGroup> plan_groups(const Study& study, int shard, int shards);

struct GroupEstimate {
  StudyGroup group;
  double seconds = 0;
  int64_t bytes = 0, peak_bytes = 0;
  size_t done = 0;                 // cells that are already in the store
  double compression_seconds = 0;  // of `seconds`
};
// --dry-run: what the plan costs; nothing is written.
std::vector<GroupEstimate> estimate_study(const Study& study, const StudyOptions& options, StudyBackend& backend);

struct StudyOutcome {
  int64_t cells_run = 0, cells_kept = 0, superseded = 0;
  std::vector<std::string> gaps;  // "MODEL: TASK is not measured: why", and items that are missing
  double seconds = 0;
};
// Runs what is missing. Error(kInterrupted) after Ctrl-C, with everything finished kept.
StudyOutcome run_study(const Study& study, const StudyOptions& options, StudyBackend& backend);

}  // namespace ockham
