// Rows of data files as JSON objects, whatever the file's form.
#pragma once

#include <string>
#include <vector>

#include "ockham/io/json.h"

namespace ockham {

struct RowsOptions {
  std::vector<std::string> columns;  // names for a CSV or TSV without a header line; empty: the first line names them
  std::string list;                  // key of a JSON object that holds the rows; "": the file is the list
};

// .jsonl, .json, .csv, .tsv or .parquet. Values of CSV and TSV are texts. Error(kInput) names file and line.
std::vector<Json> read_rows(const std::string& path, const RowsOptions& options = {});

// The first of `places`, below `directory`, that is a file; a place without an ending is tried with each of them. ""
// when none is there.
std::string find_rows(const std::string& directory, const std::vector<std::string>& places);

}  // namespace ockham
