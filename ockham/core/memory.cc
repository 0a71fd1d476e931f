// Reads /proc for the peak: that of getrusage() includes what ran in this process before exec.
#include "ockham/core/memory.h"

#include <sys/resource.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>

namespace ockham {
namespace {

// A line "KEY   123 kB" of /proc in bytes; 0 where there is none.
int64_t proc_bytes(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key)) return std::stoll(line.substr(key.size())) * 1024;
  return 0;
}

// The number in a file of the control group; none where there is no file or no limit ("max").
std::optional<int64_t> group_number(const std::string& path) {
  std::ifstream file(path);
  int64_t number = 0;
  if (!(file >> number)) return std::nullopt;
  return number;
}

// What the control group leaves (version 2), where it has a limit.
std::optional<int64_t> group_memory() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("0::")) continue;
    const std::string folder = "/sys/fs/cgroup" + line.substr(3) + "/";
    const auto most = group_number(folder + "memory.max"), used = group_number(folder + "memory.current");
    if (most && used) return std::max<int64_t>(*most - *used, 0);
  }
  return std::nullopt;
}

}  // namespace

int64_t available_memory_bytes() {
  const int64_t system = proc_bytes("/proc/meminfo", "MemAvailable:");
  const std::optional<int64_t> group = group_memory();
  return group && system > 0 ? std::min(system, *group) : system;
}

int64_t peak_memory_bytes() {
  if (const int64_t peak = proc_bytes("/proc/self/status", "VmHWM:"); peak > 0) return peak;
  rusage usage{};
  return getrusage(RUSAGE_SELF, &usage) == 0 ? static_cast<int64_t>(usage.ru_maxrss) * 1024 : 0;
}

void forget_peak_memory() {
  std::ofstream("/proc/self/clear_refs") << "5";
}

void map_large_blocks() {
#ifdef __GLIBC__
  ::mallopt(M_MMAP_THRESHOLD, 8 << 20);
#endif
}

void release_free_memory() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

}  // namespace ockham
