// Items of a task: out of the world or out of a file of the data directory.
#pragma once

#include <string>
#include <vector>

#include "ockham/eval/evaluate.h"
#include "ockham/eval/protocols.h"
#include "ockham/eval/suites/suite.h"

namespace ockham {

// All items of the task, each with an `id` (rows of a file without one are numbered), and what a suite says of its
// data.
SuiteItems read_items(const Task& task, const EvalOptions& options);
// At most `limit` of them (0: all), in their order; see task_items().
std::vector<Json> select_items(const Task& task, std::vector<Json> items, int64_t limit);
// The limit that a tier or --items sets; 0: all.
int64_t item_limit(const Task& task, const EvalOptions& options);
// The windows that perplexity is measured on, cut by the task's protocol or by that of the options; `sha256` is that of
// the data.
TextWindows read_windows(const LanguageModel& model, const Task& task, const EvalOptions& options, std::string& sha256);

}  // namespace ockham
