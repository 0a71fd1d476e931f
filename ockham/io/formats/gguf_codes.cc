// Bit layouts of GGUF's blocks.
#include "ockham/io/formats/gguf_codes.h"

namespace ockham::gguf_block {

void load_small(const uint8_t* nibbles, const uint8_t* high, uint8_t* codes) {
  for (int j = 0; j < kSmall / 2; ++j) {
    codes[j] = nibbles[j] & 15U;
    codes[j + 16] = nibbles[j] >> 4;
  }
  if (high == nullptr) return;
  for (int j = 0; j < kSmall; ++j) codes[j] |= static_cast<uint8_t>(((high[j / 8] >> (j % 8)) & 1U) << 4);
}

void store_small(const uint8_t* codes, uint8_t* nibbles, uint8_t* high) {
  for (int j = 0; j < kSmall / 2; ++j) nibbles[j] = static_cast<uint8_t>((codes[j] & 15U) | (codes[j + 16] & 15U) << 4);
  if (high == nullptr) return;
  std::memset(high, 0, kSmall / 8);
  for (int j = 0; j < kSmall; ++j) high[j / 8] |= static_cast<uint8_t>((codes[j] >> 4 & 1U) << (j % 8));
}

void load_k_scales(const uint8_t* bytes, uint8_t* scales, uint8_t* minima) {
  for (int s = 0; s < 4; ++s) {
    scales[s] = bytes[s] & 63U;
    minima[s] = bytes[s + 4] & 63U;
    scales[s + 4] = static_cast<uint8_t>((bytes[s + 8] & 15U) | (bytes[s] >> 6) << 4);
    minima[s + 4] = static_cast<uint8_t>(bytes[s + 8] >> 4 | (bytes[s + 4] >> 6) << 4);
  }
}

void store_k_scales(const uint8_t* scales, const uint8_t* minima, uint8_t* bytes) {
  for (int s = 0; s < 4; ++s) {
    bytes[s] = static_cast<uint8_t>(scales[s] | (scales[s + 4] >> 4) << 6);
    bytes[s + 4] = static_cast<uint8_t>(minima[s] | (minima[s + 4] >> 4) << 6);
    bytes[s + 8] = static_cast<uint8_t>((scales[s + 4] & 15U) | (minima[s + 4] & 15U) << 4);
  }
}

void load_k_codes(const uint8_t* nibbles, const uint8_t* high, uint8_t* codes) {
  for (int i = 0; i < kSuper; ++i) {
    const int sub = i / 32, l = i % 32;
    const uint8_t byte = nibbles[sub / 2 * 32 + l];
    codes[i] = sub % 2 == 0 ? byte & 15U : byte >> 4;
    if (high != nullptr) codes[i] |= static_cast<uint8_t>((high[l] >> sub & 1U) << 4);
  }
}

void store_k_codes(const uint8_t* codes, uint8_t* nibbles, uint8_t* high) {
  std::memset(nibbles, 0, kSuper / 2);
  if (high != nullptr) std::memset(high, 0, kSuper / 8);
  for (int i = 0; i < kSuper; ++i) {
    const int sub = i / 32, l = i % 32;
    nibbles[sub / 2 * 32 + l] |= static_cast<uint8_t>((codes[i] & 15U) << (sub % 2 * 4));
    if (high != nullptr) high[l] |= static_cast<uint8_t>((codes[i] >> 4 & 1U) << sub);
  }
}

void load_q6_codes(const uint8_t* low, const uint8_t* high, uint8_t* codes) {
  for (int i = 0; i < kSuper; ++i) {
    const int half = i / 128, part = i % 128 / 32, l = i % 32;
    const uint8_t byte = low[half * 64 + part % 2 * 32 + l];
    const int upper = high[half * 32 + l] >> (2 * part) & 3;
    codes[i] = static_cast<uint8_t>((part < 2 ? byte & 15 : byte >> 4) | upper << 4);
  }
}

void store_q6_codes(const uint8_t* codes, uint8_t* low, uint8_t* high) {
  std::memset(low, 0, kSuper / 2);
  std::memset(high, 0, kSuper / 4);
  for (int i = 0; i < kSuper; ++i) {
    const int half = i / 128, part = i % 128 / 32, l = i % 32;
    low[half * 64 + part % 2 * 32 + l] |= static_cast<uint8_t>((codes[i] & 15U) << (part / 2 * 4));
    high[half * 32 + l] |= static_cast<uint8_t>((codes[i] >> 4) << (2 * part));
  }
}

void load_q2_codes(const uint8_t* bytes, uint8_t* codes) {
  for (int i = 0; i < kSuper; ++i) codes[i] = bytes[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3U;
}

}  // namespace ockham::gguf_block
