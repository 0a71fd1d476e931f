// The body of panels.cc, included once for each instruction set as tile_kernel.h is, on which it stands.

#include "ockham/tensor/tile_kernel.h"

// Inputs [begin, end) with panels [first, last).
void multiply(const Operands& o, int64_t begin, int64_t end, int64_t first, int64_t last) {
  for (int64_t panel = first; panel < last; ++panel) {
    const float* w = o.panels + panel * o.columns * kWidth;
    const int64_t row = panel * kWidth, width = std::min(kWidth, o.rows - row);
    float edge[kHeight * kWidth];  // of the last panel, which may be wider than the result
    for (int64_t at = begin; at < end; at += kHeight) {
      const int64_t height = std::min<int64_t>(kHeight, end - at);
      float* out = o.out + at * o.rows + row;
      const bool is_whole = width == kWidth;
      float* sums = is_whole ? out : edge;
      const int64_t sums_row = is_whole ? o.rows : kWidth;
      if (o.bias != nullptr) {
        for (int64_t i = 0; i < height; ++i)
          std::memcpy(sums + i * sums_row, o.bias + row, static_cast<size_t>(width) * sizeof(float));
      }
      tile(height, o.x + at * o.columns, o.columns, w, kWidth, o.columns, sums, sums_row, o.bias != nullptr);
      for (int64_t i = 0; !is_whole && i < height; ++i)
        std::memcpy(out + i * o.rows, edge + i * kWidth, static_cast<size_t>(width) * sizeof(float));
    }
  }
}
