// The product as plain loops in double: what every kernel is held against, and how far it may be from it.
#pragma once

#include <cstdint>
#include <vector>

#include "ockham/kernels/matrix.h"

namespace ockham {

// A matrix as its format defines it.
struct ReferenceMatrix {
  int64_t rows = 0, columns = 0;
  std::vector<double> weights;     // [R, C]
  std::vector<double> magnitudes;  // [R, C]: |scale * code| + |scale * zero|; |w| for floating point
};
struct ReferenceProduct {
  std::vector<double> values;  // [T, R]
  std::vector<double> bounds;  // [T, R]: largest difference that the format and the rounding of inputs allow
};

// Inputs x [T, C]. The bound of an output is the sum over columns of |w| times half a step of the input's group, and
// for sums in float32 2^-23 times (C / 16 + 32) times the sum of the magnitudes of all terms.
ReferenceProduct multiply_reference(const ReferenceMatrix& matrix, const std::vector<float>& x, int64_t tokens,
                                    const InputForm& form, InputRounding rounding);

}  // namespace ockham
