// Output that appears whole or not at all: built under a temporary name beside the target, synced, renamed.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/io/posix.h"

namespace fs = std::filesystem;

namespace ockham {
namespace {

// Removes `target`.tmp-PID of processes that no longer run (killed in the middle of their work).
void remove_stale(const std::string& target) {
  const std::string prefix = fs::path(target).filename().string() + ".tmp-";
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(parent_directory(target), ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix)) continue;
    int pid = 0;
    const char* end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(name.data() + prefix.size(), end, pid);
    const bool is_gone = error == std::errc() && rest == end && pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH;
    if (is_gone) fs::remove_all(entry.path(), ignored);
  }
}

void sync_tree(const std::string& root) {
  std::error_code failure;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root, failure)) {
    const std::string path = entry.path().string();
    if (entry.is_directory()) {
      sync_directory(path);
    } else if (entry.is_regular_file()) {
      const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      if (file.get() < 0) throw_system(path, "open it for syncing");
      sync_descriptor(file.get(), path);
    }
  }
  if (failure) throw_error(ErrorKind::kResource, "{}: cannot be listed: {}", root, failure.message());
  sync_directory(root);
}

void rename_or_throw(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) throw_system(to, "move the finished output there");
}

bool holds_working_directory(const std::string& target) {
  std::error_code ignored;
  const fs::path directory = fs::weakly_canonical(target, ignored);
  const fs::path current = fs::current_path(ignored);
  const fs::path relative = current.lexically_relative(directory);
  return !relative.empty() && *relative.begin() != "..";
}

}  // namespace

void write_file_atomically(const std::string& path, std::string_view content) {
  const std::string temporary = temporary_name(path);
  try {
    Descriptor file(open_for_writing(temporary));
    write_all(file.get(), content.data(), content.size(), path);
    sync_descriptor(file.get(), path);
    if (!file.close_now()) throw_system(path, "write");
    rename_or_throw(temporary, path);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_directory(parent_directory(path));
}

OutputDirectory::OutputDirectory(std::string target, bool overwrite)
    : target_(std::move(target)), overwrite_(overwrite) {
  while (target_.size() > 1 && target_.back() == '/') target_.pop_back();
  if (target_.empty()) throw_input("the output directory has an empty name; name a directory");
  std::error_code failure;
  const fs::file_status status = fs::status(target_, failure);
  if (fs::exists(status)) {
    if (!overwrite_)
      throw_input("{}: exists already, expected a new name; choose another or pass --overwrite", target_);
    if (!fs::is_directory(status)) throw_input("{}: is a file, expected a directory; remove it first", target_);
    if (holds_working_directory(target_)) {
      throw_input("{}: holds the working directory, so it is not replaced; choose another directory", target_);
    }
  }
  const std::string parent = parent_directory(target_);
  fs::path missing = parent;
  while (!missing.empty() && !fs::exists(missing, failure)) {
    first_created_ = missing.string();
    missing = missing.parent_path();
  }
  temporary_ = temporary_name(target_);
  try {
    fs::create_directories(parent, failure);
    if (failure)
      throw_error(ErrorKind::kResource, "{}: cannot be created: {}; check the path", parent, failure.message());
    remove_stale(target_);
    fs::remove_all(temporary_, failure);
    if (!fs::create_directory(temporary_, failure)) {
      throw_error(ErrorKind::kResource, "{}: cannot be created: {}; check the path and its permissions", temporary_,
                  failure.message());
    }
  } catch (...) {
    discard();
    throw;
  }
}

OutputDirectory::~OutputDirectory() {
  if (!committed_) discard();
}

void OutputDirectory::discard() noexcept {
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
  if (first_created_.empty()) return;
  // The parents that this object made, innermost first; remove() leaves those that somebody else filled meanwhile.
  for (fs::path path = parent_directory(target_); path.string().size() >= first_created_.size();
       path = path.parent_path()) {
    if (!fs::remove(path, ignored)) return;
  }
}

void OutputDirectory::commit() {
  OCKHAM_CHECK(!committed_);
  sync_tree(temporary_);
  if (overwrite_ && fs::exists(target_)) {
    // One atomic exchange where the file system can; else the old one steps aside first.
    if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE) != 0) {
      const std::string old = temporary_ + ".old";
      rename_or_throw(target_, old);
      rename_or_throw(temporary_, target_);
      temporary_ = old;
    }
    std::error_code ignored;
    fs::remove_all(temporary_, ignored);
  } else {
    rename_or_throw(temporary_, target_);
  }
  committed_ = true;
  sync_directory(parent_directory(target_));
}

}  // namespace ockham
