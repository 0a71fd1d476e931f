// Where a bitmap of the weights that are not zero is faster than all weights. For ockham/kernels, its tests and
// benchmark, and what foresees the bytes that weights take.
#pragma once

#include <cstdint>

namespace ockham {

struct BitmapLimits {
  // At most this share of the dense weights' bytes, 0 to 1: expanding costs time, too.
  double most_bytes = 0.875;
  // At least so many bits for a dense weight: with fewer a thread has read it from memory before a place of a bitmap is
  // expanded. 0: expanding is always fast enough; infinite: never.
  double expanded_bits = 0;
};
// On the current target, for values of 32, 16, 8 or 4 bits. With AVX2 and integers it depends on thread_read_rate().
BitmapLimits bitmap_limits(int64_t value_bits);
// A bit for every weight and `value_bits` for each that is not zero, a share `density` (0 to 1) of them, beside
// `dense_bits` for every weight.
bool bitmap_pays(const BitmapLimits& limits, int64_t dense_bits, int64_t value_bits, double density);

// Bytes that each of thread_count() threads reads from memory in a second while all of them do; measured once, in some
// tens of milliseconds.
double thread_read_rate();

}  // namespace ockham
