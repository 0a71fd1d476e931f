// AWQ `gemm` tensors, 4 bit, of a linear with R outputs, C inputs, G groups (https://github.com/casper-hansen/AutoAWQ).
//   qweight I32 [C, R/8], qzeros I32 [G, R/8]: packed along the outputs; nibble i (bits 4i) of word w belongs to output
//   8w + P[i], P = 0 2 4 6 1 3 5 7. Outputs 8w .. 8w+7 with codes 0 .. 7 give 0x75316420.
//   scales F16 [G, R]. w[r, c] = scales[c/g, r] * (q - z), z stored as it is.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ockham {

// codes [R, N] (N inputs or groups), one a byte, to [N, R/8] and back; R is a multiple of 8.
std::vector<uint32_t> pack_awq(std::span<const uint8_t> codes, int64_t rows);
std::vector<uint8_t> unpack_awq(std::span<const uint32_t> words, int64_t rows);
// The code of output 8w + `output` (0 to 7) in word w.
uint8_t awq_code(uint32_t word, int64_t output);

}  // namespace ockham
