// matryoshka: the worked example, and widths that are prefixes of each other.
#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

void cut(Linear& linear, int64_t bits) {
  const MethodEntry& entry = find_method("matryoshka", "test");
  entry.make(Params("test", entry.parameters, {{"bits", bits}, {"group_size", int64_t{-1}}}))->compress(linear, {});
}
Linear matryoshka(const Tensor& weights, int64_t bits) {
  Linear linear = test::make_linear(weights);
  cut(linear, bits);
  return linear;
}

TEST(Matryoshka, WorkedExample) {
  // The fourth weight of the example, .48, lies half way between the codes 195 and 196.
  const Tensor weights = at::tensor({-.9f, -.33f, .05f, .4799f, .9f}).view({1, 5});
  const auto codes = [&](int64_t bits) {
    return std::get<NestedIntWeight>(matryoshka(weights, bits).weight).codes.to(at::kInt).flatten();
  };
  EXPECT_TRUE(at::equal(codes(8), at::tensor({0, 81, 135, 195, 255}, at::kInt)));
  EXPECT_TRUE(at::equal(codes(4), at::tensor({0, 5, 8, 12, 15}, at::kInt)));
  EXPECT_TRUE(at::equal(codes(2), at::tensor({0, 1, 2, 3, 3}, at::kInt)));
  const auto values = [&](int64_t bits) { return weight_to_dense(matryoshka(weights, bits).weight, at::kFloat); };
  EXPECT_TRUE(at::allclose(values(4), at::tensor({-.8471f, -.2824f, .0565f, .5082f, .8471f}), 0, 5e-5)) << values(4);
  EXPECT_TRUE(at::allclose(values(2), at::tensor({-.6776f, -.2259f, .2259f, .6776f, .6776f}), 0, 5e-5)) << values(2);
}

TEST(Matryoshka, CuttingEqualsRoundingTheOriginal) {
  const Tensor weights = test::lcg(5, 8, 64).to(at::kFloat);
  double error = 0;
  for (const int64_t bits : {8, 6, 4, 3, 2}) {
    const Linear direct = matryoshka(weights, bits);
    for (const int64_t from : {8, 6, 4, 3, 2}) {
      if (from < bits) continue;
      Linear linear = matryoshka(weights, from);
      cut(linear, bits);
      EXPECT_TRUE(at::equal(weight_to_dense(linear.weight, at::kFloat), weight_to_dense(direct.weight, at::kFloat)));
    }
    EXPECT_EQ(weight_bytes(direct.weight), 8 * 64 * bits / 8 + 8 * 4 * 2);
    const double now = (weight_to_dense(direct.weight, at::kFloat) - weights).norm().item<double>();
    EXPECT_GT(now, error) << bits;
    error = now;
  }
}

TEST(Matryoshka, MoreBitsThanThereAreIsRefused) {
  Linear linear = matryoshka(test::example_weights(), 4);
  EXPECT_THROW(cut(linear, 6), Error);
}

TEST(Matryoshka, ZerosOfPruningStayZeroAtEveryWidth) {
  const Tensor weights = test::run_method("magnitude", {{"sparsity", 0.5}}, test::lcg(9, 8, 64).to(at::kFloat));
  for (const int64_t bits : {8, 2})
    EXPECT_TRUE(at::equal(weight_to_dense(matryoshka(weights, bits).weight, at::kFloat) == 0, weights == 0));
}

}  // namespace
}  // namespace ockham
