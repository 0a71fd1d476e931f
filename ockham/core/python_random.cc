// Seeding by array as CPython does it, then the generator and the two ways of sampling.
#include "ockham/core/python_random.h"

#include <bit>
#include <cmath>
#include <set>

#include "ockham/core/error.h"

namespace ockham {

PythonRandom::PythonRandom(uint64_t seed) {
  constexpr uint32_t kSize = 624;
  state_[0] = 19650218U;
  for (uint32_t i = 1; i < kSize; ++i) state_[i] = 1812433253U * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
  // The seed as 32-bit digits, lowest first; zero has one digit.
  std::vector<uint32_t> key = {static_cast<uint32_t>(seed)};
  if (seed >> 32 != 0) key.push_back(static_cast<uint32_t>(seed >> 32));
  uint32_t i = 1, j = 0;
  for (uint32_t k = kSize; k > 0; --k) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1664525U)) + key[j] + j;
    if (++i >= kSize) {
      state_[0] = state_[kSize - 1];
      i = 1;
    }
    if (++j >= key.size()) j = 0;
  }
  for (uint32_t k = kSize - 1; k > 0; --k) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1566083941U)) - i;
    if (++i >= kSize) {
      state_[0] = state_[kSize - 1];
      i = 1;
    }
  }
  state_[0] = 0x80000000U;
}

uint32_t PythonRandom::next() {
  constexpr size_t kSize = 624, kShift = 397;
  if (index_ >= kSize) {
    for (size_t i = 0; i < kSize; ++i) {
      const uint32_t y = (state_[i] & 0x80000000U) | (state_[(i + 1) % kSize] & 0x7fffffffU);
      state_[i] = state_[(i + kShift) % kSize] ^ (y >> 1) ^ ((y & 1U) != 0 ? 0x9908b0dfU : 0U);
    }
    index_ = 0;
  }
  uint32_t y = state_[index_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680U;
  y ^= (y << 15) & 0xefc60000U;
  return y ^ (y >> 18);
}

uint32_t PythonRandom::bits(int bits) {
  OCKHAM_CHECK(bits >= 1 && bits <= 32);
  return next() >> (32 - bits);
}

uint32_t PythonRandom::below(uint32_t n) {
  OCKHAM_CHECK(n >= 1);
  const int width = std::bit_width(n);
  uint32_t value = bits(width);
  while (value >= n) value = bits(width);
  return value;
}

std::vector<uint32_t> PythonRandom::sample(uint32_t n, uint32_t count) {
  OCKHAM_CHECK(count <= n);
  std::vector<uint32_t> chosen;
  // CPython copies the population where that is smaller than a set of the chosen.
  double set_size = 21;
  if (count > 5) set_size += std::pow(4, std::ceil(std::log(count * 3) / std::log(4)));
  if (n <= set_size) {
    std::vector<uint32_t> pool(n);
    for (uint32_t i = 0; i < n; ++i) pool[i] = i;
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t j = below(n - i);
      chosen.push_back(pool[j]);
      pool[j] = pool[n - i - 1];
    }
    return chosen;
  }
  std::set<uint32_t> seen;
  for (uint32_t i = 0; i < count; ++i) {
    uint32_t j = below(n);
    while (!seen.insert(j).second) j = below(n);
    chosen.push_back(j);
  }
  return chosen;
}

}  // namespace ockham
