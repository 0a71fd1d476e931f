// Rows of text fields from CSV (RFC 4180), TSV and Parquet.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ockham/io/json.h"

namespace ockham {

// Fields may be quoted, hold line breaks and doubled quotes; with a tab as separator quotes are ordinary characters.
// All rows have as many fields as the first; blank lines are skipped. Error(kInput) names the line.
std::vector<std::vector<std::string>> parse_csv(std::string_view text, char separator, const std::string& where);
std::vector<std::vector<std::string>> read_csv(const std::string& path, char separator = ',');
// One column of strings from a Parquet file. Error(kInput) names the columns that there are.
std::vector<std::string> read_parquet_column(const std::string& path, const std::string& column);

// The rows of a Parquet file as objects, at most `max_rows` (0: all); lists and structs stay nested, missing values are
// null.
std::vector<Json> read_parquet_rows(const std::string& path, int64_t max_rows = 0);

}  // namespace ockham
