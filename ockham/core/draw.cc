#include "ockham/core/draw.h"

namespace ockham {

int32_t draw_index(const float* probabilities, int64_t count, double uniform) {
  double sum = 0;
  int32_t last = -1;
  for (int64_t i = 0; i < count; ++i) {
    if (!(probabilities[i] > 0)) continue;
    sum += probabilities[i];
    last = static_cast<int32_t>(i);
    if (sum > uniform) break;
  }
  return last;
}

}  // namespace ockham
