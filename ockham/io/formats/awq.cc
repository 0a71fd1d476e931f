// The interleaved nibbles of AWQ.
#include "ockham/io/formats/awq.h"

#include "ockham/core/error.h"

namespace ockham {
namespace {

constexpr int64_t kEach = 8;  // codes in a word
constexpr int64_t kOutputOfNibble[kEach] = {0, 2, 4, 6, 1, 3, 5, 7};

}  // namespace

std::vector<uint32_t> pack_awq(std::span<const uint8_t> codes, int64_t rows) {
  OCKHAM_CHECK(rows > 0 && rows % kEach == 0);
  const int64_t lines = static_cast<int64_t>(codes.size()) / rows, width = rows / kEach;
  std::vector<uint32_t> words(static_cast<size_t>(lines * width));
  for (int64_t n = 0; n < lines; ++n) {
    for (int64_t w = 0; w < width; ++w) {
      uint32_t word = 0;
      for (int64_t i = 0; i < kEach; ++i) {
        const int64_t row = w * kEach + kOutputOfNibble[i];
        word |= uint32_t{codes[static_cast<size_t>(row * lines + n)]} << (4 * i);
      }
      words[static_cast<size_t>(n * width + w)] = word;
    }
  }
  return words;
}

std::vector<uint8_t> unpack_awq(std::span<const uint32_t> words, int64_t rows) {
  OCKHAM_CHECK(rows > 0 && rows % kEach == 0);
  const int64_t width = rows / kEach, lines = static_cast<int64_t>(words.size()) / width;
  std::vector<uint8_t> codes(static_cast<size_t>(rows * lines));
  for (int64_t n = 0; n < lines; ++n) {
    for (int64_t w = 0; w < width; ++w) {
      const uint32_t word = words[static_cast<size_t>(n * width + w)];
      for (int64_t i = 0; i < kEach; ++i) {
        const int64_t row = w * kEach + kOutputOfNibble[i];
        codes[static_cast<size_t>(row * lines + n)] = static_cast<uint8_t>((word >> (4 * i)) & 15U);
      }
    }
  }
  return codes;
}

uint8_t awq_code(uint32_t word, int64_t output) {
  constexpr int64_t kNibbleOfOutput[kEach] = {0, 4, 1, 5, 2, 6, 3, 7};
  return static_cast<uint8_t>(word >> (4 * kNibbleOfOutput[output]) & 15U);
}

}  // namespace ockham
