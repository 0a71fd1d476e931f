// Products with a small float32 matrix that stays the same: its rows are laid out once in the order in which the
// product reads them. A BLAS library does that at every call, which costs as much as a fifth of the product where the
// matrix has a hundred columns and the inputs are few. For processors with AVX2.
#pragma once

#include "ockham/tensor/prepared.h"
#include "ockham/tensor/simd.h"

namespace ockham {

struct PanelMatrix : PreparedMatrix {
  int64_t rows = 0, columns = 0;
  // float32 [ceil(rows / width), columns, width], where the width is two registers: 16 with AVX2, 32 with AVX-512; rows
  // that are missing in the last panel are zeros.
  Tensor values;

  Tensor product(const Tensor& x, const Tensor& bias) const override;
};

// Whether products with W [R, C] are faster by panels: float32 on this CPU, and small enough for its caches.
bool suits_panels(const Tensor& weight);
// Of W [R, C], which suits. `simd`: the instructions to use, at most what the processor has.
PanelMatrix make_panels(const Tensor& weight, Simd simd = best_simd());

}  // namespace ockham
