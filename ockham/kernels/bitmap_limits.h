// Where a bitmap of the weights that are not zero is faster than all weights. For ockham/kernels,
// and what foresees the bytes that they take.
#pragma once

#include <cstdint>

namespace ockham {

struct BitmapLimits {
  // Expanding costs time too: it has to save so much of the bytes.
  double most_bytes = 0.875;
  // Dense weights of fewer bits come from memory before a bitmap of them is expanded.
  double expanded_bits = 0;
};
// On the current target, of values of 32, 16, 8 or 4 bits.
BitmapLimits bitmap_limits(int64_t value_bits);
// `value_bits` for each weight that is not zero, beside one bit for every weight, or `dense_bits` for every weight.
bool bitmap_pays(const BitmapLimits& limits, int64_t dense_bits, int64_t value_bits, double density);

// Bytes that each of thread_count() threads reads from memory in a second while all of them do; measured once, in some
// tens of milliseconds.
double thread_read_rate();

}  // namespace ockham
