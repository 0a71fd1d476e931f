// `ockham attack`: word-level attacks made against a model, and against a compressed version of it.
#include <fmt/format.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>

#include "cli/commands.h"
#include "ockham/core/error.h"
#include "ockham/core/version.h"
#include "ockham/eval/attack_matrix.h"
#include "ockham/io/file.h"
#include "ockham/pipeline/torch_language_model.h"
#include "ockham/report/format.h"
#include "ockham/world/deferred_world.h"
#include "ockham/world/word_rules.h"

namespace ockham {
namespace {

struct AttackArguments {
  std::string model, against, tier = "quick", data, output, tasks_directory;
  std::vector<std::string> tasks = {"factworld/sentiment", "factworld/entailment", "factworld/paraphrase"};
  int64_t items = 0;
  bool overwrite = false;
  AttackSettings settings;
};

// The world's own rules for its items; one set of rules per task.
AttackRuleSource world_rules(DeferredWorld& world) {
  const auto known = std::make_shared<std::map<std::string, std::shared_ptr<const AttackRules>>>();
  return [known, &world](const Task& task, const Json& item) -> std::shared_ptr<const AttackRules> {
    if (task.world_suite.empty()) return nullptr;
    const auto own = item.find("task");
    const std::string name = own != item.end() && own->is_string() ? own->get<std::string>() : task.world_suite;
    const auto found = known->find(name);
    if (found != known->end()) return found->second;
    const auto words = std::make_shared<const world::WordRules>(world::word_rules(world.get().state(), name));
    std::shared_ptr<AttackRules> rules;
    if (!words->exchanges.empty()) {
      rules = std::make_shared<AttackRules>();
      rules->may_change = [words](const std::string& word) { return words->free.contains(word); };
      rules->exchanges = words->exchanges;
      rules->is_certain = true;
    }
    return (*known)[name] = rules;
  };
}

Json difference_json(const Difference& difference, double adjusted) {
  return {{"value", difference.value},
          {"low", difference.interval.low},
          {"high", difference.interval.high},
          {"p_value", difference.p_value},
          {"p_holm", adjusted},
          {"p_mcnemar", difference.mcnemar_p < 0 ? Json() : Json(difference.mcnemar_p)},
          {"smallest_effect", difference.smallest_effect},
          {"n", difference.n}};
}

Json rate_json(const Difference& rate) {
  return {{"value", rate.value}, {"low", rate.interval.low}, {"high", rate.interval.high}};
}

Json changes_json(const AttackedItem& item) {
  Json changes = Json::array();
  for (const auto& [word, other] : item.changes) changes.push_back({word, other});
  return changes;
}

Json answer_json(const AttackOutcome& outcome, const AttackAnswer& answer) {
  Json json = {{"id", answer.id}, {"original", answer.original}, {"clean_answer", answer.clean_answer}};
  json["clean_right"] = answer.clean_right;
  for (size_t m = 0; m < outcome.models.size(); ++m)
    json["against_" + outcome.models[m]] = {{"text", answer.made[m].text},
                                            {"changes", changes_json(answer.made[m])},
                                            {"queries", answer.made[m].queries},
                                            {"answer", answer.answer[m]},
                                            {"right", answer.right[m]},
                                            {"random_text", answer.random[m].text},
                                            {"random_right", answer.random_right[m]}};
  return json;
}

Json outcome_json(const AttackOutcome& outcome, bool with_items) {
  Json json = {{"task", outcome.task},
               {"models", outcome.models},
               {"items", outcome.items},
               {"common", outcome.common},
               {"labels_certain", outcome.is_certain},
               {"clean_accuracy", outcome.clean_accuracy},
               {"accuracy_after", outcome.accuracy},
               {"mean_queries", outcome.mean_queries},
               {"mean_changes", outcome.mean_changes}};
  json["cells"] = Json::array();
  for (size_t made = 0; made < outcome.models.size(); ++made)
    for (size_t asked = 0; asked < outcome.models.size(); ++asked) {
      const AttackCell& cell = outcome.cells[made][asked];
      json["cells"].push_back({{"made_against", outcome.models[made]},
                               {"asked", outcome.models[asked]},
                               {"success", rate_json(cell.success)},
                               {"random", rate_json(cell.random)},
                               {"beyond_random", difference_json(cell.beyond_random, cell.beyond_adjusted)}});
    }
  json["comparisons"] = Json::array();
  for (const AttackComparison& comparison : outcome.comparisons) {
    Json entry = difference_json(comparison.difference, comparison.p_adjusted);
    entry["name"] = comparison.name;
    json["comparisons"].push_back(std::move(entry));
  }
  if (!with_items) return json;
  json["answers"] = Json::array();
  for (const AttackAnswer& answer : outcome.answers) json["answers"].push_back(answer_json(outcome, answer));
  return json;
}

std::string interval_text(const Interval& interval) {
  return fmt::format("{:.1f} – {:.1f}", interval.low, interval.high);
}

void print_outcome(const AttackOutcome& outcome) {
  fmt::print("{}: {} items, {} answered rightly by {}; labels are kept {}\n", outcome.task, outcome.items,
             outcome.common, outcome.models.size() == 2 ? "both models" : "the model",
             outcome.is_certain ? "by construction" : "by assumption");
  TextTable table({"made against", "asked", "success %", "95 % interval", "random %", "beyond random", "95 % interval",
                   "p (Holm)", "accuracy before", "after"});
  for (size_t made = 0; made < outcome.models.size(); ++made)
    for (size_t asked = 0; asked < outcome.models.size(); ++asked) {
      const AttackCell& cell = outcome.cells[made][asked];
      table.add({outcome.models[made], outcome.models[asked], fmt::format("{:.1f}", cell.success.value),
                 interval_text(cell.success.interval), fmt::format("{:.1f}", cell.random.value),
                 signed_points(cell.beyond_random.value), interval_text(cell.beyond_random.interval),
                 fmt::format("{:.3g}", cell.beyond_adjusted), fmt::format("{:.1f}", outcome.clean_accuracy[asked]),
                 fmt::format("{:.1f}", outcome.accuracy[made][asked])});
    }
  fmt::print("{}", table.text());
  for (const AttackComparison& comparison : outcome.comparisons) {
    const Difference& difference = comparison.difference;
    fmt::print("{}: {} points ({}), McNemar p {}, Holm p {:.3g}\n", comparison.name, signed_points(difference.value),
               interval_text(difference.interval),
               difference.mcnemar_p < 0 ? "–" : fmt::format("{:.3g}", difference.mcnemar_p), comparison.p_adjusted);
  }
  for (size_t made = 0; made < outcome.models.size(); ++made)
    fmt::print("against {}: {:.1f} queries and {:.2f} changed words per attacked item\n", outcome.models[made],
               outcome.mean_queries[made], outcome.mean_changes[made]);
  fmt::print("\n");
}

Json model_json(const std::string& name, const ModelInfo& info) {
  return {{"name", name}, {"path", info.path}, {"sha256", info.sha256}, {"parameters", info.parameters}};
}

void run_attack(const AttackArguments& arguments) {
  if (!arguments.output.empty() && std::filesystem::exists(arguments.output) && !arguments.overwrite)
    throw_error(ErrorKind::kUsage, "{}: exists already; name another file or pass --overwrite", arguments.output);
  const std::vector<Task> tasks = find_tasks(arguments.tasks, data_home() + "/tasks");
  DeferredWorld world;
  EvalOptions options;
  options.tier = tier_from_name(arguments.tier);
  options.max_items = arguments.items;
  options.data_directory = arguments.data;
  options.world_items = [&world](const std::string& suite) { return world.get().items(suite); };
  AttackSettings settings = arguments.settings;
  settings.rules = world_rules(world);

  const TorchLanguageModel::Options how{.device = global_options().device, .dtype = {}, .noise_seed = {}};
  TorchLanguageModel dense(arguments.model, how);
  std::unique_ptr<TorchLanguageModel> compressed;
  const auto victim = [](const char* name, TorchLanguageModel& model) {
    return Victim{name, &model,
                  [&model](const std::string& word, int64_t count) { return model.neighbors(word, count); }};
  };
  std::vector<Victim> models = {victim("dense", dense)};
  if (!arguments.against.empty()) {
    compressed = std::make_unique<TorchLanguageModel>(arguments.against, how);
    models.push_back(victim("compressed", *compressed));
  }
  std::vector<AttackOutcome> outcomes;
  for (const Task& task : tasks) {
    outcomes.push_back(attack_models(models, task, options, settings));
    if (arguments.tasks_directory.empty()) continue;
    std::filesystem::create_directories(arguments.tasks_directory);
    for (size_t made = 0; made < models.size(); ++made)
      write_attack_task(arguments.tasks_directory, task, outcomes.back(), made);
  }
  if (outcomes.size() > 1) outcomes.push_back(pool_attacks(outcomes));

  Json json = {{"version", 1},
               {"ockham", version()},
               {"machine", machine_description()},
               {"time", utc_now()},
               {"tier", arguments.tier},
               {"settings",
                {{"queries", settings.queries},
                 {"changes", settings.changes},
                 {"neighbors", settings.neighbors},
                 {"seed", settings.seed}}}};
  for (const Victim& model : models) json["models"].push_back(model_json(model.name, model.model->info()));
  const auto results = [&](bool with_items) {
    Json all = Json::array();
    // The pooled outcome repeats the items of the tasks.
    for (const AttackOutcome& outcome : outcomes)
      all.push_back(outcome_json(outcome, with_items && (tasks.size() == 1 || &outcome != &outcomes.back())));
    return all;
  };
  if (!arguments.output.empty()) {
    json["results"] = results(true);
    write_file_atomically(arguments.output, json.dump(1) + "\n");
  }
  if (global_options().json) {
    json["results"] = results(false);
    fmt::print("{}\n", json.dump(1));
    return;
  }
  for (const AttackOutcome& outcome : outcomes) print_outcome(outcome);
}

}  // namespace

void add_attack_command(CLI::App& app) {
  auto arguments = std::make_shared<AttackArguments>();
  CLI::App* command =
      app.add_subcommand("attack", "Change a few words until a model's answer turns, and ask a compressed version too");
  command->add_option("DENSE", arguments->model, "Model directory or Hub id in the local cache")->required();
  command->add_option("--against", arguments->against,
                      "A compressed version: attacks are made against both and asked of both");
  command
      ->add_option("--tasks", arguments->tasks,
                   "Tasks that label texts (default factworld/sentiment, entailment and paraphrase)")
      ->delimiter(',');
  command->add_option("--tier", arguments->tier, "quick or full");
  command->add_option("--items", arguments->items, "At most this many items per task")->check(CLI::PositiveNumber);
  command->add_option("--data", arguments->data, "Folder with the data of benchmark tasks");
  command->add_option("--queries", arguments->settings.queries, "Texts that a model is asked about, per item (100)")
      ->check(CLI::Range(2, 100000));
  command->add_option("--changes", arguments->settings.changes, "Words changed at most (3)")->check(CLI::Range(1, 100));
  command
      ->add_option("--neighbors", arguments->settings.neighbors,
                   "Candidates a word from the attacked model's embeddings (8; 0: misspellings and known exchanges)")
      ->check(CLI::Range(0, 1000));
  command->add_option("--seed", arguments->settings.seed, "Seed of misspellings and of the random control");
  command->add_option("-o,--output", arguments->output, "Write rates, comparisons and every text (JSON)");
  command->add_option("--write-tasks", arguments->tasks_directory,
                      "Write the texts as tasks for `ockham eval` and `ockham study` into this folder");
  command->add_flag("--overwrite", arguments->overwrite, "Replace an output that exists");
  command->footer(
      "Examples:\n"
      "  ockham attack models/mini --against out/mini-w50 -o attack.json\n"
      "  ockham attack models/mini --tasks factworld/sentiment --tier full --write-tasks attacked\n"
      "  ockham eval out/mini-w50 --baseline models/mini --tasks attacked/factworld-sentiment-against-dense.yaml");
  command->callback([arguments] { run_attack(*arguments); });
}

}  // namespace ockham
