// Reads the benchmark's literal prompts and phrases out of the source files of a clone, as data.
#pragma once

#include <string>
#include <vector>

#include "ockham/io/json.h"

namespace ockham {

struct DataFile {
  std::string scenario, file;  // below the clone
  int64_t rows = -1;           // lines of a table or entries of a JSON file; -1: missing
};

// prompts.json for a clone of AI-secure/DecodingTrust. `fork` is a clone of decoding-comp-trust/DecodingTrust, whose
// rules the compressed-trust paper scores by, or "": then the keys that come from it are absent. Error(kInput) names
// the file and what is missing in it.
Json read_benchmark_prompts(const std::string& clone, const std::string& fork);
// The data files that the tasks read, and which of them are there.
std::vector<DataFile> check_benchmark_data(const std::string& clone);

}  // namespace ockham
