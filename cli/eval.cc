// `ockham eval`: measures a model on tasks, and against a baseline.
#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>

#include "cli/commands.h"
#include "cli/eval_api.h"
#include "cli/eval_output.h"
#include "cli/judge.h"
#include "cli/kv_option.h"
#include "cli/local_model.h"
#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/core/version.h"
#include "ockham/eval/faithful_prompt.h"
#include "ockham/eval/journal.h"
#include "ockham/eval/reference.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/eval/stored_answers.h"
#include "ockham/eval/system_prompt.h"
#include "ockham/io/file.h"
#include "ockham/world/deferred_world.h"

namespace ockham {
namespace {

struct EvalArguments {
  std::string model, baseline, tier = "quick", data, output, prompt_mode = "clean", chat_template, answers,
                               write_benchmark;
  LocalModelOptions how;
  JudgeChoice judge;
  std::optional<std::string> system_prompt;
  std::vector<std::string> tasks = {"factworld/*"};
  int64_t items = 0;
  uint64_t seed = 0;
  double margin = 0;
  bool overwrite = false;
  std::string gen_kwargs, add_bos = "auto", protocol;
  int64_t num_fewshot = -1, noise_copies = 0;
  bool apply_chat_template = false;
  ApiArguments api;
};

constexpr const char* kJudged = ".judged";  // behind the output's name: what a service said so far

std::unique_ptr<LanguageModel> open_model(const std::string& path, const EvalArguments& arguments,
                                          std::optional<uint64_t> noise_seed = {}) {
  LocalModelOptions how = arguments.how;
  how.noise_seed = noise_seed;
  return open_local_model(path, how).model;
}

Json model_json(const ModelInfo& info) {
  return {{"name", info.name},
          {"path", info.path},
          {"sha256", info.sha256},
          {"parameters", info.parameters},
          {"bytes", info.bytes}};
}

// What --kv says is about the model alone, so that its cache can be compared with a whole one.
EvalArguments for_baseline(EvalArguments arguments) {
  arguments.how.kv.clear();
  return arguments;
}

// The baseline gets the same template, whatever its name says.
void choose_template(const ModelInfo& info, EvalOptions& options) {
  if (options.prompt_mode == PromptMode::kFaithful)
    options.chat_template = faithful_template(options.chat_template, info).name;
}

// A task that a server cannot be asked is taken out, with the results that it has already.
std::vector<TaskResult> measure(LanguageModel& model, EvalOutcome& outcome, EvalOptions& options) {
  choose_template(model.info(), options);
  std::vector<TaskResult> results;
  for (size_t t = 0; t < outcome.tasks.size();) {
    const Task& task = outcome.tasks[t];
    if (task.samples.contains(options.tier)) report_progress({"evaluate " + task.name, 0, 0, ""});
    try {
      results.push_back(evaluate(model, task, options));
      ++t;
    } catch (const Error& error) {
      if (!model.info().is_remote || error.kind() != ErrorKind::kUnsupported) throw;
      log_warning(fmt::format("{} is not measured: {}", task.name, error.what()));
      outcome.skipped.push_back({task.name, error.what()});
      outcome.tasks.erase(outcome.tasks.begin() + static_cast<std::ptrdiff_t>(t));
      if (t < outcome.results.size()) outcome.results.erase(outcome.results.begin() + static_cast<std::ptrdiff_t>(t));
    }
  }
  if (results.empty())
    throw_error(ErrorKind::kUnsupported, "{}: no task can be measured; {}: {}", model.info().name,
                outcome.skipped.back().task, outcome.skipped.back().reason);
  return results;
}

std::vector<TaskResult> measure_api(const std::string& url, const std::string& name, const EvalArguments& arguments,
                                    const EvalJournal* journal, EvalOutcome& outcome, EvalOptions& options,
                                    Json& json) {
  const auto model = open_api_model(url, name, arguments.api);
  choose_template(model->info(), options);
  log_info(forecast_text(model->info(), forecast_api(*model, outcome.tasks, options, journal), arguments.api.prices));
  std::vector<TaskResult> results = measure(*model, outcome, options);
  log_info(totals_text(model->info(), model->totals(), arguments.api.prices));
  json = {{"name", model->info().name},
          {"path", model->info().path},
          {"api", totals_json(model->totals(), arguments.api.prices)}};
  return results;
}

std::vector<TaskResult> measure(const std::string& path, const std::string& api_name, const EvalArguments& arguments,
                                const EvalJournal* journal, EvalOutcome& outcome, EvalOptions& options, Json& json) {
  if (is_http_url(path)) return measure_api(path, api_name, arguments, journal, outcome, options, json);
  const auto model = open_model(path, arguments);
  json = model_json(model->info());
  if (!arguments.how.kv.empty()) json["kv_cache"] = arguments.how.kv;
  return measure(*model, outcome, options);
}

void print_dry_run(const EvalArguments& arguments, const EvalOutcome& outcome, EvalOptions& options,
                   const EvalJournal* journal) {
  Json all = Json::array();
  for (const auto& [path, name] :
       {std::pair(arguments.model, arguments.api.model), std::pair(arguments.baseline, arguments.api.baseline_model)}) {
    if (!is_http_url(path)) continue;
    const auto model = open_api_model(path, name, arguments.api);
    choose_template(model->info(), options);
    const std::vector<TaskForecast> counts = forecast_api(*model, outcome.tasks, options, journal);
    all.push_back(forecast_json(model->info(), counts, arguments.api.prices));
    if (!global_options().json) print_forecast(model->info(), counts, arguments.api.prices);
  }
  if (global_options().json) fmt::print("{}\n", Json({{"forecast", all}}).dump(1));
}

// The dense model against itself with noise of rounding size.
void measure_noise(const EvalArguments& arguments, EvalOptions& options, EvalOutcome& outcome) {
  const std::string& path = arguments.baseline.empty() ? arguments.model : arguments.baseline;
  std::vector<std::map<std::string, std::vector<double>>> noisy(outcome.tasks.size());
  outcome.noise_copies = arguments.noise_copies;
  for (int64_t copy = 0; copy < arguments.noise_copies; ++copy) {
    const auto model = open_model(path, for_baseline(arguments), static_cast<uint64_t>(copy));
    const std::vector<TaskResult> results = measure(*model, outcome, options);
    for (size_t t = 0; t < results.size(); ++t)
      for (const MetricResult& metric : results[t].metrics) noisy[t][metric.name].push_back(metric.value);
  }
  for (size_t t = 0; t < outcome.tasks.size(); ++t) {
    outcome.floors.emplace_back();
    for (const MetricResult& metric : (outcome.baseline.empty() ? outcome.results : outcome.baseline)[t].metrics)
      outcome.floors[t][metric.name] = noise_floor(metric.value, noisy[t][metric.name]);
  }
}

// Flips of right-or-wrong tasks; divergence on the text of perplexity tasks, for which both models are open at once.
void find_changes(const EvalArguments& arguments, const EvalOptions& options, EvalOutcome& outcome) {
  std::unique_ptr<LanguageModel> model, dense;
  for (size_t t = 0; t < outcome.tasks.size(); ++t) {
    TaskChanges& change = outcome.changes.emplace_back();
    if (outcome.tasks[t].kind != RequestKind::kPerplexity) {
      PairedTask both{&outcome.tasks[t], {outcome.results[t].items}, {outcome.baseline[t].items}};
      if (!outcome.results[t].missing_items.empty() || !outcome.baseline[t].missing_items.empty()) align(both);
      change.flips = count_flips(both.second[0], both.first[0]);
      continue;
    }
    if (is_http_url(arguments.model) || is_http_url(arguments.baseline)) continue;  // no whole distributions
    if (model == nullptr) {
      model = open_model(arguments.model, arguments);
      dense = open_model(arguments.baseline, for_baseline(arguments));
    }
    change.fidelity = measure_fidelity(*dense, *model, outcome.tasks[t], options);
  }
}

// Answers that were given before, through the same scoring.
std::vector<TaskResult> measure_stored(const std::string& path, const std::vector<Task>& tasks, EvalOptions options,
                                       Json& json) {
  json = {{"answers", path}};
  // Equal prompts are answered in order, which a resumed run would break; and there is nothing to save.
  options.resume = nullptr;
  options.on_items = nullptr;
  std::vector<TaskResult> results;
  for (const Task& task : tasks) {
    StoredAnswers answers(path, task, options);
    results.push_back(evaluate(answers, task, options));
  }
  return results;
}

void write_answers(const EvalArguments& arguments, const std::string& api_name, const EvalOutcome& outcome,
                   const EvalOptions& options) {
  const std::string path = arguments.model.empty() ? arguments.answers : arguments.model;
  std::string name = std::filesystem::path(path).lexically_normal().filename().string();
  if (is_http_url(path)) name = replace_all(api_name, "/", "_");
  if (name.empty()) name = "model";
  for (size_t t = 0; t < outcome.tasks.size(); ++t)
    if (const size_t missing = outcome.results[t].missing_items.size(); missing > 0)
      log_warning(
          fmt::format("--write-benchmark: {}: {} items are missing, so its files, which hold every row, are not "
                      "written",
                      outcome.tasks[t].name, missing));
    else
      write_benchmark_answers(arguments.write_benchmark, name, outcome.tasks[t], task_items(outcome.tasks[t], options),
                              outcome.results[t].items);
}

void check_arguments(const EvalArguments& arguments, const std::vector<Task>& tasks) {
  if (arguments.model.empty() == arguments.answers.empty())
    throw_error(ErrorKind::kUsage, "expected either a MODEL or --answers with stored answers");
  if (!arguments.answers.empty() && arguments.prompt_mode != "clean")
    throw_error(ErrorKind::kUsage, "--answers: stored answers are scored as they are; leave out --prompt-mode");
  if (arguments.noise_copies > 0 && arguments.model.empty() && arguments.baseline.empty())
    throw_error(ErrorKind::kUsage, "--noise-floor: stored answers have no weights to disturb; name a --baseline");
  if (arguments.noise_copies > 0 && is_http_url(arguments.baseline.empty() ? arguments.model : arguments.baseline))
    throw_error(ErrorKind::kUsage,
                "--noise-floor: the weights of a model behind an API cannot be disturbed; leave it out");
  if (!arguments.how.kv.empty() && is_http_url(arguments.model))
    throw_error(ErrorKind::kUsage, "--kv: the cache of a model behind an API is the server's; leave it out");
  chosen_kv_policy(arguments.how.kv);
  check_api_arguments(arguments.api, is_http_url(arguments.model) || is_http_url(arguments.baseline));
  // Refused before hours of work, not after.
  if (!arguments.write_benchmark.empty())
    for (const Task& task : tasks) run_place(task, {{"id", "a/b/c"}, {"part", "a/b"}});
}

// Settings of the command line; `world` is made when an item source is first asked, unless it has begun.
EvalOptions read_options(const EvalArguments& arguments, DeferredWorld& world) {
  EvalOptions options;
  options.tier = tier_from_name(arguments.tier);
  options.seed = arguments.seed;
  options.max_items = arguments.items;
  options.data_directory = arguments.data;
  if (arguments.num_fewshot >= 0) options.num_fewshot = arguments.num_fewshot;
  options.apply_chat_template = arguments.apply_chat_template;
  options.generation = read_generation_settings(arguments.gen_kwargs);
  options.protocol = arguments.protocol;
  if (arguments.add_bos == "yes") options.bos = BosRule::kAlways;
  if (arguments.add_bos == "no") options.bos = BosRule::kNever;
  options.prompt_mode = prompt_mode_from_name(arguments.prompt_mode, "--prompt-mode");
  options.chat_template = arguments.chat_template;
  if (arguments.system_prompt) options.system_prompt = system_prompt_text(*arguments.system_prompt, arguments.data);
  options.world_items = [&world](const std::string& suite) { return world.get().items(suite); };
  options.world_text = [&world](const std::string& split) { return world.text(split); };
  // A forecast asks no judge.
  if (!arguments.api.is_dry_run || !is_service(arguments.judge)) {
    const ToxicityJudge judge = open_judge(arguments.judge, arguments.output.empty() ? "" : arguments.output + kJudged);
    options.toxicity_judge = judge.score;
    options.judge_label = judge.label;
  }
  return options;
}

// Beside the opening of the model.
void begin_world(const std::vector<Task>& tasks, DeferredWorld& world) {
  bool needs_items = false, needs_text = false;
  for (const Task& task : tasks) {
    const bool has_windows = task.kind == RequestKind::kPerplexity;
    needs_items |= !task.world_suite.empty() && !has_windows;
    needs_text |= !task.world_suite.empty() && has_windows;
  }
  if (needs_items || needs_text) world.begin(needs_text);
}

Json start_json(const EvalArguments& arguments, const EvalOptions& options) {
  Json json = {{"version", 1},
               {"ockham", version()},
               {"machine", machine_description()},
               {"time", utc_now()},
               {"tier", arguments.tier},
               {"seed", arguments.seed},
               {"margin", arguments.margin},
               {"prompt_mode", arguments.prompt_mode}};
  if (options.system_prompt) json["system_prompt"] = *options.system_prompt;
  json["settings"] = {{"num_fewshot", options.num_fewshot ? Json(*options.num_fewshot) : Json()},
                      {"apply_chat_template", arguments.apply_chat_template},
                      {"gen_kwargs", arguments.gen_kwargs},
                      {"add_bos", arguments.add_bos},
                      {"protocol", arguments.protocol}};
  return json;
}

void run_eval(EvalArguments arguments) {
  if (!arguments.output.empty() && std::filesystem::exists(arguments.output) && !arguments.overwrite)
    throw_error(ErrorKind::kUsage, "{}: exists already; name another file or pass --overwrite", arguments.output);
  EvalOutcome outcome;
  outcome.tasks = find_tasks(arguments.tasks, data_home() + "/tasks");
  add_controls(outcome.tasks, data_home() + "/tasks");
  check_arguments(arguments, outcome.tasks);
  DeferredWorld world;
  EvalOptions options = read_options(arguments, world);
  // Only where there is an output that a second call could finish.
  std::optional<EvalJournal> journal;
  if (!arguments.output.empty()) {
    journal.emplace(arguments.output + ".partial");
    journal->attach(options);
  }
  const EvalJournal* kept = journal ? &*journal : nullptr;
  if (arguments.api.is_dry_run) return print_dry_run(arguments, outcome, options, kept);
  if (arguments.margin <= 0) arguments.margin = options.tier == Tier::kQuick ? 5 : 2;
  Json json = start_json(arguments, options);
  if (arguments.answers.empty()) begin_world(outcome.tasks, world);
  outcome.results =
      arguments.answers.empty()
          ? measure(arguments.model, arguments.api.model, arguments, kept, outcome, options, json["model"])
          : measure_stored(arguments.answers, outcome.tasks, options, json["model"]);
  if (!arguments.write_benchmark.empty()) write_answers(arguments, json["model"].value("name", ""), outcome, options);
  if (!arguments.baseline.empty()) {
    outcome.baseline = measure(arguments.baseline, arguments.api.baseline_model, for_baseline(arguments), kept, outcome,
                               options, json["baseline"]);
    compare_with_baseline(outcome, arguments.margin);
    find_changes(arguments, options, outcome);
  }
  if (arguments.noise_copies > 0) measure_noise(arguments, options, outcome);
  if (options.prompt_mode == PromptMode::kFaithful) json["template"] = options.chat_template;
  if (!outcome.skipped.empty()) json["not_measured"] = skipped_json(outcome);
  if (!arguments.output.empty()) {
    json["tasks"] = tasks_json(outcome, true);
    write_file_atomically(arguments.output, json.dump(1) + "\n");
  }
  if (journal) {
    if (journal->resumed() > 0)
      log_info(fmt::format("{} answers were there already from a run that did not finish", journal->resumed()));
    if (missing_items(outcome) == 0) {
      journal->remove();
      std::error_code ignored;  // the scores stand in the results
      std::filesystem::remove(arguments.output + kJudged, ignored);
    } else {
      log_warning(
          fmt::format("{} items are missing; the answers are kept in {}.partial, and the same command with "
                      "--overwrite asks only what is missing",
                      missing_items(outcome), arguments.output));
    }
  }
  if (global_options().json) {
    json["tasks"] = tasks_json(outcome, false);
    fmt::print("{}", json.dump(1) + "\n");
  } else {
    print_outcome(outcome);
  }
}

}  // namespace

void add_eval_command(CLI::App& app) {
  auto arguments = std::make_shared<EvalArguments>();
  CLI::App* command = app.add_subcommand("eval", "Measure a model: perplexity, knowledge and trust");
  command->add_option("MODEL", arguments->model,
                      "Model directory, Hub id in the local cache, or http(s)://HOST/v1 of an API");
  command->add_option("--answers", arguments->answers,
                      "Score stored answers instead of a model: results of -o, or DecodingTrust's result files");
  command->add_option("--write-benchmark", arguments->write_benchmark,
                      "Write the answers into this folder as DecodingTrust's result files");
  command->add_option("--baseline", arguments->baseline, "Compare with this model, item by item");
  command
      ->add_option("--tasks", arguments->tasks,
                   "Names or globs of tasks, task files, or perplexity:FILE (default factworld/*)")
      ->delimiter(',');
  command->add_option("--tier", arguments->tier, "quick or full");
  command->add_option("--data", arguments->data, "Folder with the data of benchmark tasks");
  add_judge_options(*command, arguments->judge);
  command->add_option("--prompt-mode", arguments->prompt_mode,
                      "clean: the model's own chat template; faithful: DecodingTrust's rendering with its defects");
  command->add_option("--template", arguments->chat_template,
                      "Template of the faithful mode: llama-2, vicuna_v1.1, redpajama-incite-instruct");
  command->add_option("--system-prompt", arguments->system_prompt,
                      "Put before every conversation: none, helpful, llama-2-safety, or a text");
  command->add_option("--items", arguments->items, "At most this many items per task")->check(CLI::PositiveNumber);
  command->add_option("--num-fewshot", arguments->num_fewshot, "Examples before each question (default: the task's)")
      ->check(CLI::Range(0, 1000));
  command->add_flag("--apply-chat-template", arguments->apply_chat_template,
                    "Send plain prompts as one user turn of the model's chat template");
  command->add_option("--gen-kwargs", arguments->gen_kwargs,
                      "Decoding settings instead of the tasks': max_gen_toks=64,temperature=0.7,top_p=0.9,until=STOP");
  command->add_option("--add-bos", arguments->add_bos, "yes, no or auto: begin plain prompts with the BOS token")
      ->check(CLI::IsMember({"auto", "yes", "no"}));
  command
      ->add_option("--protocol", arguments->protocol,
                   "How perplexity is measured: plain, gptq, llama.cpp, lm-eval or strided (default: the task's)")
      ->check(CLI::IsMember({"plain", "gptq", "llama.cpp", "lm-eval", "strided"}));
  command->add_option("--seed", arguments->seed, "Seed of sampled answers");
  add_local_model_options(*command, arguments->how);
  add_kv_option(*command, arguments->how.kv);
  command->add_option("--margin", arguments->margin, "Equivalence margin in points (default 5, full tier 2)")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--noise-floor", arguments->noise_copies,
                   "Also measure this many copies of the dense model with noise of rounding size, and give changes in "
                   "units of what that noise does")
      ->check(CLI::Range(1, 100));
  command->add_option(
      "-o,--output", arguments->output,
      "Write results with every item's answer (JSON); after a kill the same call goes on where it stopped");
  command->add_flag("--overwrite", arguments->overwrite, "Replace an existing output");
  add_api_options(*command, arguments->api);
  command->footer(
      "Examples:\n"
      "  ockham eval models/mini\n"
      "  ockham eval mini-w4 --baseline models/mini --tasks 'factworld/privacy,factworld/fairness' -o results.json\n"
      "  ockham eval MODEL --tasks perplexity:test.txt\n"
      "  ockham eval http://localhost:8000/v1 --tasks 'trust/*' --data DIR -o results.json --dry-run\n"
      "An API's key is read from OCKHAM_API_KEY or OPENAI_API_KEY.");
  command->callback([arguments] { run_eval(*arguments); });
}

}  // namespace ockham
