// Small floating-point types without libtorch.
#include "ockham/io/formats/small_floats.h"

#include <bit>
#include <cmath>
#include <limits>

namespace ockham {
namespace {

constexpr float kLargestE4M3 = 448;

}  // namespace

float float8_e4m3_to_float(uint8_t bits) {
  const float sign = (bits & 0x80U) != 0 ? -1.0F : 1.0F;
  const int exponent = (bits >> 3) & 15, mantissa = bits & 7;
  if (exponent == 15 && mantissa == 7) return std::numeric_limits<float>::quiet_NaN();
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -9);
  return sign * std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
}

uint8_t float_to_float8_e4m3(float value) {
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  if (std::isnan(value)) return sign | 0x7f;
  const float size = std::fabs(value);
  if (size >= kLargestE4M3) return sign | 0x7e;
  int exponent = size == 0 ? -7 : std::ilogb(size);
  if (exponent < -6) exponent = -6;                                                   // subnormal: steps of 2^-9
  const int step = static_cast<int>(std::nearbyint(std::ldexp(size, 3 - exponent)));  // 8..16, below 8 when subnormal
  return sign | static_cast<uint8_t>(step + (exponent + 6) * 8);
}

}  // namespace ockham
