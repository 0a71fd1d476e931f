// Products with a small float32 matrix that stays the same: its rows are laid out once in the order in which the
// product reads them. A BLAS library does that at every call, which costs as much as a fifth of the product where the
// matrix has a hundred columns and the inputs are few. For processors with AVX2 and without AVX-512.
#pragma once

#include "ockham/tensor/prepared.h"

namespace ockham {

struct PanelMatrix : PreparedMatrix {
  static constexpr int64_t kWidth = 16;  // rows of a panel: two registers of eight

  int64_t rows = 0, columns = 0;
  Tensor values;  // float32 [ceil(rows / 16), columns, 16]; rows that are missing in the last panel are zeros

  Tensor product(const Tensor& x, const Tensor& bias) const override;
};

// Whether products with W [R, C] are faster by panels: float32 on this CPU, and small enough for its caches.
bool suits_panels(const Tensor& weight);
// Of W [R, C], which suits.
PanelMatrix make_panels(const Tensor& weight);

}  // namespace ockham
