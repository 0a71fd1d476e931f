// Tensor types of GGUF and their blocks (https://github.com/ggml-org/ggml). d, m and dmin are F16; u is an unsigned
// code.
//   F32 0, F16 1, BF16 30: one element each.
// 32 elements, byte j of the nibbles holds element j (low) and j+16 (high); qh bit j is bit 4 of element j:
//   Q4_0  2  18 B  d, 16 nibbles                     x = d (u - 8)
//   Q4_1  3  20 B  d, m, 16 nibbles                  x = d u + m
//   Q5_0  6  22 B  d, qh U32, 16 nibbles             x = d (u - 16)
//   Q5_1  7  24 B  d, m, qh U32, 16 nibbles          x = d u + m
//   Q8_0  8  34 B  d, 32 I8                          x = d q
// 256 elements:
//   Q2_K 10  84 B  16 scales, 64 codes, d, dmin      sub-block s of 16: x = d (B[s] & 15) u - dmin (B[s] >> 4);
//                  codes: half h, plane j, element l of 32: bits 2j of byte 32h+l is element 128h + 32j + l
//   Q3_K 11 110 B  32 hmask, 64 codes, 12 scales, d  sub-block s of 16: x = d (sc[s] - 32) (u - 4);
//                  the two low bits as in Q2_K, bit 2 of element 128h + 32j + l is bit 4h+j of hmask[l];
//                  sc[s] = (s < 8 ? B[s] & 15 : B[s-8] >> 4) | (B[8 + s%4] >> 2(s/4) & 3) << 4
//   Q4_K 12 144 B  d, dmin, 12 scales, 128 nibbles   sub-block s of 32: x = d sc[s] u - dmin mn[s];
//                  32-byte chunk c holds sub-block 2c (low) and 2c+1 (high);
//                  s < 4: sc = B[s] & 63, mn = B[s+4] & 63;
//                  s >= 4: sc = B[s+4] & 15 | B[s-4] >> 6 << 4, mn = B[s+4] >> 4 | B[s] >> 6 << 4
//   Q5_K 13 176 B  d, dmin, 12 scales, 32 qh, 128 nibbles   as Q4_K;
//                  bit 4 of element l of sub-block s is bit s of qh[l]
//   Q6_K 14 210 B  128 ql, 64 qh, 16 I8 scales, d    sub-block s of 16: x = d sc[s] (u - 32);
//                  half h, element l of 32, codes at 128h + l + {0, 32, 64, 96}: the four low bits are ql[64h+l] low,
//                  ql[64h+l+32] low, ql[64h+l] high, ql[64h+l+32] high; the two upper ones qh[32h+l] at 0, 2, 4, 6
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ockham {

enum class GgufType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2K = 10,
  kQ3K = 11,
  kQ4K = 12,
  kQ5K = 13,
  kQ6K = 14,
  kBF16 = 30,
};

struct GgufTypeInfo {
  GgufType type;
  std::string_view name;  // "Q4_K"
  int64_t elements, bytes;
  uint32_t file_type;  // general.file_type of a file made of it
  bool is_written;
};
std::span<const GgufTypeInfo> gguf_types();
// Null for a number that is no type read here.
const GgufTypeInfo* find_gguf_type(uint32_t number);
// By name, upper or lower case; null for an unknown one.
const GgufTypeInfo* find_gguf_type(std::string_view name);
const GgufTypeInfo& gguf_type_info(GgufType type);

// Whole blocks to float32: values.size() is a multiple of the block's elements, bytes has exactly as many blocks.
void dequantize_gguf(GgufType type, std::span<const uint8_t> bytes, std::span<float> values);
// The inverse, for finite values; types with is_written only. Q8_0, Q4_0, Q4_1 and Q5_0 follow ggml's rounding, the
// others search the scale of least squared error.
void quantize_gguf(GgufType type, std::span<const float> values, std::span<uint8_t> bytes);

// Types whose grid is scale * (code - zero) with one zero for all: Q4_0, Q5_0, Q8_0 (a scale for 32), Q3_K, Q6_K (for
// 16).
struct GgufGrid {
  int64_t bits, group, zero;
};
std::optional<GgufGrid> gguf_grid(GgufType type);
// Codes, one a byte, and float32 scales, one for each group.
void read_gguf_grid(GgufType type, std::span<const uint8_t> bytes, std::span<uint8_t> codes, std::span<float> scales);
// The other quantized types: x = scale * code + minimum. Q4_1, Q5_1, Q4_K, Q5_K (a scale and a minimum for 32), Q2_K
// (for 16).
struct GgufMinimumGrid {
  int64_t bits, group;
};
std::optional<GgufMinimumGrid> gguf_minimum_grid(GgufType type);
// As read_gguf_grid, with one minimum for each group.
void read_gguf_minimum_grid(GgufType type, std::span<const uint8_t> bytes, std::span<uint8_t> codes,
                            std::span<float> scales, std::span<float> minima);
// Blocks of Q4_0, Q5_0 and Q8_0 from codes and scales, one F16 scale for 32 codes.
void write_gguf_grid(GgufType type, std::span<const uint8_t> codes, std::span<const uint16_t> scales,
                     std::span<uint8_t> bytes);

}  // namespace ockham
