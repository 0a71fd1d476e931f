// A file that is written piece by piece and appears whole or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "ockham/io/posix.h"

namespace ockham {

class OutputFile {
 public:
  // Under a temporary name beside `path`, in a directory that exists. Error(kResource), as for every function below.
  explicit OutputFile(std::string path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  void write(const void* data, size_t bytes);
  int64_t written() const { return written_; }
  // Syncs and renames; without it nothing is left.
  void commit();

 private:
  std::string path_, temporary_;
  Descriptor file_;
  int64_t written_ = 0;
  bool is_committed_ = false;
};

}  // namespace ockham
