// Floating-point weights on their way into a layout; private to ockham/kernels.
#pragma once

#include <cstdint>

#include "ockham/core/dtype.h"

namespace ockham {

// kUnsupported error for all but F32, F16 and BF16.
void expect_float_type(DType type);
// Rounded to nearest even.
void store_values(const float* values, int64_t count, DType type, uint8_t* to);

// Whether a bitmap with `value_bits` for each weight that is not zero is faster than `dense_bits` for every weight.
// Expanding costs time too: measured on Sapphire Rapids, it has to save an eighth of the bytes, with values of 4 bits
// more than a fifth.
constexpr bool bitmap_pays(int64_t dense_bits, int64_t value_bits, double density) {
  const double most = value_bits == 4 ? 0.775 : 0.875;
  return 1 + static_cast<double>(value_bits) * density < most * static_cast<double>(dense_bits);
}

}  // namespace ockham
