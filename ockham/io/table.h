// Rows of text fields from CSV (RFC 4180), TSV and Parquet.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ockham {

// Fields may be quoted, hold line breaks and doubled quotes. Errors name the line.
std::vector<std::vector<std::string>> read_csv(const std::string& path, char separator = ',');
// One column of strings from a Parquet file. Error(kInput) names the columns that there are.
std::vector<std::string> read_parquet_column(const std::string& path, const std::string& column);

}  // namespace ockham
