// Appending under a lock.
#include "ockham/io/line_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/io/posix.h"

namespace ockham {

LineFile::LineFile(std::string path) : path_(std::move(path)) {
  file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) throw_system(path_, "create the file");
  try {
    if (::flock(file_, LOCK_EX | LOCK_NB) != 0)
      throw_error(ErrorKind::kResource, "{}: another process is writing it; wait for it, or choose another output",
                  path_);
    const std::string text = read_file(path_);
    size_t begin = 0;
    for (size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
      lines_.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
    if (begin < text.size() && ::ftruncate(file_, static_cast<off_t>(begin)) != 0) throw_system(path_, "shorten");
  } catch (...) {
    ::close(file_);
    throw;
  }
}

LineFile::~LineFile() {
  // An empty file would only be litter.
  if (file_ >= 0 && lines_.empty() && !has_grown_) ::unlink(path_.c_str());
  if (file_ >= 0) ::close(file_);
}

void LineFile::append(std::string_view line) {
  OCKHAM_CHECK(file_ >= 0 && line.find('\n') == std::string_view::npos);
  const std::string whole = std::string(line) + "\n";
  has_grown_ = true;
  write_all(file_, whole.data(), whole.size(), path_);
}

void LineFile::remove() {
  if (file_ < 0) return;
  ::unlink(path_.c_str());
  ::close(file_);
  file_ = -1;
}

}  // namespace ockham
