// Linear algebra that several methods share.
#pragma once

#include <cstdint>

#include "ockham/tensor/tensor.h"

namespace ockham {

// What the second-order methods need of H = mean over tokens of x x^T [C, C]: an upper triangular R with
// H + damping * mean(diag H) * I = R R^T. U = R^-1 is the factor that their papers use, U^T U = (R R^T)^-1: U_jj^2 =
// 1 / R_jj^2 is the j-th diagonal entry of the inverse once the columns before j are fixed (Frantar & Alistarh,
// SparseGPT 2023, section 3.3). A walk over columns does without U itself, see second_order.h.
struct HessianFactor {
  Tensor root;       // R, float32 [C, C], contiguous; what is below the diagonal means nothing
  Tensor is_dead;    // bool [C]: inputs that were always zero; their diagonal was set to 1
  double damping;    // the share of the mean diagonal that was added in the end
  int64_t attempts;  // 1 unless the factorization failed and the damping was raised tenfold
  double ridge;      // what was added to the diagonal
};

// `gram` float32 [C, C], symmetric; with `order` int64 [C] its rows and columns are taken in that order. Error(kInput)
// where even a damping of 1 gives no positive definite matrix (`where` names the linear).
HessianFactor factor_hessian(const Tensor& gram, double damping, const char* where, const Tensor& order = {});
// U, with zeros below the diagonal.
Tensor inverse_root(const HessianFactor& factor);

// Neither infinite nor NaN; no copy is made, as summing in float64 would.
bool all_finite(const Tensor& values);

// sum += x^T x for x [T, C] of any floating type, in float32, on and above the diagonal only: half the products.
// `sum` float32 [C, C]; what is below the diagonal afterwards means nothing until mirror_upper() has filled it.
void add_gram(Tensor& sum, const Tensor& x);
void mirror_upper(Tensor& matrix);

// trace(D H D^T) for D float32 [R, C] and H float32 [C, C], symmetric: the mean squared change of the outputs when the
// weights change by D. Summed in float64.
double quadratic_error(const Tensor& delta, const Tensor& gram);

}  // namespace ockham
