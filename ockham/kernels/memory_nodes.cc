#include "ockham/kernels/memory_nodes.h"

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <charconv>
#include <fstream>

namespace ockham {
namespace {

constexpr int kMostNodes = 1024;

std::vector<int> read_memory_nodes() {
  std::ifstream file("/sys/devices/system/node/has_memory");
  std::string line;
  std::getline(file, line);
  std::vector<int> nodes = parse_node_list(line);
  if (nodes.empty()) nodes.push_back(0);
  return nodes;
}

}  // namespace

std::vector<int> parse_node_list(const std::string& text) {
  std::vector<int> nodes;
  const char *at = text.data(), *const end = at + text.size();
  const auto number = [&](int& value) {
    const auto [next, error] = std::from_chars(at, end, value);
    at = next;
    return error == std::errc() && value >= 0 && value < kMostNodes;
  };
  while (at < end) {
    int first = 0;
    if (!number(first)) return {};
    int last = first;
    if (at < end && *at == '-') {
      ++at;
      if (!number(last) || last < first) return {};
    }
    for (int node = first; node <= last; ++node) nodes.push_back(node);
    if (at < end && *at++ != ',') return {};
  }
  return nodes;
}

const std::vector<int>& memory_nodes() {
  static const std::vector<int> kNodes = read_memory_nodes();
  return kNodes;
}

bool spread_over_nodes(void* at, int64_t bytes, const std::vector<int>& nodes) {
#if defined(__linux__) && defined(SYS_mbind)
  constexpr int kInterleave = 3, kBits = 8 * sizeof(unsigned long);  // MPOL_INTERLEAVE; the kernel's own words
  unsigned long mask[kMostNodes / kBits] = {};
  for (const int node : nodes) mask[node / kBits] |= 1UL << (node % kBits);
  return syscall(SYS_mbind, at, static_cast<unsigned long>(bytes), kInterleave, mask, kMostNodes, 0) == 0;
#else
  static_cast<void>(at);
  static_cast<void>(bytes);
  static_cast<void>(nodes);
  return false;
#endif
}

}  // namespace ockham
