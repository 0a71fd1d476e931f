// Files and directories: checked reading, UTF-8, SHA-256, memory maps, and output that appears whole or not at all.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ockham {

// The whole file. Error(kInput) if absent, a directory or larger than max_bytes.
std::string read_file(const std::string& path, int64_t max_bytes = int64_t{1} << 31);
// The same, refused when empty, binary (holds a NUL byte) or not UTF-8 (the byte offset is named).
std::string read_text_file(const std::string& path, int64_t max_bytes = int64_t{1} << 31);
// Offset of the first byte that is not UTF-8, or npos.
size_t find_invalid_utf8(std::string_view text);

// Lower-case hexadecimal.
std::string sha256_text(std::string_view text);
std::string sha256_file(const std::string& path);

// Writes path.tmp-PID, syncs, renames. Error(kResource) with the system's reason (disk full, no permission); the
// temporary file is removed.
void write_file_atomically(const std::string& path, std::string_view content);

// A directory that is built under a temporary name beside its target and renamed by commit(); removed by the destructor
// otherwise. Refuses an existing target (Error(kInput)) unless `overwrite`: then the old one is replaced at commit.
// Missing parents are made; what a killed process left under the temporary name is removed.
class OutputDirectory {
 public:
  OutputDirectory(std::string target, bool overwrite);
  ~OutputDirectory();
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;
  const std::string& path() const { return temporary_; }  // write here
  void commit();                                          // syncs and renames

 private:
  void discard() noexcept;
  std::string target_, temporary_, first_created_;
  bool overwrite_ = false, committed_ = false;
};

// A read-only mapping of a whole file; empty files give an empty span.
class MemoryMap {
 public:
  explicit MemoryMap(const std::string& path);
  ~MemoryMap();
  MemoryMap(MemoryMap&& other) noexcept;
  MemoryMap& operator=(MemoryMap&&) = delete;
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // Copies a range to `target`, giving each piece back to the system before the next.
  void copy(size_t offset, size_t length, void* target) const;
  // Tells the system that a range is not needed for now, so that resident memory does not grow with the model.
  void forget(size_t offset, size_t length) const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace ockham
