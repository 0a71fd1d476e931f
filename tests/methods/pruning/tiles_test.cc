// Tiles: there and back, with tiles that reach beyond the matrix.
#include "ockham/methods/pruning/tiles.h"

#include <gtest/gtest.h>

#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

TEST(Tiles, SumsOfTilesThatReachBeyondTheMatrix) {
  const Tensor matrix = at::arange(15, at::kFloat).view({3, 5});
  const Tensor sums = tiled(matrix, {2, 2}).sum(2);
  EXPECT_TRUE(at::equal(
      sums, at::tensor({0.f + 1 + 5 + 6, 2.f + 3 + 7 + 8, 4.f + 9, 10.f + 11, 12.f + 13, 14.f}).view({2, 3})));
  const Tensor back = untiled(sums, {2, 2}, matrix.sizes());
  EXPECT_EQ(back.sizes(), matrix.sizes());
  EXPECT_EQ(back[1][1].item<float>(), 12);
  EXPECT_EQ(back[2][4].item<float>(), 14);
}

TEST(Tiles, LowestGoFirstAndTiesFromTheLeft) {
  const Tensor mask = lowest_tiles(at::tensor({3.f, 1.f, 1.f, 2.f}).view({2, 2}), 1, {1, 2}, {2, 4});
  EXPECT_TRUE(at::equal(mask, (at::arange(8) >= 2).logical_and(at::arange(8) < 4).view({2, 4})));
}

}  // namespace
}  // namespace ockham
