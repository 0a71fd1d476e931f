// fp8: values of the grid, tiles, sizes.
#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

Linear fp8(const Tensor& weights, const std::string& tile) {
  const MethodEntry& entry = find_method("fp8", "test");
  Linear linear = test::make_linear(weights);
  entry.make(Params("test", entry.parameters, {{"tile", tile}}))->compress(linear, {});
  return linear;
}

// The largest of the row makes scale 1; 3 bits of mantissa: 17 and 19 lie half way, 2^-9 is the smallest.
TEST(Fp8, RowIsRoundedToThreeBitsOfMantissa) {
  const Tensor row = at::tensor({448.f, 17.f, 19.f, -1.06f, 0.f, 0.001953125f, 0.0009f, -440.f}).view({1, 8});
  const Tensor expected = at::tensor({448.f, 16.f, 20.f, -1.f, 0.f, 0.001953125f, 0.f, -448.f}).view({1, 8});
  EXPECT_TRUE(at::equal(weight_to_dense(fp8(row, "row").weight, at::kFloat), expected));
}

TEST(Fp8, RelativeErrorStaysWithinOneSixteenth) {
  const Tensor weights = test::lcg(5, 16, 64).to(at::kFloat);
  for (const std::string tile : {"row", "8x8", "128x128", "5x7"}) {
    const Tensor after = weight_to_dense(fp8(weights, tile).weight, at::kFloat);
    const Tensor is_normal = weights.abs() > 0.5 * std::pow(2.0, -6) / 448 * 1.001;
    EXPECT_TRUE(((after - weights).abs() <= weights.abs() / 16 * 1.0001).masked_select(is_normal).all().item<bool>())
        << tile;
  }
}

TEST(Fp8, EveryTileHasItsScale) {
  Tensor weights = test::lcg(5, 6, 10).to(at::kFloat);
  weights.narrow(0, 0, 4).narrow(1, 0, 8).mul_(1e-6);  // would vanish beside the others
  const Linear tiles = fp8(weights, "4x8"), whole = fp8(weights, "6x10");
  const auto& weight = std::get<Float8Weight>(tiles.weight);
  EXPECT_EQ(weight.scales.sizes(), at::IntArrayRef({2, 2}));
  EXPECT_EQ(weight_bytes(tiles.weight), 60 + 4 * 4);
  EXPECT_TRUE(at::allclose(weight_to_dense(tiles.weight, at::kFloat), weights, 1.0 / 16, 1e-9));
  EXPECT_EQ(weight_to_dense(whole.weight, at::kFloat)[0][0].item<float>(), 0);
}

TEST(Fp8, ZerosStayZero) {
  const Tensor weights = test::run_method("magnitude", {{"sparsity", 0.5}}, test::lcg(9, 8, 64).to(at::kFloat));
  EXPECT_TRUE(at::equal(weight_to_dense(fp8(weights, "row").weight, at::kFloat) == 0, weights == 0));
  EXPECT_EQ(weight_to_dense(fp8(at::zeros({2, 4}), "row").weight, at::kFloat).abs().max().item<float>(), 0);
}

TEST(Fp8, MalformedTilesAreRefused) {
  for (const char* tile : {"", "x", "4x", "0x4", "4x4x4", "row ", "99999999x1"})
    EXPECT_THROW(fp8(at::ones({2, 4}), tile), Error) << tile;
}

}  // namespace
}  // namespace ockham
