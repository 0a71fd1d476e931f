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
constexpr int64_t kGramRows = 512;  // a strip of a Gram matrix that is worth a matrix product of its own

// H = R R^T with R upper triangular is the Cholesky factorization of H read from its last row and column to its first;
// then H^-1 = R^-T R^-1, so U = R^-1. One factorization and one triangular inverse instead of the three steps of the
// reference. Undefined where H is not positive definite.
Tensor invert_from_the_end(const Tensor& matrix) {
  const Tensor reversed = matrix.flip({0, 1});
  auto [lower, info] = at::linalg_cholesky_ex(reversed);
  if (info.item<int64_t>() != 0) return {};
  const Tensor upper = lower.flip({0, 1});
  const Tensor identity = at::eye(matrix.size(0), matrix.options());
  Tensor inverse = at::linalg_solve_triangular(upper, identity, /*upper=*/true);
  return inverse.isfinite().all().item<bool>() ? inverse.contiguous() : Tensor();
}

}  // namespace

InverseFactor factor_inverse(const Tensor& gram, double damping, const char* where) {
  OCKHAM_CHECK(gram.dim() == 2 && gram.size(0) == gram.size(1));
  const Tensor diagonal = gram.diagonal();
  InverseFactor factor{{}, diagonal == 0, damping, 1};
  const Tensor living = gram + at::diag(factor.is_dead.to(gram.scalar_type()));
  const double mean = living.diagonal().mean(at::kDouble).item<double>();
  for (;; ++factor.attempts) {
    Tensor damped = living.clone();
    damped.diagonal().add_(factor.damping * mean);
    factor.upper = invert_from_the_end(damped);
    if (factor.upper.defined()) return factor;
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
  for (int64_t begin = 0; begin < columns; begin += kGramRows) {
    const int64_t rows = std::min(kGramRows, columns - begin);
    Tensor part = sum.narrow(0, begin, rows).narrow(1, begin, columns - begin);
    part.addmm_(wide.narrow(1, begin, rows).t(), wide.narrow(1, begin, columns - begin));
  }
}

void mirror_upper(Tensor& matrix) {
  matrix = at::triu(matrix);
  matrix.add_(at::triu(matrix, 1).t());
}

double quadratic_error(const Tensor& delta, const Tensor& gram) {
  return at::mm(delta, gram).mul_(delta).sum(at::kDouble).item<double>();
}

}  // namespace ockham
