// Factorizations, with damping raised step by step where one fails.
#include "ockham/tensor/linalg.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"
#include "ockham/tensor/parallel.h"

namespace ockham {
namespace {

constexpr double kLargestDamping = 1;
constexpr int64_t kStrip = 512;  // rows of a triangle that are worth a matrix product of their own

// H = R R^T with R upper triangular is the Cholesky factorization of H read from its last row and column to its first.
// In place and block by block, so that only the upper triangle is computed and no second matrix of that size is needed.
// Reads the blocks of `matrix` on and above the diagonal; false where it is not positive definite.
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

// The blocks of `gram` on and above the diagonal, rows and columns in this order.
Tensor in_order(const Tensor& gram, const Tensor& order) {
  if (!order.defined()) return gram.clone(at::MemoryFormat::Contiguous);
  const int64_t size = gram.size(0);
  const Tensor source = gram.contiguous(), places = order.contiguous(), result = at::empty_like(source);
  const float* in = source.const_data_ptr<float>();
  const int64_t* place = places.const_data_ptr<int64_t>();
  float* out = result.mutable_data_ptr<float>();
  parallel_rows(0, size, 16, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const float* from = in + place[row] * size;
      for (int64_t c = row / kStrip * kStrip; c < size; ++c) out[row * size + c] = from[place[c]];
    }
  });
  return result;
}

bool is_finite_above(const Tensor& matrix) {
  for (int64_t begin = 0; begin < matrix.size(0); begin += kStrip) {
    const int64_t rows = std::min(kStrip, matrix.size(0) - begin);
    if (!all_finite(matrix.narrow(0, begin, rows).narrow(1, begin, matrix.size(1) - begin))) return false;
  }
  return true;
}

}  // namespace

HessianFactor factor_hessian(const Tensor& gram, double damping, const char* where, const Tensor& order) {
  OCKHAM_CHECK(gram.dim() == 2 && gram.size(0) == gram.size(1));
  const Tensor diagonal = order.defined() ? gram.diagonal().index_select(0, order) : gram.diagonal();
  HessianFactor factor{{}, diagonal == 0, damping, 1, 0};
  const Tensor living = diagonal.masked_fill(factor.is_dead, 1);
  const double mean = living.mean(at::kDouble).item<double>();
  for (;; ++factor.attempts) {
    factor.ridge = factor.damping * mean;
    factor.root = in_order(gram, order);
    factor.root.diagonal().copy_(living + factor.ridge);
    if (factor_from_the_end(factor.root) && is_finite_above(factor.root)) return factor;
    factor.root = Tensor();
    if (factor.damping >= kLargestDamping)
      throw_input(
          "{}: the Hessian of the inputs has no Cholesky factor even with damping {}; use more or other "
          "calibration data",
          where, factor.damping);
    factor.damping = std::min(kLargestDamping, std::max(1e-4, factor.damping * 10));
  }
}

Tensor inverse_root(const HessianFactor& factor) {
  return at::linalg_solve_triangular(factor.root, at::eye(factor.root.size(0), factor.root.options()), /*upper=*/true);
}

bool all_finite(const Tensor& values) {
  if (values.numel() == 0) return true;
  const auto [low, high] = at::aminmax(values);  // NaN spreads to both ends
  return low.isfinite().item<bool>() && high.isfinite().item<bool>();
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
