// A matrix that stays the same, laid out once in the order in which a product reads it.
#pragma once

#include "ockham/tensor/tensor.h"

namespace ockham {

class PreparedMatrix {
 public:
  virtual ~PreparedMatrix() = default;
  // x [..., C] float32 on the CPU, no gradient recorded: x W^T + bias, [..., R]. `bias` [R] may be undefined.
  virtual Tensor product(const Tensor& x, const Tensor& bias) const = 0;
};

}  // namespace ockham
