// GPTQ tensors of a linear with R outputs, C inputs, G groups (https://github.com/ModelCloud/GPTQModel, AutoGPTQ).
//   qweight I32 [C*b/32, R]: the codes of output r, packed along the inputs, lie in column r.
//   qzeros  I32 [G, R*b/32]: the zero points of a group, packed along the outputs.
//   scales  F16 [G, R];  g_idx I32 [C]: the group of each input.
// w[r, c] = scales[g_idx[c], r] * (q - z). Checkpoint format `gptq` (v1) stores z - 1 in each field, `gptq_v2` stores
// z, `gptq_p` stores z and packs in planes. Other widths than 2, 4, 8 are dense bit strings (see packed_words.h).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ockham/io/formats/packed_words.h"

namespace ockham {

// codes [R, C], one a byte, to qweight [C*b/32, R] and back; C*b is a multiple of 32.
std::vector<uint32_t> pack_gptq_codes(std::span<const uint8_t> codes, int64_t rows, int64_t bits, WordLayout layout);
std::vector<uint8_t> unpack_gptq_codes(std::span<const uint32_t> words, int64_t rows, int64_t columns, int64_t bits,
                                       WordLayout layout);
// Zero-point fields [R, G] to qzeros [G, R*b/32] and back; what a field means is the caller's matter.
std::vector<uint32_t> pack_gptq_zeros(std::span<const uint8_t> fields, int64_t rows, int64_t bits, WordLayout layout);
std::vector<uint8_t> unpack_gptq_zeros(std::span<const uint32_t> words, int64_t rows, int64_t groups, int64_t bits,
                                       WordLayout layout);

enum class GptqZeros { kStoredMinusOne, kStored };  // v1, v2
// Which of the two a file really uses. Files labelled v1 that hold v2 zeros exist: where the grid is symmetric and
// every field is 2^(b-1), it is v2; where every field is 2^(b-1) - 1, it is v1; otherwise the label holds.
GptqZeros detect_gptq_zeros(std::span<const uint8_t> fields, int64_t bits, bool is_symmetric, GptqZeros label);

}  // namespace ockham
