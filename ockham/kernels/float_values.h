// Floating-point weights on their way into a layout; private to ockham/kernels.
#pragma once

#include <cstdint>

#include "ockham/core/dtype.h"

namespace ockham {

// kUnsupported error for all but F32, F16 and BF16.
void expect_float_type(DType type);
// Rounded to nearest even.
void store_values(const float* values, int64_t count, DType type, uint8_t* to);

}  // namespace ockham
