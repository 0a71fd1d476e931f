// CSV, TSV and Parquet.
#include "ockham/io/table.h"

#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/io/rust_values.h"

namespace ockham {
namespace {

class CsvParser {
 public:
  CsvParser(std::string_view text, char separator, const std::string& where)
      : text_(text), separator_(separator), where_(where) {}

  std::vector<std::vector<std::string>> run() {
    if (text_.starts_with("\xEF\xBB\xBF")) next_ = 3;  // byte order mark
    std::vector<std::vector<std::string>> rows;
    while (next_ < text_.size()) {
      const int64_t line = line_;
      std::vector<std::string> row = read_row();
      if (row.size() == 1 && row[0].empty()) continue;  // a blank line
      if (!rows.empty() && row.size() != rows[0].size()) {
        throw_input("{}:{}: has {} fields, expected {} as in the first row", where_, line, row.size(), rows[0].size());
      }
      rows.push_back(std::move(row));
    }
    return rows;
  }

 private:
  bool at_line_end() const { return next_ == text_.size() || text_[next_] == '\n' || text_.substr(next_, 2) == "\r\n"; }

  std::vector<std::string> read_row() {
    std::vector<std::string> row;
    for (;;) {
      row.push_back(separator_ != '\t' && next_ < text_.size() && text_[next_] == '"' ? read_quoted() : read_plain());
      if (at_line_end()) break;
      ++next_;  // the separator
    }
    if (next_ < text_.size()) next_ += text_[next_] == '\r' ? 2 : 1;
    ++line_;
    return row;
  }
  std::string read_plain() {
    const size_t begin = next_;
    while (!at_line_end() && text_[next_] != separator_) ++next_;
    return std::string(text_.substr(begin, next_ - begin));
  }
  std::string read_quoted() {
    const int64_t opened = line_;
    std::string field;
    ++next_;
    for (;;) {
      const size_t quote = text_.find('"', next_);
      if (quote == std::string_view::npos)
        throw_input("{}:{}: a quoted field is never closed; add the quote", where_, opened);
      const std::string_view piece = text_.substr(next_, quote - next_);
      line_ += std::count(piece.begin(), piece.end(), '\n');
      field += piece;
      next_ = quote + 1;
      if (next_ < text_.size() && text_[next_] == '"') {
        field += '"';
        ++next_;
        continue;
      }
      if (!at_line_end() && text_[next_] != separator_) {
        throw_input(
            "{}:{}: text follows a closing quote, expected '{}' or the end of the line; double quotes inside a field",
            where_, line_, separator_);
      }
      return field;
    }
  }

  std::string_view text_;
  char separator_;
  std::string where_;
  size_t next_ = 0;
  int64_t line_ = 1;
};

}  // namespace

std::vector<std::vector<std::string>> parse_csv(std::string_view text, char separator, const std::string& where) {
  return CsvParser(text, separator, where).run();
}

std::vector<std::vector<std::string>> read_csv(const std::string& path, char separator) {
  return parse_csv(read_text_file(path), separator, path);
}

std::vector<std::string> read_parquet_column(const std::string& path, const std::string& column) {
  OckhamStrings strings{};
  const std::string error = take_error(ockham_parquet_column(view(path), view(column), &strings));
  if (!error.empty())
    throw_input("{}: cannot be read as Parquet: {}; expected a column '{}' of strings", path, error, column);
  return take_strings(strings);
}

std::vector<Json> read_parquet_rows(const std::string& path, int64_t max_rows) {
  OckhamBytes bytes{};
  const std::string error = take_error(ockham_parquet_rows(view(path), static_cast<size_t>(max_rows), &bytes));
  if (!error.empty())
    throw_input("{}: cannot be read as Parquet: {}; expected a table of texts, numbers and lists of them", path, error);
  Json rows = parse_json(take_bytes(bytes), path);
  return {rows.begin(), rows.end()};
}

}  // namespace ockham
