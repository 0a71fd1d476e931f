// From attacked texts to rates, paired comparisons, and tasks that hold the texts.
#include "ockham/eval/attack_matrix.h"

#include <algorithm>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/core/rng.h"
#include "ockham/eval/paired.h"
#include "ockham/eval/scorers/scorer.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/io/file.h"

namespace ockham {
namespace {

// What a model says to these items, in their order.
std::vector<ItemResult> answers_to(LanguageModel& model, const Task& task, const EvalOptions& options,
                                   const std::vector<Json>& items) {
  Task given = task;
  given.suite.clear();
  given.suite_params.clear();
  given.data_file.clear();
  given.world_suite = "attacked";
  given.items = {{Tier::kQuick, 0}, {Tier::kFull, 0}};
  EvalOptions own = options;
  own.max_items = 0;
  own.resume = nullptr;
  own.on_items = nullptr;
  own.world_items = [&items](const std::string&) { return items; };
  TaskResult result = evaluate(model, given, own);
  OCKHAM_CHECK(result.items.size() == items.size());
  return std::move(result.items);
}

std::vector<Json> items_of(const std::vector<AttackedItem>& attacked) {
  std::vector<Json> items;
  for (const AttackedItem& one : attacked) items.push_back(one.item);
  return items;
}

bool is_right(const ItemResult& item) {
  if (item.score != 0 && item.score != 1)
    throw_input("{}: its score is {:g}, expected right or wrong; attacks need tasks with one label per item", item.id,
                item.score);
  return item.score == 1;
}

bool is_common(const AttackAnswer& answer) {
  return std::all_of(answer.clean_right.begin(), answer.clean_right.end(), [](bool right) { return right; });
}

Statistic mean_statistic(const Task&, const std::vector<ItemResult>& items) {
  std::vector<double> scores;
  for (const ItemResult& item : items) scores.push_back(100 * item.score);
  return [scores](const std::vector<int32_t>& picked) {
    double sum = 0;
    for (const int32_t index : picked) sum += scores[static_cast<size_t>(index)];
    return picked.empty() ? 0 : sum / static_cast<double>(picked.size());
  };
}

// Paired difference of two lists of successes, points; the statistic of every report.
Difference compare(const std::vector<bool>& first, const std::vector<bool>& second, const std::string& name) {
  const auto items = [](const std::vector<bool>& successes) {
    std::vector<ItemResult> list(successes.size());
    for (size_t i = 0; i < successes.size(); ++i) list[i].score = successes[i] ? 1 : 0;
    return list;
  };
  if (first.empty()) return {};
  static const Task task;
  return paired_change({{&task, {items(first)}, {items(second)}}}, kIntervalResamples, hash_seed(name), mean_statistic);
}

double share(const std::vector<bool>& list) {
  return list.empty()
             ? 0
             : 100 * static_cast<double>(std::count(list.begin(), list.end(), true)) / static_cast<double>(list.size());
}

// Rates, differences and means from the answers.
void summarize_answers(AttackOutcome& outcome) {
  const size_t models = outcome.models.size();
  std::vector<const AttackAnswer*> common;
  for (const AttackAnswer& answer : outcome.answers)
    if (is_common(answer)) common.push_back(&answer);
  outcome.items = static_cast<int64_t>(outcome.answers.size());
  outcome.common = static_cast<int64_t>(common.size());
  outcome.clean_accuracy.clear();
  outcome.accuracy.assign(models, std::vector<double>(models));
  outcome.cells.assign(models, std::vector<AttackCell>(models));
  outcome.mean_queries.assign(models, 0);
  outcome.mean_changes.assign(models, 0);
  outcome.is_certain = true;
  std::vector<std::vector<std::vector<bool>>> success(models, std::vector<std::vector<bool>>(models));
  std::vector<double> p_values;
  for (size_t made = 0; made < models; ++made) {
    std::vector<bool> clean;
    double attacked = 0;
    for (const AttackAnswer& answer : outcome.answers) {
      clean.push_back(answer.clean_right[made]);
      outcome.is_certain = outcome.is_certain && answer.made[made].is_certain;
      if (!answer.made[made].is_attacked) continue;
      ++attacked;
      outcome.mean_queries[made] += static_cast<double>(answer.made[made].queries);
      outcome.mean_changes[made] += static_cast<double>(answer.made[made].changes.size());
    }
    outcome.clean_accuracy.push_back(share(clean));
    outcome.mean_queries[made] /= std::max(1.0, attacked);
    outcome.mean_changes[made] /= std::max(1.0, attacked);
    for (size_t asked = 0; asked < models; ++asked) {
      std::vector<bool> random, all;
      for (const AttackAnswer* answer : common) {
        success[made][asked].push_back(!answer->right[made][asked]);
        random.push_back(!answer->random_right[made][asked]);
      }
      for (const AttackAnswer& answer : outcome.answers) all.push_back(answer.right[made][asked]);
      outcome.accuracy[made][asked] = share(all);
      const std::vector<bool> none(common.size(), false);
      AttackCell& cell = outcome.cells[made][asked];
      cell.success = compare(success[made][asked], none, "success");
      cell.random = compare(random, none, "random");
      cell.beyond_random = compare(success[made][asked], random, "beyond random");
      p_values.push_back(cell.beyond_random.p_value);
    }
  }
  outcome.comparisons.clear();
  if (models == 2) {
    const auto add = [&](const std::string& name, const std::vector<bool>& first, const std::vector<bool>& second) {
      outcome.comparisons.push_back({name, compare(first, second, name), 1});
      p_values.push_back(outcome.comparisons.back().difference.p_value);
    };
    const std::string &dense = outcome.models[0], &compressed = outcome.models[1];
    add(fmt::format("attacks of its own: {} less {}", compressed, dense), success[1][1], success[0][0]);
    add(fmt::format("attacks on {}: {} less {}", dense, compressed, dense), success[0][1], success[0][0]);
    add(fmt::format("what attacks on {} miss on {}", dense, compressed), success[1][1], success[0][1]);
  }
  const std::vector<double> adjusted = holm(p_values);
  size_t next = 0;
  for (std::vector<AttackCell>& row : outcome.cells)
    for (AttackCell& cell : row) cell.beyond_adjusted = adjusted[next++];
  for (AttackComparison& comparison : outcome.comparisons) comparison.p_adjusted = adjusted[next++];
}

std::string quoted(const std::string& text) {
  return Json(text).dump();
}

std::string yaml_of(const ParamValue& value) {
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr) return to_text(value);
  if (text->find(kListSeparator) == std::string::npos) return quoted(*text);
  std::string list;
  for (size_t begin = 0; begin <= text->size();) {
    const size_t end = std::min(text->find(kListSeparator, begin), text->size());
    list += (begin == 0 ? "" : ", ") + quoted(text->substr(begin, end - begin));
    begin = end + 1;
  }
  return "[" + list + "]";
}

std::string task_yaml(const Task& task, const std::string& name, const std::string& against,
                      const std::string& data_file) {
  std::string text = fmt::format(
      "task: {}\nversion: 1\nsummary: {}\ndimension: adversarial_robustness\nitems: 0\ndata: {{file: {}}}\n"
      "request: {{kind: generate, max_tokens: {}}}\n",
      quoted(name), quoted(fmt::format("texts of {} changed to turn the answers of {}", task.name, against)),
      quoted(data_file), task.max_tokens);
  std::string prompt;
  const auto add = [&](const char* key, const std::string& value) {
    if (!value.empty()) prompt += fmt::format("  {}: {}\n", key, quoted(value));
  };
  add("system", task.system);
  add("description", task.description);
  add("plain", task.plain_prompt);
  add("few_shot_system", task.few_shot_system);
  add("few_shot_ack", task.few_shot_ack);
  if (!task.capitalizes_labels) prompt += "  capitalize_labels: false\n";
  if (!prompt.empty()) text += "prompt:\n" + prompt;
  text += "scorer: " + quoted(task.scorer) + "\n";
  if (!task.scorer_params.empty()) text += "params:\n";
  for (const auto& [key, value] : task.scorer_params) text += fmt::format("  {}: {}\n", key, yaml_of(value));
  text += "metrics:\n";
  for (const MetricSpec& metric : task.metrics)
    text +=
        fmt::format("  - {{name: {}, aggregate: {}, better: {}{}}}\n", quoted(metric.name), quoted(metric.aggregate),
                    metric.higher_is_better ? "higher" : "lower", metric.is_score ? ", score: true" : "");
  text += "control: " + quoted(task.name) + "\n";
  if (task.chance >= 0) text += fmt::format("chance: {:g}\n", task.chance);
  return text;
}

}  // namespace

AttackOutcome attack_models(const std::vector<Victim>& models, const Task& task, const EvalOptions& options,
                            const AttackSettings& settings) {
  AttackOutcome outcome;
  outcome.task = task.name;
  for (const Victim& model : models) outcome.models.push_back(model.name);
  const std::vector<Json> items = task_items(task, options);
  outcome.answers.resize(items.size());
  std::vector<std::vector<AttackedItem>> made, random;
  for (const Victim& victim : models) {
    made.push_back(attack_items(victim, task, items, options, settings));
    random.push_back(change_at_random(victim, task, made.back(), settings));
  }
  for (size_t i = 0; i < items.size(); ++i) {
    AttackAnswer& answer = outcome.answers[i];
    answer.id = item_label(items[i], "id");
    answer.original = made[0][i].original;
    answer.right.assign(models.size(), std::vector<bool>(models.size()));
    answer.random_right = answer.right;
    answer.answer.assign(models.size(), std::vector<std::string>(models.size()));
    for (size_t m = 0; m < models.size(); ++m) {
      answer.made.push_back(made[m][i]);
      answer.random.push_back(random[m][i]);
    }
  }
  for (size_t asked = 0; asked < models.size(); ++asked) {
    LanguageModel& model = *models[asked].model;
    const std::vector<ItemResult> clean = answers_to(model, task, options, items);
    for (size_t i = 0; i < items.size(); ++i) {
      outcome.answers[i].clean_right.push_back(is_right(clean[i]));
      outcome.answers[i].clean_answer.push_back(clean[i].answer);
    }
    for (size_t m = 0; m < models.size(); ++m) {
      const std::vector<ItemResult> after = answers_to(model, task, options, items_of(made[m])),
                                    control = answers_to(model, task, options, items_of(random[m]));
      for (size_t i = 0; i < items.size(); ++i) {
        outcome.answers[i].right[m][asked] = is_right(after[i]);
        outcome.answers[i].random_right[m][asked] = is_right(control[i]);
        outcome.answers[i].answer[m][asked] = after[i].answer;
      }
    }
  }
  summarize_answers(outcome);
  return outcome;
}

AttackOutcome pool_attacks(const std::vector<AttackOutcome>& outcomes) {
  OCKHAM_CHECK(!outcomes.empty());
  AttackOutcome pooled;
  pooled.task = "all";
  pooled.models = outcomes[0].models;
  for (const AttackOutcome& outcome : outcomes)
    pooled.answers.insert(pooled.answers.end(), outcome.answers.begin(), outcome.answers.end());
  summarize_answers(pooled);
  return pooled;
}

std::string write_attack_task(const std::string& directory, const Task& task, const AttackOutcome& outcome,
                              size_t made) {
  std::string leaf = task.name;
  std::replace(leaf.begin(), leaf.end(), '/', '-');
  const std::string name = fmt::format("{}-against-{}", leaf, outcome.models.at(made));
  std::string rows;
  for (const AttackAnswer& answer : outcome.answers) {
    Json item = answer.made[made].item;
    item["original"] = answer.original;
    rows += item.dump() + "\n";
  }
  const std::filesystem::path folder(directory);
  write_file_atomically((folder / (name + ".jsonl")).string(), rows);
  const std::string path = (folder / (name + ".yaml")).string();
  write_file_atomically(path, task_yaml(task, "attack/" + name, outcome.models[made], name + ".jsonl"));
  return path;
}

}  // namespace ockham
