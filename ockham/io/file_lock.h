// One writing process per place.
#pragma once

#include <string>

#include "ockham/core/error.h"

namespace ockham {

// Holds a lock on a file, which it makes where there is none, until it ends; the lock goes with the process, however
// that ends. Where another process holds it: Error(kind), "PATH: `refusal`"; where the file cannot be made:
// Error(kResource).
class FileLock {
 public:
  FileLock(const std::string& path, ErrorKind kind, const std::string& refusal);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  bool is_held() const { return is_held_; }  // false on file systems that have no locks

 private:
  int file_;
  bool is_held_ = false;
};

}  // namespace ockham
