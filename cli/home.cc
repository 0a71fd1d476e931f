// Where tasks, recipes and the embedded models are found, and text tables.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>

#include "cli/commands.h"
#include "ockham/core/error.h"

namespace ockham {
namespace fs = std::filesystem;

std::string data_home() {
  if (const char* home = std::getenv("OCKHAM_HOME"); home != nullptr && *home != 0) {
    if (!fs::is_directory(fs::path(home) / "tasks"))
      throw_input("OCKHAM_HOME: '{}' holds no folder tasks/; set it to the root of Ockham's checkout", home);
    return home;
  }
  std::error_code failure;
  fs::path folder = fs::read_symlink("/proc/self/exe", failure).parent_path();
  while (!failure && folder.has_relative_path()) {
    if (fs::is_directory(folder / "tasks") && fs::is_directory(folder / "recipes")) return folder.string();
    folder = folder.parent_path();
  }
  throw_input("no folder with tasks/ and recipes/ above the program; set OCKHAM_HOME to the root of Ockham's checkout");
}

std::string TextTable::text() const {
  // Code points, so that a column with "±" or "–" stays aligned.
  const auto width = [](const std::string& field) {
    return static_cast<size_t>(std::count_if(field.begin(), field.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  };
  std::vector<size_t> widths(header_.size(), 0);
  std::vector<bool> numeric(header_.size(), !rows_.empty());
  const auto measure = [&](const std::vector<std::string>& row, bool is_header) {
    for (size_t i = 0; i < widths.size() && i < row.size(); ++i) {
      widths[i] = std::max(widths[i], width(row[i]));
      if (!is_header && !row[i].empty() && row[i].find_first_of("0123456789") == std::string::npos) numeric[i] = false;
      if (!is_header && !row[i].empty() && std::isalpha(static_cast<unsigned char>(row[i][0])) != 0) numeric[i] = false;
    }
  };
  measure(header_, true);
  for (const auto& row : rows_) measure(row, false);
  std::string result;
  const auto write = [&](const std::vector<std::string>& row) {
    for (size_t i = 0; i < widths.size(); ++i) {
      const std::string field = i < row.size() ? row[i] : "";
      const std::string padding(widths[i] - width(field), ' ');
      result += numeric[i] ? padding + field : field + padding;
      result += i + 1 < widths.size() ? "  " : "";
    }
    while (!result.empty() && result.back() == ' ') result.pop_back();
    result += '\n';
  };
  write(header_);
  size_t total = widths.empty() ? 0 : 2 * (widths.size() - 1);
  for (size_t column : widths) total += column;
  for (size_t i = 0; i < total; ++i) result += "─";
  result += '\n';
  for (const auto& row : rows_) write(row);
  return result;
}

}  // namespace ockham
