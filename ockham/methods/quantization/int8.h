// Rows of 8-bit integers, shared by the methods whose products are made of integers.
#pragma once

#include "ockham/model/weight.h"

namespace ockham {

// codes = round(127 w / max|w|), half to even, per row of weights float32 [R, C]; scales as stored in `scale_type`.
// Zero stays zero, a row of zeros gets scale 1.
Int8Weight round_to_int8(const Tensor& weights, at::ScalarType scale_type);

}  // namespace ockham
