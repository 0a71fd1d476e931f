// An advisory lock of the whole file.
#include "ockham/io/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

#include "ockham/core/error.h"

namespace ockham {

FileLock::FileLock(const std::string& path, const std::string& refusal)
    : file_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
  if (file_.get() < 0) throw_system(path, "create the file");
  if (::flock(file_.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    throw_error(ErrorKind::kResource, "{}: {}", path, refusal);
}

}  // namespace ockham
