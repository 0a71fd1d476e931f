// Which rows and columns a comparison has: dimensions from the tasks, families and nominal rates from the recipes'
// text.
#pragma once

#include <string>
#include <vector>

#include "ockham/report/summary.h"

namespace ockham {

// Trust dimensions in their usual order, then the knowledge tasks one by one, then others. Perplexity tasks go to a
// list.
std::vector<Column> make_columns(const StudyResults& results, std::vector<std::string>& perplexity_tasks);
// One row per model and recipe, in the order of the study; measurements are filled in later.
std::vector<ComparisonRow> make_rows(const StudyResults& results);

}  // namespace ockham
