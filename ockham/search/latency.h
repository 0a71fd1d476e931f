// Milliseconds that the native engine's kernels take for a unit at a level, measured on this machine: one product with
// one token on one thread, as decoding does for each. A table by shape and format, kept beside the levels, so that a
// search that goes on sees the same numbers.
#pragma once

#include <string>

#include "ockham/kernels/matrix.h"
#include "ockham/model/weight.h"
#include "ockham/search/budget.h"

namespace ockham {

// The matrix as the engine would keep it. Dense values are used where they lie: the weight must outlive the matrix.
KernelMatrix kernel_matrix(const Weight& weight);

// Seconds by unit and level. Entries of the same shape, format and share of zeros (to a hundredth) are measured once;
// `path` holds the table (JSON) and is written. Error(kInput) where it is damaged.
LatencyTable measure_latency(const LevelDatabase& database, const std::string& path);

}  // namespace ockham
