// Bytes that are kept on disk for a while instead of in memory.
#pragma once

#include <cstddef>
#include <string>

#include "ockham/io/posix.h"

namespace ockham {

// A stack: what was pushed last is popped first. The file has no name and is gone when the process ends, however it
// ends.
class ScratchFile {
 public:
  // In a directory that exists. Error(kResource), as for every function below.
  explicit ScratchFile(const std::string& directory);
  void push(const void* data, size_t size);
  void pop(void* data, size_t size);  // `size` as it was pushed

 private:
  std::string path_;  // for messages
  Descriptor file_;
  size_t size_ = 0;
};

}  // namespace ockham
