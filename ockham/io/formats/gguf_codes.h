// Where the codes and sub-block scales of each GGUF block lie: shared by its reader and its writer.
#pragma once

#include <cstdint>
#include <cstring>

#include "ockham/io/formats/small_floats.h"

namespace ockham::gguf_block {

constexpr int kSmall = 32, kSuper = 256;

inline uint16_t load_half_bits(const uint8_t* at) {
  return static_cast<uint16_t>(at[0] | at[1] << 8);
}
inline float load_half(const uint8_t* at) {
  return half_to_float(load_half_bits(at));
}
inline void store_half_bits(uint8_t* at, uint16_t bits) {
  at[0] = static_cast<uint8_t>(bits);
  at[1] = static_cast<uint8_t>(bits >> 8);
}
// Returns the value that was stored.
inline float store_half(uint8_t* at, float value) {
  const uint16_t bits = float_to_half(value);
  store_half_bits(at, bits);
  return half_to_float(bits);
}

// 32 codes: nibbles, and with `high` their bit 4.
void load_small(const uint8_t* nibbles, const uint8_t* high, uint8_t* codes);
void store_small(const uint8_t* codes, uint8_t* nibbles, uint8_t* high);

// The twelve bytes of Q4_K and Q5_K: eight scales and eight minima of 6 bits.
void load_k_scales(const uint8_t* bytes, uint8_t* scales, uint8_t* minima);
void store_k_scales(const uint8_t* scales, const uint8_t* minima, uint8_t* bytes);

// 256 codes of Q4_K (high null) and Q5_K.
void load_k_codes(const uint8_t* nibbles, const uint8_t* high, uint8_t* codes);
void store_k_codes(const uint8_t* codes, uint8_t* nibbles, uint8_t* high);

// 256 codes of Q6_K, 0..63.
void load_q6_codes(const uint8_t* low, const uint8_t* high, uint8_t* codes);
void store_q6_codes(const uint8_t* codes, uint8_t* low, uint8_t* high);

// 256 codes of Q2_K, 0..3 (the low bits of Q3_K too).
void load_q2_codes(const uint8_t* bytes, uint8_t* codes);

}  // namespace ockham::gguf_block
