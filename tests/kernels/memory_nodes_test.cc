#include "ockham/kernels/memory_nodes.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace ockham {
namespace {

using Nodes = std::vector<int>;

TEST(MemoryNodes, ListsAreReadAsTheSystemWritesThem) {
  EXPECT_EQ(parse_node_list("0"), Nodes({0}));
  EXPECT_EQ(parse_node_list("0-3"), Nodes({0, 1, 2, 3}));
  EXPECT_EQ(parse_node_list("0-1,4,6-7"), Nodes({0, 1, 4, 6, 7}));
}

TEST(MemoryNodes, WhatIsNoListIsEmpty) {
  for (const char* text : {"", "x", "-1", "3-1", "0;1", "0-", "99999", "0-2000"})
    EXPECT_EQ(parse_node_list(text), Nodes()) << text;
}

TEST(MemoryNodes, TheSystemNamesAtLeastOne) {
  ASSERT_FALSE(memory_nodes().empty());
  EXPECT_GE(memory_nodes().front(), 0);
}

TEST(MemoryNodes, PagesAreDealtOut) {
  constexpr int64_t kBytes = int64_t{4} << 20;
  void* const at = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(at, MAP_FAILED);
  const bool is_spread = spread_over_nodes(at, kBytes, memory_nodes());
  std::memset(at, 1, kBytes);  // the pages can be used either way
  int policy = -1;
  constexpr unsigned long kOfAddress = 2;  // MPOL_F_ADDR
  const long asked = syscall(SYS_get_mempolicy, &policy, nullptr, 0, at, kOfAddress);
  munmap(at, kBytes);
  if (!is_spread || asked != 0) GTEST_SKIP() << "this system has no memory policies";
  EXPECT_EQ(policy, 3);  // MPOL_INTERLEAVE
}

}  // namespace
}  // namespace ockham
