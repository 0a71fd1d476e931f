// The tables of results.sqlite and their version.
#pragma once

#include "ockham/study/database.h"

namespace ockham {

// Creates the tables in an empty file and checks the version of another.
void prepare_schema(Database& database);
// Error(kUnsupported) for another major version, Error(kInput) for a file that is no results database.
void check_schema(Database& database);

}  // namespace ockham
