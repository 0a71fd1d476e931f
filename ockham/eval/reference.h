// What must stand beside a score for it to mean something: chance, the benign control, scenarios without data.
#pragma once

#include <string>
#include <vector>

#include "ockham/eval/evaluate.h"
#include "ockham/eval/statistics.h"
#include "ockham/eval/task.h"

namespace ockham {

// The metric that is the task's 0-100 scale. Error(kInternal) without one.
const MetricResult& score_metric(const TaskResult& result);

// True where a score is more than two standard errors from chance, in points; the standard error is that of its 95 %
// interval.
bool is_beyond_chance(double score, const Interval& interval, double chance);
// False where the task has a chance score and `score`, of the dense model, is not beyond it. A difference to such a
// score says nothing.
bool is_interpretable(const Task& task, const MetricResult& score);

// " (partial 3/4)", or "" for a whole score.
std::string partial_text(const TaskResult& result);

// "trust/ood: 61.0 of its control trust/ood-base 92.0 = 66.3 %", or "" where the control was not measured.
std::string control_text(const Task& task, const std::vector<TaskResult>& results);

// Appends the benign controls that tasks on a benchmark's own files name and that are not among them yet.
void add_controls(std::vector<Task>& tasks, const std::string& directory);

}  // namespace ockham
