// The tables of results.sqlite and their version.
#pragma once

#include <vector>

#include "ockham/eval/evaluate.h"
#include "ockham/study/database.h"

namespace ockham {

// Creates the tables in an empty file and checks the version of another.
void prepare_schema(Database& database);
// Error(kUnsupported) for another major version, Error(kInput) for a file that is no results database.
void check_schema(Database& database);

// A column where NaN was stored as NULL.
double real_or_nan(const Statement& row, int column);
// Items of a cell by id, with their prompts.
std::vector<ItemResult> read_cell_items(Database& database, int64_t cell);

}  // namespace ockham
