// `ockham tasks`: what can be measured.
#include <fmt/format.h>

#include "cli/commands.h"
#include "ockham/eval/scorers/scorer.h"
#include "ockham/eval/task.h"

namespace ockham {
namespace {

std::string kind_name(RequestKind kind) {
  return kind == RequestKind::kGenerate ? "generate" : kind == RequestKind::kChoice ? "choice" : "perplexity";
}

std::string count_text(int64_t items) {
  return items == 0 ? "all" : std::to_string(items);
}

Json task_json(const Task& task) {
  Json json = {{"task", task.name},
               {"dimension", task.dimension},
               {"summary", task.summary},
               {"kind", kind_name(task.kind)},
               {"scorer", task.scorer},
               {"items", {{"quick", task.items.at(Tier::kQuick)}, {"full", task.items.at(Tier::kFull)}}},
               {"data", task.world_suite.empty() ? task.data_file : "world:" + task.world_suite},
               {"control", task.control},
               {"sha256", task.sha256}};
  json["metrics"] = Json::array();
  for (const MetricSpec& metric : task.metrics)
    json["metrics"].push_back({{"name", metric.name},
                               {"aggregate", metric.aggregate},
                               {"better", metric.higher_is_better ? "higher" : "lower"},
                               {"score", metric.is_score}});
  return json;
}

void list_scorers() {
  TextTable table({"scorer", "parameter", "default", "meaning"});
  for (const ScorerEntry& entry : scorers()) {
    table.add({entry.name, "", "", entry.summary});
    for (const ParamSpec& param : entry.params) {
      std::string fallback = to_text(param.fallback);
      for (char& c : fallback)
        if (c == kListSeparator) c = '|';
      table.add({"", param.name, fallback == "''" ? "" : fallback, param.summary});
    }
  }
  fmt::print("{}", table.text());
}

}  // namespace

void add_tasks_command(CLI::App& app) {
  struct Arguments {
    std::vector<std::string> patterns = {"*"};
    bool scorers = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("tasks", "List what can be measured");
  command->add_option("PATTERN", arguments->patterns, "Names or globs (default: all)");
  command->add_flag("--scorers", arguments->scorers, "List the scorers and their parameters instead");
  command->footer("Examples:\n  ockham tasks\n  ockham tasks 'factworld/*' --json\n  ockham tasks --scorers");
  command->callback([arguments] {
    if (arguments->scorers) {
      list_scorers();
      return;
    }
    const std::vector<Task> tasks = find_tasks(arguments->patterns, data_home() + "/tasks");
    if (global_options().json) {
      Json json = Json::array();
      for (const Task& task : tasks) json.push_back(task_json(task));
      fmt::print("{}\n", json.dump(1));
      return;
    }
    TextTable table({"task", "dimension", "kind", "quick", "full", "summary"});
    for (const Task& task : tasks)
      table.add({task.name, task.dimension, kind_name(task.kind), count_text(task.items.at(Tier::kQuick)),
                 count_text(task.items.at(Tier::kFull)), task.summary});
    fmt::print("{}", table.text());
  });
}

}  // namespace ockham
