// Rules for reading a score.
#include "ockham/eval/reference.h"

#include <algorithm>
#include <cmath>

#include "ockham/core/error.h"

namespace ockham {

const MetricResult& score_metric(const TaskResult& result) {
  for (const MetricResult& metric : result.metrics)
    if (metric.is_score) return metric;
  throw_error(ErrorKind::kInternal, "{}: no score among the metrics", result.task);
}

bool is_beyond_chance(double score, const Interval& interval, double chance) {
  constexpr double kNormal95 = 1.959964;
  return std::abs(score - chance) > 2 * (interval.high - interval.low) / (2 * kNormal95);
}

bool is_interpretable(const Task& task, const MetricResult& score) {
  if (task.chance < 0 || score.unit != "points") return true;
  return is_beyond_chance(score.value, {score.low, score.high}, task.chance);
}

std::string partial_text(const TaskResult& result) {
  if (result.missing_scenarios.empty()) return "";
  return fmt::format(" (partial {}/{})", result.scenarios - static_cast<int64_t>(result.missing_scenarios.size()),
                     result.scenarios);
}

std::string control_text(const Task& task, const std::vector<TaskResult>& results) {
  const auto find = [&](const std::string& name) {
    return std::find_if(results.begin(), results.end(), [&](const TaskResult& result) { return result.task == name; });
  };
  const auto own = find(task.name), control = find(task.control);
  if (task.control.empty() || own == results.end() || control == results.end()) return "";
  const double score = score_metric(*own).value, benign = score_metric(*control).value;
  std::string text = fmt::format("{}: {:.1f} of its control {} {:.1f}", task.name, score, task.control, benign);
  return benign > 0 ? text + fmt::format(" = {:.1f} %", 100 * score / benign) : text;
}

void add_controls(std::vector<Task>& tasks, const std::string& directory) {
  std::vector<std::string> wanted;
  for (const Task& task : tasks) {
    const bool is_there =
        std::any_of(tasks.begin(), tasks.end(), [&](const Task& other) { return other.name == task.control; });
    if (!task.suite.empty() && !task.control.empty() && !is_there) wanted.push_back(task.control);
  }
  if (wanted.empty()) return;
  std::vector<Task> controls = find_tasks(wanted, directory);
  for (Task& control : controls) tasks.push_back(std::move(control));
}

}  // namespace ockham
