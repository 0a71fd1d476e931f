// Which form weights with zeros take. Private to ockham/kernels, its tests and its benchmark.
#pragma once

#include "ockham/kernels/bitmap_limits.h"
#include "ockham/kernels/matrix.h"

namespace ockham {

// Where column steps are taken instead of a bitmap: up to a share of non-zeros at which they are faster, if they take
// at most so many times as many bytes.
struct StepLimits {
  double share, bytes;
};
// Those of the current target.
StepLimits step_limits(DType type);
struct SparseLimits {
  StepLimits steps;
  BitmapLimits bitmap = {};
};
// Those of matrix.h, with other limits than the current target's.
KernelMatrix pack_sparse(const ReadFloats& read, DType type, int64_t rows, int64_t columns, const SparseLimits& limits);
KernelMatrix pack_integers(const IntegerSource& source, const BitmapLimits& limits);

}  // namespace ockham
