// A file that grows by whole lines, for what must outlive a kill: whatever was appended before stays, and a last line
// that a kill cut off is dropped when the file is opened again.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ockham {

class LineFile {
 public:
  // Creates the file, or reads it. Error(kResource) where it cannot be written or another process writes it.
  explicit LineFile(std::string path);
  ~LineFile();  // a file without a line is deleted
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;

  const std::string& path() const { return path_; }
  // The whole lines that were there on opening, without line ends.
  const std::vector<std::string>& lines() const { return lines_; }
  // `line` holds no line end.
  void append(std::string_view line);
  // Deletes the file; nothing can be appended any more.
  void remove();

 private:
  std::string path_;
  int file_ = -1;
  bool has_grown_ = false;
  std::vector<std::string> lines_;
};

}  // namespace ockham
