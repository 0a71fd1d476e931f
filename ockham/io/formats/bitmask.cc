// Bits to bytes.
#include "ockham/io/formats/bitmask.h"

#include "ockham/core/error.h"

namespace ockham {

std::vector<uint8_t> expand_bitmask(std::span<const uint8_t> bitmask, int64_t rows, int64_t columns) {
  const int64_t width = (columns + 7) / 8;
  OCKHAM_CHECK(static_cast<int64_t>(bitmask.size()) == rows * width);
  std::vector<uint8_t> stored(static_cast<size_t>(rows * columns));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      stored[static_cast<size_t>(r * columns + c)] = (bitmask[static_cast<size_t>(r * width + c / 8)] >> (c % 8)) & 1U;
    }
  }
  return stored;
}

}  // namespace ockham
