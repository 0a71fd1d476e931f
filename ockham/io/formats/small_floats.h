// F8_E4M3 as OCP defines it: sign, 4 bits of exponent (bias 7), 3 of mantissa, no infinities, 0x7f and 0xff not a
// number, largest 448. 1.0 = 38, -1.5 = bc, 448 = 7e, 2^-9 = 01. F8_E5M2: the upper byte of an F16.
#pragma once

#include <cstdint>

#include "ockham/core/half.h"

namespace ockham {

float float8_e4m3_to_float(uint8_t bits);
// To nearest, ties to even; beyond 448 saturates.
uint8_t float_to_float8_e4m3(float value);

}  // namespace ockham
