// `ockham study`: the whole grid of a study file, its results and its report.
#include "ockham/study/study.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <set>

#include "cli/commands.h"
#include "cli/eval_api.h"
#include "cli/judge.h"
#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/file.h"
#include "ockham/report/format.h"
#include "ockham/report/html.h"
#include "ockham/report/published_scores.h"
#include "ockham/report/text_formats.h"
#include "ockham/report/verdict.h"
#include "ockham/study/plan_backend.h"
#include "ockham/study/store.h"
#include "ockham/study/torch_backend.h"

namespace ockham {
namespace {

struct StudyArguments {
  std::string file, directory, shard, tier, data, kv;
  JudgeChoice judge;
  ApiArguments api;
  double margin = 0;
  bool is_dry_run = false, keep_models = false;
};

void parse_shard(const std::string& text, StudyOptions& options) {
  if (text.empty()) return;
  int shard = 0, shards = 0, used = 0;
  if (std::sscanf(text.c_str(), "%d/%d%n", &shard, &shards, &used) != 2 || static_cast<size_t>(used) != text.size() ||
      shard < 1 || shard > shards)
    throw_error(ErrorKind::kUsage, "--shard: found '{}', expected i/n with 1 <= i <= n, as in 1/4", text);
  options.shard = shard;
  options.shards = shards;
}

// The published figures that a study would fill in: those with a version and a task, counted on results without cells.
std::string planned_figures(const Study& study) {
  StudyResults results;
  results.study = study.description();
  for (const StudyRecipe& recipe : study.recipes) results.recipes.push_back({recipe.name, recipe.text, recipe.sha256});
  for (const Task& task : study.tasks) results.tasks.emplace(task.name, task);
  for (const StudyModel& model : study.models)
    for (const std::string& recipe : model.recipes) {
      StoredCell cell;
      cell.model = model.name;
      cell.recipe = recipe;
      cell.task = kCompressionTask;
      results.cells.push_back(std::move(cell));
    }
  const PublishedComparison published = compare_with_published(summarize(results));
  if (published.figures.empty()) return "";
  size_t planned = 0;
  std::set<std::string> missing;
  for (const PublishedFigure& figure : published.figures) {
    planned += figure.is_planned;
    if (!figure.is_planned) missing.insert(figure.model + " " + figure.version);
  }
  return fmt::format(
      "{} of {} figures of '{}' have a version and a task here{}.\n", planned, published.figures.size(), published.name,
      missing.empty() ? "" : "; not so: " + joined(std::vector<std::string>(missing.begin(), missing.end())));
}

void print_plan(const Study& study, const std::vector<GroupEstimate>& estimates,
                const std::vector<std::string>& assumptions) {
  TextTable table({"model", "recipe", "draw", "cells", "finished", "about", "compressing", "on disk", "memory"});
  double seconds = 0;
  int64_t cells = 0, peak = 0;
  Json json = Json::array();
  for (const GroupEstimate& estimate : estimates) {
    const StudyGroup& group = estimate.group;
    const std::string& model = study.models[group.model].name;
    const std::string& recipe = study.recipes[group.recipe].name;
    table.add({model, recipe, std::to_string(group.seed), std::to_string(group.tasks.size()),
               std::to_string(estimate.done), seconds_text(estimate.seconds),
               seconds_text(estimate.compression_seconds), bytes_text(static_cast<double>(estimate.bytes)),
               bytes_text(static_cast<double>(estimate.peak_bytes))});
    json.push_back({{"model", model},
                    {"recipe", recipe},
                    {"seed", group.seed},
                    {"cells", group.tasks.size()},
                    {"finished", estimate.done},
                    {"seconds", estimate.seconds},
                    {"compression_seconds", estimate.compression_seconds},
                    {"bytes", estimate.bytes},
                    {"peak_bytes", estimate.peak_bytes}});
    seconds += estimate.seconds;
    cells += static_cast<int64_t>(group.tasks.size() - estimate.done);
    peak = std::max(peak, estimate.peak_bytes);
  }
  if (global_options().json) {
    fmt::print("{}\n", Json{{"groups", json},
                            {"cells", cells},
                            {"seconds", seconds},
                            {"peak_bytes", peak},
                            {"assumed", assumptions},
                            {"published", planned_figures(study)}}
                           .dump(2));
    return;
  }
  fmt::print("{}\n{} cells to do, about {}, at most about {} of memory. Tasks: {}.\nNothing was run.\n", table.text(),
             cells, seconds_text(seconds), bytes_text(static_cast<double>(peak)), [&] {
               std::vector<std::string> names;
               for (const Task& task : study.tasks) names.push_back(task.name);
               return joined(names);
             }());
  fmt::print("{}", planned_figures(study));
  for (const std::string& assumption : assumptions) fmt::print("Assumed: {}.\n", assumption);
}

std::string change_text(const ComparisonRow& row, const ComparisonCell& cell) {
  if (cell.done == 0) return "–";
  if (row.is_baseline && !row.is_rival) return points(cell.score);
  if (!cell.is_interpretable) return "n/i";
  if (!cell.has_change) return "–";
  return signed_points(cell.change.value) + (cell.verdict == Verdict::kLoses   ? "▼"
                                             : cell.verdict == Verdict::kGains ? "▲"
                                             : cell.verdict == Verdict::kKeeps ? "✓"
                                                                               : "?");
}

std::string bare(std::string text) {
  for (size_t at = text.find("\u00AD"); at != std::string::npos; at = text.find("\u00AD")) text.erase(at, 2);
  return text;
}

void print_table(const Comparison& comparison) {
  std::vector<std::string> header = {"configuration", "on disk", "ppl"};
  for (const Column& column : comparison.columns) header.push_back(bare(column.short_title));
  TextTable table(header);
  for (const ComparisonRow& row : comparison.rows) {
    std::vector<std::string> fields = {row.is_baseline && !row.is_rival ? row.label() + " (score)" : row.label(),
                                       row.bytes > 0 ? bytes_text(row.bytes) : "–",
                                       row.perplexity > 0 ? fmt::format("{:.4g}", row.perplexity) : "–"};
    for (const ComparisonCell& cell : row.cells) fields.push_back(change_text(row, cell));
    table.add(std::move(fields));
  }
  fmt::print(
      "{}\nChange to dense in points. ▼ ▲ loss or gain shown, ✓ within the margin, ? cannot tell, n/i dense at "
      "chance.\n\n",
      table.text());
  for (const Answer& answer : answers(comparison)) fmt::print("{}\n  {}\n", answer.question, answer.headline);
  if (const PublishedComparison published = compare_with_published(comparison); !published.figures.empty())
    fmt::print("Against '{}'\n  {}.\n", published.name, published_summary(published));
}

void run(const StudyArguments& arguments) {
  StudyOptions options;
  options.home = data_home();
  options.directory = arguments.directory;
  options.data_directory = arguments.data;
  options.tier = arguments.tier;
  options.margin = arguments.margin;
  options.kv = arguments.kv;
  options.keep_models = arguments.keep_models;
  parse_shard(arguments.shard, options);
  options.judge = arguments.judge.name;
  options.open_judge = [&](const std::string& name) {
    JudgeChoice choice = arguments.judge;
    choice.name = name;
    if (is_service(choice)) std::filesystem::create_directories(options.directory);
    return open_judge(choice, options.directory + "/judged.jsonl");
  };
  options.is_plan = arguments.is_dry_run;
  options.open_remote = [&](const RemoteModel& model) -> std::unique_ptr<LanguageModel> {
    ApiArguments api = arguments.api;
    api.tokenizer = model.tokenizer;
    return open_api_model(model.url, model.name, api);
  };
  const std::unique_ptr<StudyBackend> backend = make_torch_backend(global_options().device);
  if (arguments.is_dry_run) {
    PlanBackend plan(*backend, options.home + "/models/shapes.json");
    const Study study = read_study(arguments.file, options, plan);
    const std::vector<GroupEstimate> estimates = estimate_study(study, options, plan);
    std::vector<std::string> assumptions = plan.assumptions();
    for (const StudyModel& model : study.models)
      if (model.remote)
        assumptions.push_back(
            fmt::format("{}: behind an API, takes no time and no money; `ockham eval {} --dry-run` "
                        "counts its requests",
                        model.name, model.path));
    print_plan(study, estimates, assumptions);
    return;
  }
  const Study study = read_study(arguments.file, options, *backend);
  const StudyOutcome outcome = run_study(study, options, *backend);
  StudyResults results = read_results(arguments.directory);
  const Comparison comparison = summarize(results);
  const std::string report = arguments.directory + "/report.html";
  write_file_atomically(report, html_report(results, comparison));
  if (global_options().json) {
    fmt::print("{}\n", json_report(comparison).dump(2, ' ', false, Json::error_handler_t::replace));
    return;
  }
  print_table(comparison);
  for (const std::string& gap : outcome.gaps) fmt::print("\n{}", gap);
  fmt::print("\n{} cells measured in {}, {} kept from before.\nResults: {}/results.sqlite\nReport:  {}\n",
             outcome.cells_run, seconds_text(outcome.seconds), outcome.cells_kept, arguments.directory, report);
  if (options.shards > 1)
    fmt::print("This is shard {}/{}; when all are done: ockham report DIR1 DIR2 ... -o report.html\n", options.shard,
               options.shards);
}

}  // namespace

void add_study_command(CLI::App& app) {
  auto arguments = std::make_shared<StudyArguments>();
  CLI::App* command = app.add_subcommand("study", "Compress with every recipe, measure everything, write one report");
  command->add_option("STUDY", arguments->file, "Study file (YAML)")->required();
  command
      ->add_option("-o,--output", arguments->directory,
                   "Directory for results.sqlite and report.html; the same one resumes")
      ->required();
  command->add_option("--tier", arguments->tier, "quick or full; replaces the file's");
  command->add_option("--margin", arguments->margin, "Equivalence margin in points; replaces the file's")
      ->check(CLI::PositiveNumber);
  command->add_option("--data", arguments->data, "Folder with the data of benchmark tasks");
  add_judge_options(*command, arguments->judge);
  add_request_options(*command, arguments->api);
  command->add_option("--kv", arguments->kv,
                      "Measure every recipe also with this KV-cache policy, such as h2o,budget=0.2");
  command->add_option("--shard", arguments->shard, "i/n: only every n-th compressed model, beginning with the i-th");
  command->add_flag("--dry-run", arguments->is_dry_run,
                    "Print the plan with time, bytes and memory; run nothing. Needs no weights: known shapes do");
  command->add_flag("--keep-models", arguments->keep_models, "Keep the compressed models in DIR/models");
  command->footer(
      "Examples:\n"
      "  ockham study examples/quickstart.yaml -o quickstart\n"
      "  ockham study my.yaml -o big --shard 2/4\n"
      "  ockham study my.yaml -o big --dry-run\n"
      "  ockham study examples/decoding-compressed-trust.yaml -o trust --data DecodingTrust --judge judge.json");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace ockham
