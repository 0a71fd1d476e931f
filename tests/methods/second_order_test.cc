// What the second-order methods compute triangle by triangle, in strips and from samples, against the plain formulas,
// on matrices of more than one strip.
#include "ockham/methods/second_order.h"

#include <gtest/gtest.h>

#include "ockham/methods/quantization/grid.h"
#include "ockham/tensor/linalg.h"
#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

constexpr int64_t kColumns = 1300;  // two strips and a part

// Correlated inputs [T, C], one of them dead.
Tensor inputs() {
  Tensor x = test::lcg(5, 2 * kColumns, kColumns).to(at::kFloat) + test::lcg(6, 2 * kColumns, 1).to(at::kFloat);
  x.select(1, 7).zero_();
  return x;
}

TEST(SecondOrder, GramMatrixOfOneTriangleIsTheWholeProduct) {
  const Tensor x = inputs();
  Tensor sum = at::zeros({kColumns, kColumns});
  for (int64_t begin = 0; begin < x.size(0); begin += 900)
    add_gram(sum, x.narrow(0, begin, std::min<int64_t>(900, x.size(0) - begin)));
  mirror_upper(sum);
  EXPECT_TRUE(at::equal(sum, sum.t()));
  EXPECT_TRUE(at::allclose(sum, x.t().mm(x), 1e-4, 1e-3));
}

TEST(SecondOrder, FactorOfTheInverse) {
  const Tensor x = inputs(), gram = x.t().mm(x) / static_cast<double>(x.size(0)), before = gram.clone();
  const InverseFactor factor = factor_inverse(gram, 0.01, "test");
  EXPECT_TRUE(at::equal(gram, before));
  EXPECT_EQ(factor.attempts, 1);
  EXPECT_EQ(factor.is_dead.sum().item<int64_t>(), 1);
  EXPECT_TRUE(at::equal(factor.upper, at::triu(factor.upper)));
  Tensor damped = gram.to(at::kDouble);
  damped[7][7] = 1;
  EXPECT_NEAR(factor.ridge, 0.01 * damped.diagonal().mean().item<double>(), 1e-6);
  damped.diagonal().add_(factor.ridge);
  const Tensor upper = factor.upper.to(at::kDouble);
  const Tensor identity = upper.t().mm(upper).mm(damped) - at::eye(kColumns, at::kDouble);
  EXPECT_LT(identity.abs().max().item<double>(), 1e-3);
}

TEST(SecondOrder, FactorRaisesTheDampingWhereAStripFails) {
  Tensor gram = at::eye(kColumns);
  gram[0][1] = gram[1][0] = 1.05;  // in the strip that comes last
  const InverseFactor factor = factor_inverse(gram, 0.01, "test");
  EXPECT_EQ(factor.attempts, 2);
  EXPECT_DOUBLE_EQ(factor.damping, 0.1);
}

TEST(SecondOrder, QuadraticErrorIsTheTrace) {
  const Tensor x = inputs(), gram = x.t().mm(x), change = test::lcg(8, 30, kColumns).to(at::kFloat);
  const double expected = change.mm(gram).mul(change).sum(at::kDouble).item<double>();
  EXPECT_NEAR(quadratic_error(change, gram) / expected, 1, 1e-4);
}

TEST(SecondOrder, ErrorsOfAWalkFromASampleAgreeWithThoseInFull) {
  const int64_t rows = 640;
  Linear linear = test::make_linear(test::lcg(9, rows, kColumns).to(at::kFloat));
  const Tensor before = weight_to_dense(linear.weight, at::kFloat);
  const LayerStats stats = test::stats_of(inputs().t().to(at::kDouble));
  const InverseFactor& factor = inverse_factor(stats, linear, 0.01);
  Tensor walked = before.masked_fill(factor.is_dead.unsqueeze(0), 0).contiguous();
  const Tensor start = walked.clone();
  const double errors = walk_columns(
      walked, factor.upper, 128, [](int64_t, int64_t) {},
      [](int64_t row, int64_t column, const float* values) { return (row + column) % 2 == 0 ? 0.0F : *values; });
  const Tensor plain = at::where((start - walked == start).logical_and(start != 0), -start, at::zeros_like(start));
  const double in_full = quadratic_error(walked - start, stats.gram), other = quadratic_error(plain, stats.gram);
  ASSERT_LT(in_full, 0.9 * other);
  const WalkErrors found = compare_walk(errors, factor, walked - start, plain, stats.gram);
  EXPECT_NEAR(found.walked / in_full, 1, 1e-3);
  EXPECT_NEAR(found.plain / other, 1, 0.1);
  // The same walk against itself leaves a doubt, so it is computed in full.
  const WalkErrors equal = compare_walk(errors, factor, walked - start, walked - start, stats.gram);
  EXPECT_DOUBLE_EQ(equal.walked, equal.plain);
}

TEST(SecondOrder, RoundTripIsFittingAndRounding) {
  const Tensor weights = test::lcg(3, 20, 130).to(at::kFloat);
  const Tensor factors = test::lcg(4, 1, 130).to(at::kFloat).squeeze(0).abs() + 0.5;
  for (const bool is_symmetric : {false, true}) {
    for (const int64_t group_size : {int64_t{-1}, int64_t{64}}) {
      const GridOptions options{3, group_size, is_symmetric};
      const auto plain = [&](const Tensor& values, at::ScalarType type) {
        GroupIntWeight grid = fit_grid(values, options, type);
        round_to_grid(values, grid);
        return weight_to_dense(grid, at::kFloat);
      };
      EXPECT_TRUE(at::equal(round_trip(weights, options, at::kHalf), plain(weights, at::kHalf)));
      EXPECT_TRUE(at::allclose(round_trip(weights, options, at::kFloat, factors),
                               plain(weights * factors, at::kFloat) / factors, 1e-6, 0));
    }
  }
}

}  // namespace
}  // namespace ockham
