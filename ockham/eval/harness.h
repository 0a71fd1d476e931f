// Task files of lm-evaluation-harness, read as they are where they hold no Python: templates, splits of local data
// files, few-shot settings, filters, metrics, `include`, and files that only name a group of tasks. What is not read is
// refused by the name of its key. docs/tasks.md has the table.
#pragma once

#include <string>
#include <vector>

#include "ockham/eval/task.h"

namespace ockham {

// Whether a YAML file is one of lm-evaluation-harness's: it has keys of that program and none of a task of ours.
bool is_harness_file(const std::string& path);
// The task of the file, or all tasks of the group that it names. Error(kInput) names file, line and key.
std::vector<Task> read_harness_tasks(const std::string& path);

}  // namespace ockham
