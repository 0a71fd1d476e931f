// Memory of large tensors: kept, found again, given back.
#include "ockham/tensor/allocator.h"

#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>

#include <cmath>

#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr int64_t kMegabytes = int64_t{1} << 18;  // floats in a MiB

TEST(Allocator, AFreedBlockServesTheNextOfItsSize) {
  use_caching_allocator(size_t{64} << 20);
  const void* first = at::empty({8 * kMegabytes}).const_data_ptr();
  Tensor again = at::empty({8 * kMegabytes - 1000});  // within an eighth
  EXPECT_EQ(again.const_data_ptr(), first);
  const Tensor other = at::empty({8 * kMegabytes});  // the block is in use
  EXPECT_NE(other.const_data_ptr(), first);
  again.fill_(1);
  EXPECT_EQ(again.sum().item<double>(), static_cast<double>(again.numel()));
  again.reset();
  // More than is kept: the oldest go.
  for (int64_t size = 10; size < 30; size += 5) at::empty({size * kMegabytes});
  empty_allocator_cache();
  EXPECT_EQ(at::zeros({8 * kMegabytes}).count_nonzero().item<int64_t>(), 0);
}

TEST(Allocator, WhatIsTooLargeIsAnErrorOfItsOwn) {
  use_caching_allocator(size_t{64} << 20);
  EXPECT_THROW(at::empty({int64_t{1} << 50}), std::exception);
  EXPECT_EQ(at::ones({kMegabytes * 2}).sum().item<double>(), static_cast<double>(kMegabytes * 2));
}

// As oneDNN does for gelu's scratch memory.
TEST(CachingAllocator, GivesRawMemory) {
  use_caching_allocator(size_t{64} << 20);
  c10::Allocator* allocator = c10::GetCPUAllocator();
  for (const size_t bytes : {size_t{0}, size_t{100}, size_t{3} << 20}) {
    void* data = allocator->raw_allocate(bytes);
    allocator->raw_deallocate(data);
  }
  const Tensor x = at::randn({64, 4096});
  EXPECT_TRUE(at::allclose(at::gelu(x), x * 0.5 * (1 + at::erf(x / std::sqrt(2.0))), 1e-4, 1e-5));
}

}  // namespace
}  // namespace ockham
