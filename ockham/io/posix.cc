// System calls with errors that name the file and the reason.
#include "ockham/io/posix.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "ockham/core/error.h"

namespace ockham {

bool Descriptor::close_now() {
  if (fd_ < 0) return true;
  const int fd = fd_;
  fd_ = -1;
  return ::close(fd) == 0;
}

std::string system_reason() {
  return std::error_code(errno, std::generic_category()).message();
}

void throw_system(const std::string& path, const char* action) {
  const int error = errno;
  const std::string reason = system_reason();
  const char* remedy = "check the path and its permissions";
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) remedy = "free some space or write elsewhere";
  if (error == ENOMEM) remedy = "memory, or the address space of the process, is used up: allow it more";
  throw_error(ErrorKind::kResource, "{}: cannot {}: {}; {}", path, action, reason, remedy);
}

int open_for_reading(const std::string& path) {
  int fd = -1;
  do {
    fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) {
    throw_input("{}: cannot be read: {}; expected a readable file", path.empty() ? "(empty path)" : path,
                system_reason());
  }
  struct stat status {};
  if (::fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
    ::close(fd);
    throw_input("{}: is a directory, expected a file", path);
  }
  return fd;
}

int open_for_writing(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) throw_system(path, "create the file");
  return fd;
}

void write_all(int fd, const void* data, size_t size, const std::string& path) {
  constexpr size_t at_once = size_t{1} << 30;  // write() takes at most about 2 GiB
  const char* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::write(fd, bytes, std::min(size, at_once));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw_system(path, "write");
    bytes += written;
    size -= static_cast<size_t>(written);
  }
}

void sync_descriptor(int fd, const std::string& path) {
  // EINVAL: not a kind of file that can be synced (a pipe, a device).
  if (::fsync(fd) != 0 && errno != EINVAL) throw_system(path, "sync");
}

void sync_directory(const std::string& path) {
  const Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() >= 0) static_cast<void>(::fsync(directory.get()));
}

std::string temporary_name(const std::string& path) {
  return path + ".tmp-" + std::to_string(::getpid());
}

std::string parent_directory(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

}  // namespace ockham
