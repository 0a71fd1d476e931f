// Small wrappers of system calls, private to io: descriptors that close themselves, errors with the system's reason.
#pragma once

#include <cstddef>
#include <string>

namespace ockham {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { close_now(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  // Some file systems report a full disk only here; false where close failed (errno says why).
  bool close_now();

 private:
  int fd_ = -1;
};

// The text of errno as it is now.
std::string system_reason();
// Error(kResource): "PATH: cannot ACTION: REASON; check ...".
[[noreturn]] void throw_system(const std::string& path, const char* action);
// Error(kInput) where the file is missing, a directory or unreadable.
int open_for_reading(const std::string& path);
// Creates or truncates. Error(kResource).
int open_for_writing(const std::string& path);
// All bytes or Error(kResource); `path` only names the file in the message.
void write_all(int fd, const void* data, size_t size, const std::string& path);
void sync_descriptor(int fd, const std::string& path);
// Makes a rename in this directory durable; best effort, since some file systems cannot.
void sync_directory(const std::string& path);
// PATH.tmp-PID
std::string temporary_name(const std::string& path);
// The directory that holds `path`: "." for a bare name.
std::string parent_directory(const std::string& path);

}  // namespace ockham
