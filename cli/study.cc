// `ockham study`: the whole grid of a study file, its results and its report.
#include "ockham/study/study.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "cli/commands.h"
#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/file.h"
#include "ockham/report/format.h"
#include "ockham/report/html.h"
#include "ockham/report/text_formats.h"
#include "ockham/report/verdict.h"
#include "ockham/study/store.h"
#include "ockham/study/torch_backend.h"

namespace ockham {
namespace {

struct StudyArguments {
  std::string file, directory, shard, tier, data;
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

void print_plan(const Study& study, const std::vector<GroupEstimate>& estimates) {
  TextTable table({"model", "recipe", "draw", "cells", "finished", "about", "on disk", "memory"});
  double seconds = 0;
  int64_t cells = 0, peak = 0;
  Json json = Json::array();
  for (const GroupEstimate& estimate : estimates) {
    const StudyGroup& group = estimate.group;
    const std::string& model = study.models[group.model].name;
    const std::string& recipe = study.recipes[group.recipe].name;
    table.add({model, recipe, std::to_string(group.seed), std::to_string(group.tasks.size()),
               std::to_string(estimate.done), seconds_text(estimate.seconds),
               bytes_text(static_cast<double>(estimate.bytes)), bytes_text(static_cast<double>(estimate.peak_bytes))});
    json.push_back({{"model", model},
                    {"recipe", recipe},
                    {"seed", group.seed},
                    {"cells", group.tasks.size()},
                    {"finished", estimate.done},
                    {"seconds", estimate.seconds},
                    {"bytes", estimate.bytes},
                    {"peak_bytes", estimate.peak_bytes}});
    seconds += estimate.seconds;
    cells += static_cast<int64_t>(group.tasks.size() - estimate.done);
    peak = std::max(peak, estimate.peak_bytes);
  }
  if (global_options().json) {
    fmt::print("{}\n", Json{{"groups", json}, {"cells", cells}, {"seconds", seconds}, {"peak_bytes", peak}}.dump(2));
    return;
  }
  fmt::print("{}\n{} cells to do, about {}, at most about {} of memory. Tasks: {}.\nNothing was run.\n", table.text(),
             cells, seconds_text(seconds), bytes_text(static_cast<double>(peak)), [&] {
               std::vector<std::string> names;
               for (const Task& task : study.tasks) names.push_back(task.name);
               return joined(names);
             }());
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
    std::vector<std::string> fields = {row.is_baseline && !row.is_rival ? row.recipe + " (score)" : row.label(),
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
}

void run(const StudyArguments& arguments) {
  StudyOptions options;
  options.home = data_home();
  options.directory = arguments.directory;
  options.data_directory = arguments.data;
  options.tier = arguments.tier;
  options.margin = arguments.margin;
  options.keep_models = arguments.keep_models;
  parse_shard(arguments.shard, options);
  const std::unique_ptr<StudyBackend> backend = make_torch_backend(global_options().device);
  const Study study = read_study(arguments.file, options, *backend);
  if (arguments.is_dry_run) {
    print_plan(study, estimate_study(study, options, *backend));
    return;
  }
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
  command->add_option("--shard", arguments->shard, "i/n: only every n-th compressed model, beginning with the i-th");
  command->add_flag("--dry-run", arguments->is_dry_run, "Print the plan with time, bytes and memory; run nothing");
  command->add_flag("--keep-models", arguments->keep_models, "Keep the compressed models in DIR/models");
  command->footer(
      "Examples:\n"
      "  ockham study examples/quickstart.yaml -o quickstart\n"
      "  ockham study my.yaml -o big --shard 2/4\n"
      "  ockham study my.yaml -o big --dry-run");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace ockham
