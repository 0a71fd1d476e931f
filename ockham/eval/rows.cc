// Reading of data files row by row.
#include "ockham/eval/rows.h"

#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/io/table.h"

namespace ockham {
namespace fs = std::filesystem;
namespace {

std::vector<Json> rows_of_table(const std::string& path, char separator, std::vector<std::string> columns) {
  const std::vector<std::vector<std::string>> rows = read_csv(path, separator);
  if (rows.empty()) throw_input("{}: empty, expected {}rows", path, columns.empty() ? "a header line and " : "");
  size_t first = 0;
  if (columns.empty()) {
    columns = rows[0];
    first = 1;
  }
  std::vector<Json> items;
  for (size_t r = first; r < rows.size(); ++r) {
    if (rows[r].size() != columns.size())
      throw_input("{}: row {} has {} fields, expected {} ({}); correct the file", path, r + 1, rows[r].size(),
                  columns.size(), fmt::join(columns, ", "));
    Json item = Json::object();
    for (size_t c = 0; c < columns.size(); ++c) item[columns[c]] = rows[r][c];
    items.push_back(std::move(item));
  }
  return items;
}

std::vector<Json> rows_of_json(const std::string& path, const std::string& list) {
  const Json root = read_json_file(path);
  const Json* rows = &root;
  if (!list.empty()) {
    if (!root.is_object() || !root.contains(list))
      throw_input("{}: key '{}' is missing, expected the list of rows there; correct the file", path, list);
    rows = &root[list];
  }
  if (!rows->is_array()) throw_input("{}: found {}, expected a list of items", path, rows->type_name());
  return {rows->begin(), rows->end()};
}

}  // namespace

std::vector<Json> read_rows(const std::string& path, const RowsOptions& options) {
  const std::string ending = fs::path(path).extension().string();
  std::vector<Json> rows;
  if (ending == ".jsonl")
    rows = read_jsonl_file(path);
  else if (ending == ".csv")
    rows = rows_of_table(path, ',', options.columns);
  else if (ending == ".tsv")
    rows = rows_of_table(path, '\t', options.columns);
  else if (ending == ".json")
    rows = rows_of_json(path, options.list);
  else if (ending == ".parquet")
    rows = read_parquet_rows(path);
  else
    throw_input("{}: cannot read items from a '{}' file, expected .jsonl, .json, .csv, .tsv or .parquet", path, ending);
  for (size_t i = 0; i < rows.size(); ++i)
    if (!rows[i].is_object())
      throw_input("{}: row {} is {}, expected an object; correct the file", path, i + 1, rows[i].type_name());
  return rows;
}

std::string find_rows(const std::string& directory, const std::vector<std::string>& places) {
  for (const std::string& place : places) {
    for (const char* ending : {"", ".jsonl", ".json", ".csv", ".tsv", ".parquet"}) {
      const fs::path path = fs::path(directory) / (place + ending);
      if (fs::is_regular_file(path)) return path.string();
    }
  }
  return "";
}

}  // namespace ockham
