// Linear algebra that several methods share.
#pragma once

#include <cstdint>

#include "ockham/tensor/tensor.h"

namespace ockham {

// What the second-order methods need of H = mean over tokens of x x^T [C, C]: an upper triangular U with
// (H + damping * mean(diag H) * I)^-1 = U^T U. U_jj^2 is the j-th diagonal entry of the inverse once the columns before
// j are fixed (Frantar & Alistarh, SparseGPT 2023, section 3.3).
struct InverseFactor {
  Tensor upper;      // float32 [C, C], contiguous
  Tensor is_dead;    // bool [C]: inputs that were always zero; their diagonal was set to 1
  double damping;    // the share of the mean diagonal that was added in the end
  int64_t attempts;  // 1 unless the factorization failed and the damping was raised tenfold
  double ridge;      // what was added to the diagonal
};

// `gram` float32 [C, C], symmetric. Error(kInput) where even a damping of 1 gives no positive definite matrix (`where`
// names the linear).
InverseFactor factor_inverse(const Tensor& gram, double damping, const char* where);

// sum += x^T x for x [T, C] of any floating type, in float32, on and above the diagonal only: half the products.
// `sum` float32 [C, C]; what is below the diagonal afterwards means nothing until mirror_upper() has filled it.
void add_gram(Tensor& sum, const Tensor& x);
void mirror_upper(Tensor& matrix);

// trace(D H D^T) for D float32 [R, C] and H float32 [C, C], symmetric: the mean squared change of the outputs when the
// weights change by D. Summed in float64.
double quadratic_error(const Tensor& delta, const Tensor& gram);

}  // namespace ockham
