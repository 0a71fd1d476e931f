// Seeded random numbers, equal on every machine: splitmix64 for seeding, xoshiro256** for the stream
// (Blackman, Vigna 2018). std:: distributions differ between libraries, so the few needed are written out.
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace ockham {

// Mixes values into one seed; derive_seed(run, "privacy", row, sample) makes a sampled item reproducible at any batch
// size.
uint64_t mix_seed(uint64_t a, uint64_t b);
uint64_t hash_seed(std::string_view text);  // FNV-1a, then splitmix64

class Rng {
 public:
  explicit Rng(uint64_t seed);
  uint64_t next();
  // Uniform in [0, 1), 53 bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  // Uniform in [0, n), n > 0; unbiased (Lemire 2019).
  uint64_t below(uint64_t n);
  // Standard normal (Box-Muller, one value per two draws).
  double normal();
  bool chance(double probability) { return uniform() < probability; }
  template <typename T>
  const T& pick(const std::vector<T>& values) {
    return values[below(values.size())];
  }
  template <typename T>
  void shuffle(std::vector<T>& values) {
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

 private:
  uint64_t state_[4];
};

}  // namespace ockham
