// Running what is missing, group by group; estimates for --dry-run.
#include <algorithm>
#include <atomic>
#include <exception>
#include <filesystem>
#include <mutex>
#include <optional>
#include <thread>

#include "ockham/core/error.h"
#include "ockham/core/memory.h"
#include "ockham/core/progress.h"
#include "ockham/core/stopwatch.h"
#include "ockham/core/version.h"
#include "ockham/eval/system_prompt.h"
#include "ockham/io/file.h"
#include "ockham/io/table.h"
#include "ockham/study/store.h"
#include "ockham/study/study.h"

namespace ockham {
namespace {
namespace fs = std::filesystem;

constexpr const char* kCompressionMetrics[] = {"bytes", "sparsity", "bits", "layer_error"};

// Shows the study's own progress; that of its parts (items, blocks) would flicker between the two.
class StudyProgress {
 public:
  explicit StudyProgress(int64_t total) : total_(total) {
    // The parts still interrupt and still are alive: their events redraw the study's line.
    outer_ = exchange_progress_sink([this](const ProgressEvent&) { show(); });
    report_progress({});
  }
  ~StudyProgress() { exchange_progress_sink(outer_); }
  StudyProgress(const StudyProgress&) = delete;
  StudyProgress& operator=(const StudyProgress&) = delete;
  void begin(const std::string& what) {
    {
      const std::lock_guard lock(mutex_);
      what_ = what;
    }
    report_progress({});
  }
  void advance(int64_t cells) {
    {
      const std::lock_guard lock(mutex_);
      done_ += cells;
    }
    report_progress({});
  }

 private:
  // Called by report_progress(), one call at a time.
  void show() {
    const std::lock_guard lock(mutex_);
    if (outer_) outer_({"study", done_, total_, "cells" + (what_.empty() ? "" : ", " + what_)});
  }
  std::mutex mutex_;
  int64_t done_ = 0, total_;
  std::string what_;
  ProgressSink outer_;
};

// Removed when the group is done, unless the models are kept.
class ModelDirectory {
 public:
  ModelDirectory(fs::path path, bool keep) : path_(std::move(path)), keep_(keep) {}
  ~ModelDirectory() {
    std::error_code ignored;
    if (!keep_) fs::remove_all(path_, ignored);
  }
  ModelDirectory(const ModelDirectory&) = delete;
  ModelDirectory& operator=(const ModelDirectory&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  bool keep_;
};

struct Ids {
  std::vector<int64_t> models, recipes;
};

std::unique_ptr<LanguageModel> open_remote(const StudyModel& model, const StudyOptions& options) {
  if (!options.open_remote)
    throw_error(ErrorKind::kUnsupported,
                "{}: a model behind an API is measured by `ockham eval` and `ockham study` only; name a model's folder",
                model.path);
  return options.open_remote(*model.remote);
}

// Its hash says which model is meant; what stands behind the name is the server's matter.
ModelInfo describe_remote(const StudyModel& model, const StudyOptions& options) {
  ModelInfo info;
  info.path = model.path;
  info.name = model.remote->name;
  if (!options.is_plan) info = open_remote(model, options)->info();
  const std::string& tokenizer = model.remote->tokenizer;
  info.sha256 = sha256_text(fmt::format("{}\n{}\n{}", info.path, info.name,
                                        tokenizer.empty() ? "" : sha256_file(tokenizer + "/tokenizer.json")));
  return info;
}

// Everything that a wrong study would trip over later is looked at before the first model is opened.
std::vector<ModelInfo> check_models(const Study& study, const StudyOptions& options, StudyBackend& backend) {
  std::vector<ModelInfo> infos;
  for (const StudyModel& model : study.models) {
    infos.push_back(model.remote ? describe_remote(model, options) : backend.describe(model.path));
    for (const std::string& name : model.recipes)
      if (const StudyRecipe& recipe = study.recipe(name); !recipe.is_dense && !recipe.is_noise)
        backend.check(model.path, recipe.recipe);
  }
  return infos;
}

Ids register_study(const Study& study, const std::vector<ModelInfo>& infos, ResultsStore& store,
                   const std::string& directory) {
  Ids ids;
  store.set_study(study.description());
  for (size_t m = 0; m < study.models.size(); ++m)
    ids.models.push_back(store.add_model(
        {study.models[m].name, study.models[m].path, infos[m].sha256, infos[m].bytes, infos[m].parameters}));
  for (const StudyRecipe& recipe : study.recipes) {
    // Beside the results, so that one command can rebuild a recommended model.
    if (recipe.is_dense || recipe.is_noise) continue;
    const fs::path folder = fs::path(directory) / "recipes";
    fs::create_directories(folder);
    write_file_atomically(folder / (recipe.name + ".yaml"), recipe.text);
  }
  for (const StudyRecipe& recipe : study.recipes)
    ids.recipes.push_back(store.add_recipe({recipe.name, recipe.text, recipe.sha256}));
  for (const Task& task : study.tasks)
    store.add_task({task.name, study.task_texts.at(task.name), task.sha256, "", {}}, study.setting());
  return ids;
}

std::vector<MetricResult> compression_metrics(const CompressedModel& model) {
  std::vector<MetricResult> metrics;
  const double values[] = {model.bytes, model.sparsity, model.bits, model.layer_error};
  const char* units[] = {"bytes", "share", "bits", "share"};
  for (size_t i = 0; i < std::size(values); ++i)
    metrics.push_back({kCompressionMetrics[i], values[i], values[i], values[i], 1, units[i], false, i == 1});
  return metrics;
}

// Groups may run side by side; the store is used by one at a time.
class Runner {
 public:
  Runner(const Study& study, const StudyOptions& options, StudyBackend& backend, ResultsStore& store, const Ids& ids)
      : study_(study), options_(options), backend_(backend), store_(store), ids_(ids), eval_(backend.eval_options()) {
    eval_.tier = study.tier;
    eval_.data_directory = options.data_directory;
    eval_.prompt_mode = study.prompt_mode;
    eval_.chat_template = study.chat_template;
    eval_.toxicity_judge = study.judge.score;
    eval_.judge_label = study.judge.label;
    if (!study.system_prompt_wish.empty())
      eval_.system_prompt = system_prompt_text(study.system_prompt_wish, options.data_directory);
    run_ = store.add_run({version(), machine_description(), utc_now()});
  }

  // Cells of a group that are not in the store yet.
  std::vector<size_t> missing(const StudyGroup& group) {
    std::vector<size_t> tasks;
    const int64_t model = ids_.models[group.model], recipe = ids_.recipes[group.recipe];
    for (size_t task : group.tasks) {
      const std::string& name = study_.tasks[task].name;
      if (!store_.is_done(model, recipe, group.seed, name) || store_.reopen_incomplete(model, recipe, group.seed, name))
        tasks.push_back(task);
    }
    return tasks;
  }
  // What could not be measured, one line each.
  const std::vector<std::string>& gaps() const { return gaps_; }
  int64_t unmeasured() const { return unmeasured_; }

  void run(const StudyGroup& group, const std::vector<size_t>& tasks, StudyProgress& progress) {
    const StudyModel& model = study_.models[group.model];
    const StudyRecipe& recipe = study_.recipes[group.recipe];
    const std::string name = fmt::format("{} {}{}", model.name, recipe.name,
                                         recipe.seeds.size() > 1 ? fmt::format(", draw {}", group.seed) : "");
    progress.begin(name);
    const fs::path folder =
        fs::path(options_.directory) / "models" / fmt::format("{}-{}-s{}", model.name, recipe.name, group.seed);
    const ModelDirectory directory(folder, options_.keep_models);
    check_interrupt();
    CompressedModel compressed;
    const Stopwatch watch;
    if (model.remote) {
      compressed.model = open_remote(model, options_);
    } else if (recipe.is_dense) {
      compressed = backend_.open(model.path);
    } else if (recipe.is_noise) {
      compressed = backend_.open(model.path, group.seed);
    } else if (recipe.recipe.steps.empty()) {
      compressed = backend_.open_cached(model.path, recipe.recipe.kv_cache.value());
    } else {
      Recipe drawn = recipe.recipe;
      drawn.calibration.seed = drawn.contrast.seed = group.seed;
      fs::create_directories(folder.parent_path());
      compressed = backend_.compress(model.path, drawn, folder.string());
    }
    if (!model.remote) store_compression(group, compressed, watch.seconds());
    for (size_t task : tasks) {
      check_interrupt();
      if (is_stopped_) return;
      progress.begin(name + ", " + study_.tasks[task].name);
      if (const std::string gap = measure(group, study_.tasks[task], *compressed.model); !gap.empty()) {
        compressed.warnings.push_back(gap);
        log_warning(model.name + ": " + gap);
        const std::lock_guard lock(store_mutex_);
        gaps_.push_back(model.name + ": " + gap);
      }
      progress.advance(1);
    }
    // What a server did not give is known only now, and may differ from what it did not give before.
    if (!model.remote) return;
    {
      const std::lock_guard lock(store_mutex_);
      store_.remove_cell(ids_.models[group.model], ids_.recipes[group.recipe], group.seed, kCompressionTask);
    }
    store_compression(group, compressed, 0);
  }

  // Every group, on `workers` threads. After an error the other threads end with the cells that they are at.
  void run_all(const std::vector<std::pair<StudyGroup, std::vector<size_t>>>& work, int workers,
               StudyProgress& progress) {
    std::atomic<size_t> next = 0;
    std::exception_ptr failure;
    std::mutex failure_mutex;
    const auto run_some = [&] {
      try {
        for (size_t i = next++; i < work.size() && !is_stopped_; i = next++)
          run(work[i].first, work[i].second, progress);
      } catch (...) {
        const std::lock_guard lock(failure_mutex);
        if (!failure) failure = std::current_exception();
        is_stopped_ = true;
      }
    };
    std::vector<std::thread> threads;
    for (int i = 1; i < workers; ++i) threads.emplace_back(run_some);
    run_some();
    for (std::thread& thread : threads) thread.join();
    if (failure) std::rethrow_exception(failure);
  }

 private:
  void store_compression(const StudyGroup& group, const CompressedModel& compressed, double seconds) {
    const std::lock_guard lock(store_mutex_);
    const int64_t model = ids_.models[group.model], recipe = ids_.recipes[group.recipe];
    if (store_.is_done(model, recipe, group.seed, kCompressionTask)) return;
    const int64_t cell = store_.begin_cell(run_, model, recipe, group.seed, kCompressionTask);
    ItemResult packed;
    packed.id = "model";
    packed.answer = compressed.sha256;
    packed.extra = Json{{"warnings", compressed.warnings}};
    // A kill may have come between the item and the metrics.
    if (store_.resume_cell(cell, compressed.sha256).empty()) store_.add_items(cell, {packed});
    const bool is_remote = study_.models[group.model].remote.has_value();
    store_.finish_cell(cell, is_remote ? std::vector<MetricResult>{} : compression_metrics(compressed), seconds,
                       peak_memory_bytes());
  }

  // Says what is missing: the whole task, where a server gives no likelihoods, or items; "" where nothing is.
  std::string measure(const StudyGroup& group, const Task& task, LanguageModel& model) {
    const int64_t cell = [&] {
      const std::lock_guard lock(store_mutex_);
      return store_.begin_cell(run_, ids_.models[group.model], ids_.recipes[group.recipe], group.seed, task.name);
    }();
    EvalOptions options = eval_;
    options.resume = [&](const std::string& fingerprint) {
      const std::lock_guard lock(store_mutex_);
      return store_.resume_cell(cell, fingerprint);
    };
    options.on_items = [&](const std::vector<ItemResult>& items) {
      const std::lock_guard lock(store_mutex_);
      store_.add_items(cell, items);
    };
    TaskResult result;
    try {
      result = evaluate(model, task, options);
    } catch (const Error& error) {
      if (!model.info().is_remote || error.kind() != ErrorKind::kUnsupported) throw;
      const std::lock_guard lock(store_mutex_);
      ++unmeasured_;
      return fmt::format("{} is not measured: {}", task.name, error.what());
    }
    const std::lock_guard lock(store_mutex_);
    // Notes of the baseline stand for the task; a compressed model's would be overwritten by the next.
    const bool is_baseline = study_.recipes[group.recipe].name == study_.baseline && group.model == 0;
    store_.set_task_data(task.name, result.data_sha256, is_baseline ? result.notes : std::vector<std::string>{},
                         is_baseline);
    const size_t missing = result.missing_items.size();
    if (missing > 0) {
      const auto number = static_cast<double>(missing);
      result.metrics.push_back({kMissingMetric, number, number, number, 1, "items", false, false});
    }
    store_.finish_cell(cell, result.metrics, result.seconds, peak_memory_bytes());
    if (missing == 0) return "";
    return fmt::format("{}: {} of {} items are missing, the first: {}; the same command asks them again", task.name,
                       missing, missing + result.items.size(), result.missing_items[0].reason);
  }

  const Study& study_;
  const StudyOptions& options_;
  StudyBackend& backend_;
  ResultsStore& store_;
  std::mutex store_mutex_;
  const Ids& ids_;
  EvalOptions eval_;
  int64_t run_ = 0;
  std::vector<std::string> gaps_;
  int64_t unmeasured_ = 0;  // tasks among them
  std::atomic<bool> is_stopped_ = false;
};

// Sets the backend's number of workers for a scope.
class WorkerScope {
 public:
  WorkerScope(StudyBackend& backend, int count) : backend_(backend) { backend_.set_workers(count); }
  ~WorkerScope() { backend_.set_workers(1); }
  WorkerScope(const WorkerScope&) = delete;
  WorkerScope& operator=(const WorkerScope&) = delete;

 private:
  StudyBackend& backend_;
};

// How long a task of a benchmark is in full; from tasks/published/sizes.csv, where the data is not here to count.
struct TaskSize {
  double items = 500, prompt_tokens = 60;
};

std::map<std::string, TaskSize> read_sizes(const std::string& home) {
  std::map<std::string, TaskSize> sizes;
  const std::string path = home + "/tasks/published/sizes.csv";
  if (!fs::exists(path)) return sizes;
  const auto table = read_csv(path);
  if (table.empty() || table[0] != std::vector<std::string>{"task", "items", "prompt_tokens"})
    throw_input("{}: expected the columns task, items, prompt_tokens", path);
  for (size_t row = 1; row < table.size(); ++row) {
    try {
      sizes[table[row][0]] = {std::stod(table[row][1]), std::stod(table[row][2])};
    } catch (const std::exception&) {
      throw_input("{}: row {} holds '{}' and '{}', expected numbers", path, row, table[row][1], table[row][2]);
    }
  }
  return sizes;
}

TaskSize size_of(const Task& task, const EvalOptions& options, const std::map<std::string, TaskSize>& sizes) {
  const auto known = sizes.find(task.name);
  TaskSize size = known == sizes.end() ? TaskSize{} : known->second;
  const auto planned = task.items.find(options.tier);
  const double wanted = planned == task.items.end() ? 200 : static_cast<double>(planned->second);
  if (wanted > 0) size.items = known == sizes.end() ? wanted : std::min(wanted, size.items);
  return size;
}

// A rough guess from the work: prompt tokens in parallel, generated ones one after the other, each step reading the
// weights once. Replaced by the seconds of the same cell where an earlier run has them.
double guess_seconds(const Task& task, const TaskSize& size, Tier tier, double flops_per_second,
                     const ModelInfo& model) {
  const auto parameters = static_cast<double>(model.parameters);
  const double per_token = 2 * parameters / flops_per_second,
               step_seconds = std::max(2e-3, 4 * parameters / 2e10);  // float32 weights at 20 GB/s
  const auto samples = task.samples.find(tier);
  const double draws = samples == task.samples.end() ? 1 : static_cast<double>(std::max<int64_t>(samples->second, 1));
  if (task.kind == RequestKind::kPerplexity)
    return size.items * static_cast<double>(std::min<int64_t>(model.context_length, 2048)) * per_token;
  const double generated = task.kind == RequestKind::kGenerate ? static_cast<double>(task.max_tokens) : 4;
  return size.items * (size.prompt_tokens + draws * generated) * per_token +
         generated * step_seconds * std::max(1.0, size.items * draws / 512);
}

}  // namespace

std::vector<GroupEstimate> estimate_study(const Study& study, const StudyOptions& options, StudyBackend& backend) {
  const std::vector<ModelInfo> infos = check_models(study, options, backend);
  EvalOptions eval = backend.eval_options();
  eval.tier = study.tier;
  // Finished cells of an earlier run are read without the writer's lock: a dry run changes nothing.
  std::optional<StudyResults> known;
  if (fs::exists(fs::path(options.directory) / "results.sqlite")) known = read_results(options.directory, false);
  const std::map<std::string, TaskSize> sizes = read_sizes(options.home);
  std::vector<GroupEstimate> estimates;
  std::map<std::pair<size_t, size_t>, StudyBackend::Estimate> compressions;
  for (const StudyGroup& group : plan_groups(study, options.shard, options.shards)) {
    const StudyRecipe& recipe = study.recipes[group.recipe];
    const auto place = std::make_pair(group.model, group.recipe);
    const bool is_remote = study.models[group.model].remote.has_value();  // costs nothing here
    if (is_remote) compressions[place] = {};
    if (!compressions.contains(place))
      compressions[place] =
          backend.estimate(study.models[group.model].path, recipe.recipe.steps.empty() ? nullptr : &recipe.recipe);
    const StudyBackend::Estimate& compression = compressions[place];
    GroupEstimate estimate{group, compression.seconds, compression.bytes, compression.peak_bytes,
                           0,     compression.seconds};
    const StudyModel& model = study.models[group.model];
    const double flops_per_second = is_remote ? 0 : backend.flops_per_second(model.path);
    for (size_t index : group.tasks) {
      const Task& task = study.tasks[index];
      const bool is_same =
          known && known->recipe(recipe.name) != nullptr && known->recipe(recipe.name)->sha256 == recipe.sha256;
      const StoredCell* cell = is_same ? known->cell(model.name, recipe.name, group.seed, task.name) : nullptr;
      if (cell != nullptr)
        ++estimate.done;
      else if (!is_remote)
        estimate.seconds +=
            guess_seconds(task, size_of(task, eval, sizes), study.tier, flops_per_second, infos[group.model]);
    }
    if (estimate.done == group.tasks.size()) estimate.seconds = estimate.compression_seconds = 0;
    estimates.push_back(estimate);
  }
  return estimates;
}

StudyOutcome run_study(const Study& study, const StudyOptions& options, StudyBackend& backend) {
  const Stopwatch watch;
  const std::vector<ModelInfo> infos = check_models(study, options, backend);
  ResultsStore store(options.directory);
  const Ids ids = register_study(study, infos, store, options.directory);
  StudyOutcome outcome;
  outcome.superseded = store.superseded();
  if (outcome.superseded > 0)
    log_info(
        fmt::format("{} finished cells belong to a model, recipe or task that has changed since; they are kept aside "
                    "and measured again",
                    outcome.superseded));
  Runner runner(study, options, backend, store, ids);
  std::vector<std::pair<StudyGroup, std::vector<size_t>>> work;
  for (const StudyGroup& group : plan_groups(study, options.shard, options.shards)) {
    std::vector<size_t> tasks = runner.missing(group);
    outcome.cells_run += static_cast<int64_t>(tasks.size());
    outcome.cells_kept += static_cast<int64_t>(group.tasks.size() - tasks.size());
    if (!tasks.empty()) work.emplace_back(group, std::move(tasks));
  }
  if (outcome.cells_kept > 0)
    log_info(fmt::format("{} cells are finished already, {} to do", outcome.cells_kept, outcome.cells_run));
  {
    const int workers = std::clamp(backend.workers(infos), 1, std::max(1, static_cast<int>(work.size())));
    const WorkerScope scope(backend, workers);
    StudyProgress progress(outcome.cells_run);
    runner.run_all(work, workers, progress);
  }
  outcome.gaps = runner.gaps();
  outcome.cells_run -= runner.unmeasured();
  // What a killed run left half-written.
  std::error_code ignored;
  if (!options.keep_models) fs::remove_all(fs::path(options.directory) / "models", ignored);
  outcome.seconds = watch.seconds();
  return outcome;
}

}  // namespace ockham
