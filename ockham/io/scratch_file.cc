// A file whose name is removed as soon as it is open.
#include "ockham/io/scratch_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "ockham/core/error.h"

namespace ockham {
namespace {

// `path` ends in six X, which mkostemp replaces.
int open_nameless(std::string path) {
  const int fd = ::mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) throw_system(path, "create the file");
  ::unlink(path.c_str());
  return fd;
}

}  // namespace

ScratchFile::ScratchFile(const std::string& directory)
    : path_(directory + "/scratch-XXXXXX"), file_(open_nameless(path_)) {}

void ScratchFile::push(const void* data, size_t size) {
  if (::lseek(file_.get(), static_cast<off_t>(size_), SEEK_SET) < 0) throw_system(path_, "seek in");
  write_all(file_.get(), data, size, path_);
  size_ += size;
}

void ScratchFile::pop(void* data, size_t size) {
  OCKHAM_CHECK(size <= size_);
  size_ -= size;
  auto* bytes = static_cast<char*>(data);
  for (size_t done = 0; done < size;) {
    const ssize_t count = ::pread(file_.get(), bytes + done, size - done, static_cast<off_t>(size_ + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_system(path_, "read");
    if (count == 0) throw_error(ErrorKind::kResource, "{}: became shorter while it was in use", path_);
    done += static_cast<size_t>(count);
  }
}

}  // namespace ockham
