// The one door to libtorch's types for headers; sources that compute include ockham/tensor/ops.h.
#pragma once

#include <ATen/core/Tensor.h>

#include "ockham/core/dtype.h"

namespace ockham {

using Tensor = at::Tensor;

at::ScalarType to_scalar_type(DType dtype);
DType to_dtype(at::ScalarType type);

}  // namespace ockham
