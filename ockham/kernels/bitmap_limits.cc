#include "ockham/kernels/bitmap_limits.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <limits>

#include "ockham/core/parallel.h"
#include "ockham/kernels/buffer.h"
#include "ockham/kernels/compile.h"
#include "ockham/kernels/target.h"

namespace ockham {
namespace {

constexpr int64_t kReadBytes = int64_t{64} << 20;  // more than a last cache gives to one program, mostly
constexpr int kReadings = 8;                       // the fastest counts: others have waited for threads to start

double measure_read_rate() {
  Buffer buffer(kReadBytes);
  std::memset(buffer.data(), 1, kReadBytes);
  std::atomic<uint64_t> sink = 0;
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kReadings; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    // A word of each line: the whole line comes from memory.
    parallel_for(kReadBytes / 64, 1, [&](int64_t first, int64_t last) {
      uint64_t sums[4] = {};
      for (int64_t line = first; line < last; ++line) {
        uint64_t word;
        std::memcpy(&word, buffer.data() + line * 64, sizeof word);
        sums[line % 4] ^= word;
        OCKHAM_PREFETCH(buffer.data() + line * 64 + 4096);
      }
      for (const uint64_t sum : sums) sink ^= sum;
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    least = std::min(least, seconds.count());
  }
  return static_cast<double>(kReadBytes) / least / thread_count();
}

}  // namespace

double thread_read_rate() {
  static const double kRate = measure_read_rate();
  return kRate;
}

BitmapLimits bitmap_limits(int64_t value_bits) {
  // Measured on Sapphire Rapids: an eighth of the bytes, with values of 4 bits more than a fifth.
  BitmapLimits limits = {value_bits == 4 ? 0.775 : 0.875, 0};
  if (current_target() == Target::kPortable) limits.expanded_bits = std::numeric_limits<double>::infinity();
  if (current_target() == Target::kAvx2 && value_bits <= 8) {
    // Weights that a thread expands in a second on a Zen 3 whose core does other work, too; alone, half as many more.
    const double expanded = value_bits == 4 ? 10e9 : 9e9;
    limits.expanded_bits = 8 * thread_read_rate() / expanded;
  }
  return limits;
}

bool bitmap_pays(const BitmapLimits& limits, int64_t dense_bits, int64_t value_bits, double density) {
  const auto dense = static_cast<double>(dense_bits);
  return dense >= limits.expanded_bits && 1 + static_cast<double>(value_bits) * density < limits.most_bytes * dense;
}

}  // namespace ockham
