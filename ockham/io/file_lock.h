// One writing process per place.
#pragma once

#include <string>

#include "ockham/io/posix.h"

namespace ockham {

// Holds a lock on a file, which it makes where there is none, until it ends; the lock goes with the process, however
// that ends. Where another process holds it: Error(kResource), "PATH: `refusal`". File systems without locks are taken
// as they are.
class FileLock {
 public:
  FileLock(const std::string& path, const std::string& refusal);

 private:
  Descriptor file_;
};

}  // namespace ockham
