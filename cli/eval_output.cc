// Tables, notes and JSON of `ockham eval`.
#include "cli/eval_output.h"

#include <fmt/format.h>

#include "cli/commands.h"
#include "ockham/core/rng.h"
#include "ockham/eval/journal.h"
#include "ockham/eval/reference.h"

namespace ockham {
namespace {

constexpr int64_t kResamples = 2000;

std::string shown(const MetricResult& metric, double value) {
  if (metric.unit == "points") return fmt::format("{:.1f}", value);
  if (metric.unit == "rate") return fmt::format("{:.3f}", value);
  return value < 1000 ? fmt::format("{:.3f}", value) : fmt::format("{:.4g}", value);
}

// Perplexities of different protocols cannot be compared, so the protocol stands beside the number.
std::string shown_unit(const MetricResult& metric, const TaskResult& result) {
  return result.protocol.empty() ? metric.unit : metric.unit + ", " + result.protocol;
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
  if (!result.missing_items.empty()) {
    json["missing_items"] = Json::array();
    for (const MissingItem& item : result.missing_items)
      json["missing_items"].push_back({{"id", item.id}, {"reason", item.reason}});
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

std::string missing_text(const TaskResult& result) {
  return result.missing_items.empty() ? "" : fmt::format(" ({} missing)", result.missing_items.size());
}

Json interval_json(const Interval& interval) {
  return {{"low", interval.low}, {"high", interval.high}};
}

Json fidelity_json(const FidelityValue& value) {
  return {{"value", value.value}, {"low", value.interval.low}, {"high", value.interval.high}};
}

void add_changes(const TaskChanges& changes, Json& json) {
  if (changes.flips) {
    const Flips& flips = *changes.flips;
    json["flips"] = {{"right_to_wrong", flips.lost},
                     {"wrong_to_right", flips.gained},
                     {"n", flips.n},
                     {"right_to_wrong_share", interval_json(flips.lost_share)},
                     {"wrong_to_right_share", interval_json(flips.gained_share)}};
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

Json comparison_json(const TaskComparison& comparison) {
  const Difference& difference = comparison.difference;
  return {{"value", difference.value},
          {"low", difference.interval.low},
          {"high", difference.interval.high},
          {"p_value", difference.p_value},
          {"p_holm", comparison.adjusted_p},
          {"p_mcnemar", difference.mcnemar_p < 0 ? Json() : Json(difference.mcnemar_p)},
          {"smallest_effect", difference.smallest_effect},
          {"interpretable", comparison.is_interpretable},
          {"verdict", comparison.verdict_shown()}};
}

// The cells of the score's row about the baseline.
std::vector<std::string> comparison_cells(const MetricResult& metric, const TaskComparison& comparison) {
  const Difference& difference = comparison.difference;
  const double dense = metric.value - difference.value;
  return {(difference.value > 0 ? "+" : "") + shown(metric, difference.value),
          shown(metric, difference.interval.low) + " – " + shown(metric, difference.interval.high),
          difference.mcnemar_p < 0 ? "–" : fmt::format("{:.3g}", difference.mcnemar_p),
          metric.unit == "points" && dense > 0 ? fmt::format("{:.1f} %", 100 * metric.value / dense) : "–",
          comparison.verdict_shown()};
}

void print_changes(const std::string& task, const TaskChanges& changes) {
  const auto text = [](const char* name, const FidelityValue& value) {
    return fmt::format("{} {:.4f} ({:.4f} – {:.4f})", name, value.value, value.interval.low, value.interval.high);
  };
  if (changes.flips && changes.flips->lost + changes.flips->gained > 0)
    fmt::print("{}: {} of {} answers turned wrong, {} turned right\n", task, changes.flips->lost, changes.flips->n,
               changes.flips->gained);
  if (!changes.fidelity) return;
  const Fidelity& fidelity = *changes.fidelity;
  fmt::print("{}: divergence from the baseline per token, nats: {}, {}, {}; {} over {} tokens\n", task,
             text("mean", fidelity.kl_mean), text("median", fidelity.kl_median),
             text("99th percentile", fidelity.kl_p99), text("same first choice", fidelity.top1_agreement),
             fidelity.tokens);
}

}  // namespace

void compare_with_baseline(EvalOutcome& outcome, double margin) {
  std::vector<double> p_values;
  for (size_t t = 0; t < outcome.tasks.size(); ++t) {
    PairedTask pair{&outcome.tasks[t], {outcome.results[t].items}, {outcome.baseline[t].items}};
    align(pair);
    TaskComparison comparison;
    comparison.difference = paired_change({pair}, kResamples, hash_seed(outcome.tasks[t].name));
    p_values.push_back(comparison.difference.p_value);
    outcome.compared.push_back(comparison);
  }
  const std::vector<double> adjusted = holm(p_values);
  for (size_t t = 0; t < outcome.tasks.size(); ++t) {
    TaskComparison& comparison = outcome.compared[t];
    comparison.adjusted_p = adjusted[t];
    const MetricResult& dense = score_metric(outcome.baseline[t]);
    // Perplexity: lower is better, and the margin is a percentage of the baseline.
    Difference judged = comparison.difference;
    Interval interval90 = judged.interval90;
    if (!dense.higher_is_better) {
      judged.value = -judged.value;
      interval90 = {-interval90.high, -interval90.low};
    }
    comparison.verdict =
        equivalence(judged, interval90, dense.unit == "points" ? margin : dense.value * margin / 100, adjusted[t]);
    comparison.is_interpretable = is_interpretable(outcome.tasks[t], dense);
    if (!comparison.is_interpretable) comparison.verdict = Verdict::kCannotTell;
  }
}

Json tasks_json(const EvalOutcome& outcome, bool with_items) {
  Json all = Json::array();
  for (size_t t = 0; t < outcome.tasks.size(); ++t) {
    Json task = result_json(outcome.results[t], with_items);
    task["task_sha256"] = outcome.tasks[t].sha256;
    if (!outcome.floors.empty()) task["noise_floor"] = {{"copies", outcome.noise_copies}, {"rms", outcome.floors[t]}};
    if (!outcome.baseline.empty()) {
      task["baseline"] = result_json(outcome.baseline[t], with_items);
      add_changes(outcome.changes[t], task);
      task["difference"] = comparison_json(outcome.compared[t]);
    }
    all.push_back(std::move(task));
  }
  return all;
}

Json skipped_json(const EvalOutcome& outcome) {
  Json all = Json::array();
  for (const SkippedTask& skipped : outcome.skipped)
    all.push_back({{"task", skipped.task}, {"reason", skipped.reason}});
  return all;
}

int64_t missing_items(const EvalOutcome& outcome) {
  size_t missing = 0;
  for (const TaskResult& result : outcome.results) missing += result.missing_items.size();
  for (const TaskResult& result : outcome.baseline) missing += result.missing_items.size();
  return static_cast<int64_t>(missing);
}

void print_outcome(const EvalOutcome& outcome) {
  const bool is_compared = !outcome.compared.empty(), has_floors = !outcome.floors.empty();
  std::vector<std::string> header = {"task", "metric", "value", "95 % interval", "n", "unit"};
  if (is_compared) header.insert(header.end(), {"change", "95 % interval", "McNemar p", "of dense", "verdict"});
  if (has_floors) header.emplace_back("noise floor");
  if (has_floors && is_compared) header.emplace_back("change / floor");
  TextTable table(header);
  for (size_t t = 0; t < outcome.tasks.size(); ++t) {
    const TaskResult& result = outcome.results[t];
    for (const MetricResult& metric : result.metrics) {
      std::vector<std::string> row = {
          metric.is_score ? result.task : "",
          metric.name,
          shown(metric, metric.value) + (metric.is_score ? partial_text(result) + missing_text(result) : ""),
          shown(metric, metric.low) + " – " + shown(metric, metric.high),
          std::to_string(metric.n),
          shown_unit(metric, result)};
      if (is_compared && metric.is_score)
        for (std::string& cell : comparison_cells(metric, outcome.compared[t])) row.push_back(std::move(cell));
      if (has_floors) {
        row.resize(is_compared ? 11 : 6);
        const double floor = outcome.floors[t].at(metric.name);
        row.push_back(shown(metric, floor));
        if (is_compared && metric.is_score) row.push_back(in_noise_units(outcome.compared[t].difference.value, floor));
      }
      table.add(std::move(row));
    }
  }
  fmt::print("{}", table.text());
  for (const SkippedTask& skipped : outcome.skipped) fmt::print("not measured: {}: {}\n", skipped.task, skipped.reason);
  for (size_t t = 0; t < outcome.changes.size(); ++t) print_changes(outcome.tasks[t].name, outcome.changes[t]);
  if (global_options().quiet) return;
  for (size_t t = 0; t < outcome.tasks.size(); ++t) {
    const Task& task = outcome.tasks[t];
    if (const std::string line = control_text(task, outcome.results); !line.empty()) fmt::print("{}\n", line);
    if (!is_compared && !is_interpretable(task, score_metric(outcome.results[t])))
      fmt::print("{}: within two standard errors of chance ({:g}): not interpretable\n", task.name, task.chance);
  }
  for (const TaskResult& result : outcome.results)
    for (const std::string& note : result.notes) fmt::print("{}: {}\n", result.task, note);
}

}  // namespace ockham
