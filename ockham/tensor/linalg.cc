// Factorizations, with damping raised step by step where one fails.
#include "ockham/tensor/linalg.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr double kLargestDamping = 1;
constexpr int64_t kStrip = 512;  // rows of a triangle that are worth a matrix product of their own

// H = R R^T with R upper triangular is the Cholesky factorization of H read from its last row and column to its first;
// then H^-1 = R^-T R^-1, so U = R^-1. One factorization and one triangular inverse instead of the three steps of the
// reference, both in place and block by block, so that only the upper triangle is computed and no second matrix of that
// size is needed. Reads the blocks of `matrix` on and above the diagonal.

// Leaves R; false where the matrix is not positive definite.
bool factor_from_the_end(Tensor& matrix) {
  for (int64_t end = matrix.size(0), begin = 0; end > 0; end = begin) {
    begin = (end - 1) / kStrip * kStrip;
    const int64_t width = end - begin;
    Tensor corner = matrix.narrow(0, begin, width).narrow(1, begin, width);
    const auto [lower, info] = at::linalg_cholesky_ex(corner.flip({0, 1}));
    if (info.item<int64_t>() != 0) return false;
    corner.copy_(lower.flip({0, 1}));
    if (begin == 0) break;
    Tensor above = matrix.narrow(0, 0, begin).narrow(1, begin, width);
    above.copy_(at::linalg_solve_triangular(corner.t(), above, /*upper=*/false, /*left=*/false));
    for (int64_t row = 0; row < begin; row += kStrip) {
      Tensor rest = matrix.narrow(0, row, kStrip).narrow(1, row, begin - row);
      rest.addmm_(above.narrow(0, row, kStrip), above.narrow(0, row, begin - row).t(), 1, -1);
    }
  }
  return true;
}

// R to R^-1, with zeros below the diagonal: a column of blocks is -(R^-1 before it) times it, times its corner's
// inverse.
void invert_upper(Tensor& matrix) {
  const int64_t size = matrix.size(0);
  for (int64_t begin = 0; begin < size; begin += kStrip) {
    const int64_t width = std::min(kStrip, size - begin);
    Tensor corner = matrix.narrow(0, begin, width).narrow(1, begin, width);
    corner.copy_(at::linalg_solve_triangular(corner, at::eye(width, matrix.options()), /*upper=*/true));
    matrix.narrow(0, begin, width).narrow(1, 0, begin).zero_();
    const Tensor right = at::mm(matrix.narrow(0, 0, begin).narrow(1, begin, width), corner);
    for (int64_t row = 0; row < begin; row += kStrip) {
      Tensor part = matrix.narrow(0, row, kStrip).narrow(1, begin, width);
      part.addmm_(matrix.narrow(0, row, kStrip).narrow(1, row, begin - row), right.narrow(0, row, begin - row), 0, -1);
    }
  }
}

}  // namespace

InverseFactor factor_inverse(const Tensor& gram, double damping, const char* where) {
  OCKHAM_CHECK(gram.dim() == 2 && gram.size(0) == gram.size(1));
  const Tensor diagonal = gram.diagonal();
  InverseFactor factor{{}, diagonal == 0, damping, 1, 0};
  const Tensor living = diagonal.masked_fill(factor.is_dead, 1);
  const double mean = living.mean(at::kDouble).item<double>();
  for (;; ++factor.attempts) {
    factor.ridge = factor.damping * mean;
    factor.upper = gram.clone(at::MemoryFormat::Contiguous);
    factor.upper.diagonal().copy_(living + factor.ridge);
    if (factor_from_the_end(factor.upper)) {
      invert_upper(factor.upper);
      if (std::isfinite(factor.upper.sum(at::kDouble).item<double>())) return factor;
    }
    if (factor.damping >= kLargestDamping)
      throw_input(
          "{}: the Hessian of the inputs has no Cholesky factor even with damping {}; use more or other "
          "calibration data",
          where, factor.damping);
    factor.damping = std::min(kLargestDamping, std::max(1e-4, factor.damping * 10));
  }
}

void add_gram(Tensor& sum, const Tensor& x) {
  const Tensor wide = x.to(at::kFloat);
  const int64_t columns = wide.size(1);
  for (int64_t begin = 0; begin < columns; begin += kStrip) {
    const int64_t rows = std::min(kStrip, columns - begin);
    Tensor part = sum.narrow(0, begin, rows).narrow(1, begin, columns - begin);
    part.addmm_(wide.narrow(1, begin, rows).t(), wide.narrow(1, begin, columns - begin));
  }
}

void mirror_upper(Tensor& matrix) {
  const int64_t size = matrix.size(0);
  for (int64_t begin = 0; begin < size; begin += kStrip) {
    const int64_t width = std::min(kStrip, size - begin), rest = size - begin - width;
    const Tensor strip = matrix.narrow(0, begin, width);
    Tensor corner = strip.narrow(1, begin, width);
    corner.copy_(at::triu(corner) + at::triu(corner, 1).t());
    matrix.narrow(0, begin + width, rest).narrow(1, begin, width).copy_(strip.narrow(1, begin + width, rest).t());
  }
}

double quadratic_error(const Tensor& delta, const Tensor& gram) {
  const int64_t columns = gram.size(0);
  double total = 0;
  for (int64_t begin = 0; begin < columns; begin += kStrip) {
    const int64_t width = std::min(kStrip, columns - begin);
    const Tensor part = delta.narrow(1, begin, width), strip = gram.narrow(1, begin, width);
    Tensor product = at::mm(part, strip.narrow(0, begin, width));
    // Columns before the strip count twice, once for either triangle.
    if (begin > 0) product.addmm_(delta.narrow(1, 0, begin), strip.narrow(0, 0, begin), 1, 2);
    total += product.mul_(part).sum(at::kDouble).item<double>();
  }
  return total;
}

}  // namespace ockham
