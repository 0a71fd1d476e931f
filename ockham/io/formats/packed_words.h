// Small codes in little-endian 32-bit words, as compressed-tensors (`weight_packed`) and GPTQ store them.
// dense:  code i takes bits i*b .. i*b+b-1 of one endless bit string, low bits first; for b = 3, 5, 6, 7 codes cross
// words. padded: each word holds floor(32/b) codes from its low end and leaves the rest zero (compressed-tensors up to
// 0.17.1). The two are the same for b = 1, 2, 4, 8. planar: 32 codes take b words; a code is cut into planes of 4, 2
// and 1 bits (3 = 2+1, 5 = 4+1, 6 = 4+2, 7 = 4+2+1), the plane of the low bits first; word i of a plane of width w
// holds codes i*32/w .. at shifts w*j (GPTQModel `gptq_p`).
#pragma once

#include <cstdint>
#include <span>

namespace ockham {

enum class WordLayout { kDense, kPadded, kPlanar };

// Words that `count` codes of `bits` (1..8) take. Planar: count is a multiple of 32.
int64_t packed_words(int64_t count, int64_t bits, WordLayout layout);
// Codes below 2^bits, one a byte; `words` has packed_words() elements and is overwritten.
void pack_words(std::span<const uint8_t> codes, int64_t bits, WordLayout layout, std::span<uint32_t> words);
void unpack_words(std::span<const uint32_t> words, int64_t bits, WordLayout layout, std::span<uint8_t> codes);

}  // namespace ockham
