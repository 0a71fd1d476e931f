// An advisory lock of the whole file.
#include "ockham/io/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "ockham/io/posix.h"

namespace ockham {

FileLock::FileLock(const std::string& path, ErrorKind kind, const std::string& refusal)
    : file_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
  if (file_ < 0) throw_system(path, "create the file");
  is_held_ = ::flock(file_, LOCK_EX | LOCK_NB) == 0;
  if (is_held_ || errno != EWOULDBLOCK) return;
  ::close(file_);
  throw_error(kind, "{}: {}", path, refusal);
}

FileLock::~FileLock() {
  ::close(file_);
}

}  // namespace ockham
