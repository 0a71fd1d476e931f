// What the second-order methods compute triangle by triangle, in strips and from samples, against the plain formulas,
// on matrices of more than one strip.
#include "ockham/methods/second_order.h"

#include <gtest/gtest.h>

#include <map>

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

TEST(SecondOrder, FactorOfTheHessianAndItsInverse) {
  const Tensor x = inputs(), gram = x.t().mm(x) / static_cast<double>(x.size(0)), before = gram.clone();
  const HessianFactor factor = factor_hessian(gram, 0.01, "test");
  EXPECT_TRUE(at::equal(gram, before));
  EXPECT_EQ(factor.attempts, 1);
  EXPECT_EQ(factor.is_dead.sum().item<int64_t>(), 1);
  Tensor damped = gram.to(at::kDouble);
  damped[7][7] = 1;
  EXPECT_NEAR(factor.ridge, 0.01 * damped.diagonal().mean().item<double>(), 1e-6);
  damped.diagonal().add_(factor.ridge);
  const Tensor root = at::triu(factor.root).to(at::kDouble);
  EXPECT_TRUE(at::allclose(root.mm(root.t()), damped, 1e-5, 1e-6));
  const Tensor upper = inverse_root(factor).to(at::kDouble);
  EXPECT_TRUE(at::equal(upper, at::triu(upper)));
  const Tensor identity = upper.t().mm(upper).mm(damped) - at::eye(kColumns, at::kDouble);
  EXPECT_LT(identity.abs().max().item<double>(), 1e-3);
}

TEST(SecondOrder, FactorInAnotherOrder) {
  const Tensor x = inputs(), gram = x.t().mm(x) / static_cast<double>(x.size(0));
  const Tensor order = at::argsort(test::lcg(11, 1, kColumns).squeeze(0));
  const HessianFactor found = factor_hessian(gram, 0.01, "test", order);
  const HessianFactor expected = factor_hessian(gram.index_select(0, order).index_select(1, order), 0.01, "test");
  EXPECT_TRUE(at::equal(at::triu(found.root), at::triu(expected.root)));
  EXPECT_TRUE(at::equal(found.is_dead, expected.is_dead));
  EXPECT_DOUBLE_EQ(found.ridge, expected.ridge);
}

TEST(SecondOrder, FactorRaisesTheDampingWhereAStripFails) {
  Tensor gram = at::eye(kColumns);
  gram[0][1] = gram[1][0] = 1.05;  // in the strip that comes last
  const HessianFactor factor = factor_hessian(gram, 0.01, "test");
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
  const HessianFactor& factor = hessian_factor(stats, linear, 0.01);
  const Tensor start = before.masked_fill(factor.is_dead.unsqueeze(0), 0).contiguous();
  Tensor changes = start.clone();
  const double errors = walk_columns(
      changes, factor.root, 128, [](int64_t, int64_t, const Tensor&) {}, test::every_other_goes);
  const Tensor gone = (at::arange(rows).unsqueeze(1) + at::arange(kColumns)).remainder(2) == 0;
  EXPECT_TRUE(at::equal(start + changes == 0, gone.logical_or(factor.is_dead)));
  const Tensor plain = start.masked_fill(gone.logical_not(), 0).neg();
  const auto rows_of = [](const Tensor& whole) {
    return [whole](int64_t first, int64_t last, int64_t step) { return whole.slice(0, first, last, step); };
  };
  const double in_full = quadratic_error(changes, stats.gram), other = quadratic_error(plain, stats.gram);
  ASSERT_LT(in_full, 0.9 * other);
  const WalkErrors found = compare_walk(errors, factor, changes, {}, rows_of(plain), stats.gram);
  EXPECT_NEAR(found.walked / in_full, 1, 1e-3);
  EXPECT_NEAR(found.plain / other, 1, 0.1);
  // The same walk against itself leaves a doubt, so it is computed in full.
  const WalkErrors equal = compare_walk(errors, factor, changes, {}, rows_of(changes), stats.gram);
  EXPECT_DOUBLE_EQ(equal.walked, equal.plain);
  EXPECT_NEAR(equal.walked / in_full, 1, 1e-6);
  // Changes that are given in another order.
  const Tensor order = at::argsort(test::lcg(11, 1, kColumns).squeeze(0));
  const WalkErrors ordered =
      compare_walk(errors, factor, changes.index_select(1, order), order, rows_of(changes), stats.gram);
  EXPECT_DOUBLE_EQ(ordered.walked, equal.walked);
}

// The walk as the papers write it, with the factor of the inverse, one row at a time and in float64.
TEST(SecondOrder, WalkIsThatOfThePapers) {
  const int64_t rows = 37;
  const LayerStats stats = test::stats_of(inputs().t().to(at::kDouble));
  const HessianFactor factor = factor_hessian(stats.gram, 0.01, "test");
  const Tensor start = test::lcg(9, rows, kColumns).to(at::kFloat).masked_fill_(factor.is_dead, 0);
  Tensor changes = start.clone();
  std::map<int64_t, Tensor> blocks;  // what begin_block was shown
  const double errors = walk_columns(
      changes, factor.root, 100,
      [&](int64_t begin, int64_t, const Tensor& current) { blocks[begin] = current.clone(); }, test::every_other_goes);
  const Tensor upper = inverse_root(factor).to(at::kDouble);
  Tensor walked = start.to(at::kDouble);
  double sum = 0;
  for (int64_t c = 0; c < kColumns; ++c) {
    if (c % 100 == 0) {
      const int64_t width = std::min<int64_t>(100, kColumns - c);
      EXPECT_TRUE(at::allclose(blocks.at(c).to(at::kDouble), walked.narrow(1, c, width), 1e-3, 1e-4)) << c;
    }
    const Tensor gone = (at::arange(rows) + c).remainder(2) == 0, kept = walked.select(1, c).masked_fill(gone, 0);
    const Tensor error = (walked.select(1, c) - kept) / upper[c][c];
    sum += error.square().sum().item<double>();
    walked.narrow(1, c, kColumns - c).sub_(error.outer(upper[c].narrow(0, c, kColumns - c)));
    walked.select(1, c).copy_(kept);
  }
  EXPECT_NEAR(errors / sum, 1, 1e-4);
  EXPECT_TRUE(at::allclose((start + changes).to(at::kDouble), walked, 1e-3, 1e-4));
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
