// The random numbers of Python's `random` module (Mersenne Twister MT19937, Matsumoto & Nishimura 1998), for benchmarks
// whose items depend on them. Everything else uses core/rng.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ockham {

class PythonRandom {
 public:
  // As random.seed(seed) for a whole number that is not negative.
  explicit PythonRandom(uint64_t seed);
  // The next `bits` (1 to 32) random bits, as random.getrandbits.
  uint32_t bits(int bits);
  // 0 .. n - 1, n >= 1, as random.randrange(n); random.choice takes the element at this index.
  uint32_t below(uint32_t n);
  // `count` different indices of a population of n >= count, in the order in which random.sample gives them.
  std::vector<uint32_t> sample(uint32_t n, uint32_t count);

 private:
  uint32_t next();
  std::array<uint32_t, 624> state_{};
  size_t index_ = 624;
};

}  // namespace ockham
