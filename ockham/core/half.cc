#include "ockham/core/half.h"

#include <cmath>

namespace ockham {

uint16_t float_to_half(float value) {
  const auto sign = static_cast<uint16_t>(std::signbit(value) ? 0x8000 : 0);
  if (std::isnan(value)) return sign | 0x7e00;
  const float size = std::fabs(value);
  if (size >= 65520) return sign | 0x7c00;
  int exponent = size == 0 ? -15 : std::ilogb(size);
  if (exponent < -14) exponent = -14;  // subnormal: steps of 2^-24
  const int step = static_cast<int>(std::nearbyint(std::ldexp(size, 10 - exponent)));
  return sign | static_cast<uint16_t>(step + (exponent + 14) * 1024);
}

}  // namespace ockham
