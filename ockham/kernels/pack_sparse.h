// Which form floats with zeros take; private to ockham/kernels.
#pragma once

#include "ockham/kernels/matrix.h"

namespace ockham {

// Where column steps are taken instead of a bitmap: up to a share of non-zeros at which they are faster, if they take
// at most so many times as many bytes.
struct StepLimits {
  double share, bytes;
};
// Those of the current target.
StepLimits step_limits(DType type);
KernelMatrix pack_sparse(const ReadFloats& read, DType type, int64_t rows, int64_t columns, const StepLimits& limits);

}  // namespace ockham
