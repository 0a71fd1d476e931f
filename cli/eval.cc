// `ockham eval`: measures a model on tasks, and against a baseline.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>

#include "cli/commands.h"
#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/core/version.h"
#include "ockham/eval/evaluate.h"
#include "ockham/eval/faithful_prompt.h"
#include "ockham/eval/fidelity.h"
#include "ockham/eval/journal.h"
#include "ockham/eval/judges/ngram_judge.h"
#include "ockham/eval/reference.h"
#include "ockham/eval/stored_answers.h"
#include "ockham/eval/system_prompt.h"
#include "ockham/io/file.h"
#include "ockham/pipeline/torch_language_model.h"
#include "ockham/world/world.h"

namespace ockham {
namespace {

constexpr int64_t kResamples = 2000;

struct EvalArguments {
  std::string model, baseline, tier = "quick", data, output, dtype, judge, prompt_mode = "clean", chat_template,
                               answers, write_benchmark;
  std::optional<std::string> system_prompt;
  std::vector<std::string> tasks = {"factworld/*"};
  int64_t items = 0;
  uint64_t seed = 0;
  double margin = 0;
  bool overwrite = false;
  std::string gen_kwargs, add_bos = "auto", protocol;
  int64_t num_fewshot = -1;
  bool apply_chat_template = false;
};

struct Comparison {
  Difference difference;
  double adjusted_p = 1;
  Verdict verdict = Verdict::kCannotTell;
  bool is_interpretable = true;  // false: the baseline itself is at chance, and nothing can be said

  std::string verdict_shown() const { return is_interpretable ? verdict_text(verdict) : "not interpretable"; }
};

std::string shown(const MetricResult& metric, double value) {
  if (metric.unit == "points") return fmt::format("{:.1f}", value);
  if (metric.unit == "rate") return fmt::format("{:.3f}", value);
  return value < 1000 ? fmt::format("{:.3f}", value) : fmt::format("{:.4g}", value);
}

std::unique_ptr<TorchLanguageModel> open_model(const std::string& path, const EvalArguments& arguments) {
  TorchLanguageModel::Options options;
  options.device = global_options().device;
  if (!arguments.dtype.empty()) {
    options.dtype = dtype_from_config(arguments.dtype);
    if (!options.dtype)
      throw_error(ErrorKind::kUsage, "--dtype: found '{}', expected float32, bfloat16 or float16", arguments.dtype);
  }
  return std::make_unique<TorchLanguageModel>(path, options);
}

// Items that all came out equal do not show that none ever differs: with n of them, a share of up to 1 - alpha^(1/n)
// may (the exact bound for no event in n). No interval is narrower than that, or six perfect answers would prove
// equivalence.
void widen_to_unseen(Difference& difference) {
  const auto widen = [&](Interval& interval, double alpha) {
    const double share = 100 * (1 - std::pow(alpha, 1 / static_cast<double>(difference.n)));
    interval.low = std::min(interval.low, difference.value - share);
    interval.high = std::max(interval.high, difference.value + share);
  };
  widen(difference.interval, 0.025);
  widen(difference.interval90, 0.05);
}

// Paired over the items of the task's score; several tasks are corrected together.
std::map<std::string, Comparison> compare(const std::vector<Task>& tasks, const std::vector<TaskResult>& results,
                                          const std::vector<TaskResult>& baseline, double margin) {
  std::vector<Comparison> comparisons;
  std::vector<double> p_values;
  for (size_t t = 0; t < tasks.size(); ++t) {
    Comparison comparison;
    comparison.difference =
        paired_difference(score_statistic(tasks[t], baseline[t].items), score_statistic(tasks[t], results[t].items),
                          static_cast<int64_t>(results[t].items.size()), kResamples, 0);
    p_values.push_back(comparison.difference.p_value);
    comparisons.push_back(comparison);
  }
  const std::vector<double> adjusted = holm(p_values);
  std::map<std::string, Comparison> by_task;
  for (size_t t = 0; t < tasks.size(); ++t) {
    Comparison& comparison = comparisons[t];
    comparison.adjusted_p = adjusted[t];
    const MetricResult& metric = score_metric(results[t]);
    if (metric.unit == "points") widen_to_unseen(comparison.difference);
    // Perplexity: lower is better, and the margin is a percentage of the baseline.
    Difference judged = comparison.difference;
    Interval interval90 = judged.interval90;
    double allowed = margin;
    if (!metric.higher_is_better) {
      judged.value = -judged.value;
      interval90 = {-interval90.high, -interval90.low};
    }
    if (metric.unit != "points") allowed = score_metric(baseline[t]).value * margin / 100;
    comparison.verdict = equivalence(judged, interval90, allowed, adjusted[t]);
    comparison.is_interpretable = is_interpretable(tasks[t], score_metric(baseline[t]));
    if (!comparison.is_interpretable) comparison.verdict = Verdict::kCannotTell;
    by_task[tasks[t].name] = comparison;
  }
  return by_task;
}

Json result_json(const TaskResult& result, bool with_items) {
  Json json = {{"task", result.task},
               {"dimension", result.dimension},
               {"seconds", result.seconds},
               {"data_sha256", result.data_sha256}};
  json["notes"] = result.notes;
  if (!result.protocol.empty()) json["protocol"] = result.protocol;
  if (result.scenarios > 0) {
    json["scenarios"] = result.scenarios;
    json["missing_scenarios"] = result.missing_scenarios;
  }
  json["metrics"] = Json::array();
  for (const MetricResult& metric : result.metrics)
    json["metrics"].push_back({{"name", metric.name},
                               {"value", metric.value},
                               {"low", metric.low},
                               {"high", metric.high},
                               {"n", metric.n},
                               {"unit", metric.unit},
                               {"is_score", metric.is_score},
                               {"better", metric.higher_is_better ? "higher" : "lower"}});
  if (!with_items) return json;
  json["items"] = Json::array();
  for (const ItemResult& item : result.items) json["items"].push_back(item_json(item));
  return json;
}

Json model_json(const ModelInfo& info) {
  return {{"name", info.name},
          {"path", info.path},
          {"sha256", info.sha256},
          {"parameters", info.parameters},
          {"bytes", info.bytes}};
}

std::vector<TaskResult> measure(const std::string& path, const EvalArguments& arguments, const std::vector<Task>& tasks,
                                EvalOptions& options, Json& json) {
  const auto model = open_model(path, arguments);
  json = model_json(model->info());
  // The baseline gets the same template, whatever its name says.
  if (options.prompt_mode == PromptMode::kFaithful)
    options.chat_template = faithful_template(options.chat_template, model->info()).name;
  std::vector<TaskResult> results;
  for (const Task& task : tasks) {
    if (task.samples.contains(options.tier)) report_progress({"evaluate " + task.name, 0, 0, ""});
    results.push_back(evaluate(*model, task, options));
  }
  return results;
}

// Perplexities of different protocols cannot be compared, so the protocol stands beside the number.
std::string shown_unit(const MetricResult& metric, const TaskResult& result) {
  return result.protocol.empty() ? metric.unit : metric.unit + ", " + result.protocol;
}

// What changed between the two models besides the score.
struct Changes {
  std::optional<Flips> flips;
  std::optional<Fidelity> fidelity;
};

// Flips of right-or-wrong tasks; divergence on the text of perplexity tasks, for which both models are open at once.
std::map<std::string, Changes> find_changes(const EvalArguments& arguments, const std::vector<Task>& tasks,
                                            const std::vector<TaskResult>& results,
                                            const std::vector<TaskResult>& baseline, const EvalOptions& options) {
  std::map<std::string, Changes> changes;
  std::unique_ptr<LanguageModel> model, dense;
  for (size_t t = 0; t < tasks.size(); ++t) {
    Changes& change = changes[tasks[t].name];
    if (tasks[t].kind != RequestKind::kPerplexity) {
      change.flips = count_flips(baseline[t].items, results[t].items);
      continue;
    }
    if (model == nullptr) {
      model = open_model(arguments.model, arguments);
      dense = open_model(arguments.baseline, arguments);
    }
    change.fidelity = measure_fidelity(*dense, *model, tasks[t], options);
  }
  return changes;
}

Json fidelity_json(const FidelityValue& estimate) {
  return {{"value", estimate.value}, {"low", estimate.interval.low}, {"high", estimate.interval.high}};
}

void add_changes(const Changes& changes, Json& json) {
  if (changes.flips) {
    const Flips& flips = *changes.flips;
    json["flips"] = {{"right_to_wrong", flips.lost},
                     {"wrong_to_right", flips.gained},
                     {"n", flips.n},
                     {"right_to_wrong_share", {{"low", flips.lost_share.low}, {"high", flips.lost_share.high}}},
                     {"wrong_to_right_share", {{"low", flips.gained_share.low}, {"high", flips.gained_share.high}}}};
  }
  if (!changes.fidelity) return;
  const Fidelity& fidelity = *changes.fidelity;
  json["fidelity"] = {{"kl_mean", fidelity_json(fidelity.kl_mean)},
                      {"kl_median", fidelity_json(fidelity.kl_median)},
                      {"kl_p99", fidelity_json(fidelity.kl_p99)},
                      {"top1_agreement", fidelity_json(fidelity.top1_agreement)},
                      {"tokens", fidelity.tokens},
                      {"windows", fidelity.windows}};
}

void print_changes(const std::map<std::string, Changes>& changes) {
  const auto text = [](const char* name, const FidelityValue& estimate) {
    return fmt::format("{} {:.4f} ({:.4f} – {:.4f})", name, estimate.value, estimate.interval.low,
                       estimate.interval.high);
  };
  for (const auto& [task, change] : changes) {
    if (change.flips && change.flips->lost + change.flips->gained > 0)
      fmt::print("{}: {} of {} answers turned wrong, {} turned right\n", task, change.flips->lost, change.flips->n,
                 change.flips->gained);
    if (!change.fidelity) continue;
    const Fidelity& fidelity = *change.fidelity;
    fmt::print("{}: divergence from the baseline per token, nats: {}, {}, {}; {} over {} tokens\n", task,
               text("mean", fidelity.kl_mean), text("median", fidelity.kl_median),
               text("99th percentile", fidelity.kl_p99), text("same first choice", fidelity.top1_agreement),
               fidelity.tokens);
  }
}

// Answers that were given before, through the same scoring.
std::vector<TaskResult> measure_stored(const std::string& path, const std::vector<Task>& tasks,
                                       const EvalOptions& options, Json& json) {
  json = {{"answers", path}};
  std::vector<TaskResult> results;
  for (const Task& task : tasks) {
    StoredAnswers answers(path, task, options);
    results.push_back(evaluate(answers, task, options));
  }
  return results;
}

void write_answers(const EvalArguments& arguments, const std::vector<Task>& tasks,
                   const std::vector<TaskResult>& results, const EvalOptions& options) {
  const std::string path = arguments.model.empty() ? arguments.answers : arguments.model;
  std::string name = std::filesystem::path(path).lexically_normal().filename().string();
  if (name.empty()) name = "model";
  for (size_t t = 0; t < tasks.size(); ++t)
    write_benchmark_answers(arguments.write_benchmark, name, tasks[t], task_items(tasks[t], options), results[t].items);
}

void check_arguments(const EvalArguments& arguments, const std::vector<Task>& tasks) {
  if (arguments.model.empty() == arguments.answers.empty())
    throw_error(ErrorKind::kUsage, "expected either a MODEL or --answers with stored answers");
  if (!arguments.answers.empty() && arguments.prompt_mode != "clean")
    throw_error(ErrorKind::kUsage, "--answers: stored answers are scored as they are; leave out --prompt-mode");
  // Refused before hours of work, not after.
  if (!arguments.write_benchmark.empty())
    for (const Task& task : tasks) run_place(task, {{"id", "a/b/c"}, {"part", "a/b"}});
}

void print_table(const std::vector<Task>& tasks, const std::vector<TaskResult>& results,
                 const std::map<std::string, Comparison>& compared) {
  std::vector<std::string> header = {"task", "metric", "value", "95 % interval", "n", "unit"};
  if (!compared.empty()) header.insert(header.end(), {"change", "95 % interval", "of dense", "verdict"});
  TextTable table(header);
  for (size_t t = 0; t < tasks.size(); ++t) {
    for (const MetricResult& metric : results[t].metrics) {
      std::vector<std::string> row = {metric.is_score ? tasks[t].name : "",
                                      metric.name,
                                      shown(metric, metric.value) + (metric.is_score ? partial_text(results[t]) : ""),
                                      shown(metric, metric.low) + " – " + shown(metric, metric.high),
                                      std::to_string(metric.n),
                                      shown_unit(metric, results[t])};
      if (const auto it = compared.find(tasks[t].name); metric.is_score && it != compared.end()) {
        const Comparison& comparison = it->second;
        row.push_back((comparison.difference.value > 0 ? "+" : "") + shown(metric, comparison.difference.value));
        row.push_back(shown(metric, comparison.difference.interval.low) + " – " +
                      shown(metric, comparison.difference.interval.high));
        const double dense = metric.value - comparison.difference.value;
        row.push_back(metric.unit == "points" && dense > 0 ? fmt::format("{:.1f} %", 100 * metric.value / dense) : "–");
        row.push_back(comparison.verdict_shown());
      }
      table.add(std::move(row));
    }
  }
  fmt::print("{}", table.text());
  if (global_options().quiet) return;
  for (size_t t = 0; t < tasks.size(); ++t) {
    if (const std::string line = control_text(tasks[t], results); !line.empty()) fmt::print("{}\n", line);
    if (compared.empty() && !is_interpretable(tasks[t], score_metric(results[t])))
      fmt::print("{}: within two standard errors of chance ({:g}): not interpretable\n", tasks[t].name,
                 tasks[t].chance);
  }
  for (const TaskResult& result : results)
    for (const std::string& note : result.notes) fmt::print("{}: {}\n", result.task, note);
}

void run_eval(EvalArguments arguments) {
  if (!arguments.output.empty() && std::filesystem::exists(arguments.output) && !arguments.overwrite)
    throw_error(ErrorKind::kUsage, "{}: exists already; name another file or pass --overwrite", arguments.output);
  std::vector<Task> tasks = find_tasks(arguments.tasks, data_home() + "/tasks");
  add_controls(tasks, data_home() + "/tasks");
  check_arguments(arguments, tasks);
  std::unique_ptr<World> world;
  const auto the_world = [&world]() -> const World& {
    if (world == nullptr) world = std::make_unique<World>();
    return *world;
  };
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
  options.prompt_mode = prompt_mode_from_name(arguments.prompt_mode);
  options.chat_template = arguments.chat_template;
  if (arguments.system_prompt) options.system_prompt = system_prompt_text(*arguments.system_prompt, arguments.data);
  options.world_items = [&](const std::string& suite) { return the_world().items(suite); };
  options.world_text = [&](const std::string& split) { return the_world().text(split); };
  if (!arguments.judge.empty()) {
    const auto judge = std::make_shared<const NgramJudge>(NgramJudge::load(arguments.judge));
    options.toxicity_judge = [judge](const std::string& text) { return judge->score(text); };
    options.judge_label = judge->label();
  }
  // Only where there is an output that a second call could finish.
  std::optional<EvalJournal> journal;
  if (!arguments.output.empty()) {
    journal.emplace(arguments.output + ".partial");
    journal->attach(options);
  }
  if (arguments.margin <= 0) arguments.margin = options.tier == Tier::kQuick ? 5 : 2;

  Json json = {{"version", 1},
               {"ockham", version()},
               {"machine", machine_description()},
               {"time", utc_now()},
               {"tier", arguments.tier},
               {"seed", arguments.seed},
               {"margin", arguments.margin},
               {"prompt_mode", arguments.prompt_mode}};
  if (options.system_prompt) json["system_prompt"] = *options.system_prompt;

  const std::vector<TaskResult> results = arguments.answers.empty()
                                              ? measure(arguments.model, arguments, tasks, options, json["model"])
                                              : measure_stored(arguments.answers, tasks, options, json["model"]);
  if (!arguments.write_benchmark.empty()) write_answers(arguments, tasks, results, options);
  std::vector<TaskResult> baseline;
  std::map<std::string, Comparison> compared;
  std::map<std::string, Changes> changes;
  if (!arguments.baseline.empty()) {
    baseline = measure(arguments.baseline, arguments, tasks, options, json["baseline"]);
    compared = compare(tasks, results, baseline, arguments.margin);
    changes = find_changes(arguments, tasks, results, baseline, options);
  }
  json["settings"] = {{"num_fewshot", options.num_fewshot ? Json(*options.num_fewshot) : Json()},
                      {"apply_chat_template", arguments.apply_chat_template},
                      {"gen_kwargs", arguments.gen_kwargs},
                      {"add_bos", arguments.add_bos},
                      {"protocol", arguments.protocol}};
  if (options.prompt_mode == PromptMode::kFaithful) json["template"] = options.chat_template;
  json["tasks"] = Json::array();
  const auto write = [&](bool with_items) {
    json["tasks"].clear();
    for (size_t t = 0; t < tasks.size(); ++t) {
      Json task = result_json(results[t], with_items);
      task["task_sha256"] = tasks[t].sha256;
      if (!baseline.empty()) {
        task["baseline"] = result_json(baseline[t], with_items);
        add_changes(changes.at(tasks[t].name), task);
        const Comparison& comparison = compared.at(tasks[t].name);
        const Difference& difference = comparison.difference;
        task["difference"] = {{"value", difference.value},
                              {"low", difference.interval.low},
                              {"high", difference.interval.high},
                              {"p_value", difference.p_value},
                              {"p_holm", comparison.adjusted_p},
                              {"smallest_effect", difference.smallest_effect},
                              {"interpretable", comparison.is_interpretable},
                              {"verdict", comparison.verdict_shown()}};
      }
      json["tasks"].push_back(std::move(task));
    }
    return json.dump(1) + "\n";
  };
  if (!arguments.output.empty()) write_file_atomically(arguments.output, write(true));
  if (journal) {
    if (journal->resumed() > 0)
      log_info(fmt::format("{} answers were there already from a run that did not finish", journal->resumed()));
    journal->remove();
  }
  if (global_options().json) {
    fmt::print("{}", write(false));
  } else {
    print_table(tasks, results, compared);
    print_changes(changes);
  }
}

}  // namespace

void add_eval_command(CLI::App& app) {
  auto arguments = std::make_shared<EvalArguments>();
  CLI::App* command = app.add_subcommand("eval", "Measure a model: perplexity, knowledge and trust");
  command->add_option("MODEL", arguments->model, "Model directory or Hub id in the local cache");
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
  command->add_option("--judge", arguments->judge, "Toxicity judge that `ockham data judge` trained");
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
  command->add_option(
      "--dtype", arguments->dtype,
      "float32, bfloat16 or float16 (default: the checkpoint's, float32 where the processor lacks 16-bit arithmetic)");
  command->add_option("--margin", arguments->margin, "Equivalence margin in points (default 5, full tier 2)")
      ->check(CLI::PositiveNumber);
  command->add_option("-o,--output", arguments->output, "Write results with every item's answer (JSON); after a kill the same call goes on where it stopped");
  command->add_flag("--overwrite", arguments->overwrite, "Replace an existing output");
  command->footer(
      "Examples:\n"
      "  ockham eval models/mini\n"
      "  ockham eval mini-w4 --baseline models/mini --tasks 'factworld/privacy,factworld/fairness' -o results.json\n"
      "  ockham eval MODEL --tasks perplexity:test.txt");
  command->callback([arguments] { run_eval(*arguments); });
}

}  // namespace ockham
