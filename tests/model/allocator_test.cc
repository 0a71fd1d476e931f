// Memory of large tensors: kept, found again, given back.
#include "ockham/tensor/allocator.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace ockham
