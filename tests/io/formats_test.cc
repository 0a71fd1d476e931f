// Bit layouts of the interchange formats against bytes made by their reference packages.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "ockham/io/formats/awq.h"
#include "ockham/io/formats/bitmask.h"
#include "ockham/io/formats/gguf_blocks.h"
#include "ockham/io/formats/gguf_codes.h"
#include "ockham/io/formats/gptq.h"
#include "ockham/io/formats/packed_words.h"
#include "ockham/io/formats/small_floats.h"

namespace ockham {
namespace {

std::vector<uint8_t> unsigned_codes(const std::vector<int>& values, int bits) {
  std::vector<uint8_t> codes;
  for (const int value : values) codes.push_back(static_cast<uint8_t>(value + (1 << (bits - 1))));
  return codes;
}

std::vector<uint32_t> packed(const std::vector<uint8_t>& codes, int64_t bits, WordLayout layout) {
  std::vector<uint32_t> words(static_cast<size_t>(packed_words(static_cast<int64_t>(codes.size()), bits, layout)));
  pack_words(codes, bits, layout, words);
  return words;
}

TEST(PackedWords, AreThoseOfCompressedTensors) {
  using Words = std::vector<uint32_t>;
  const auto int4 = unsigned_codes({-8, -7, -1, 0, 1, 2, 6, 7, 3, -3, 5, -5, 4, -4, 0, 1}, 4);
  EXPECT_EQ(packed(int4, 4, WordLayout::kDense), (Words{0xfea98710, 0x984c3d5b}));
  EXPECT_EQ(packed(int4, 4, WordLayout::kPadded), (Words{0xfea98710, 0x984c3d5b}));
  EXPECT_EQ(packed(unsigned_codes({-128, -1, 0, 127}, 8), 8, WordLayout::kDense), (Words{0xff807f00}));
  const auto int3 = unsigned_codes({-4, -3, -2, -1, 0, 1, 2, 3, -4, -3, -2, -1, 0, 1, 2, 3}, 3);
  EXPECT_EQ(packed(int3, 3, WordLayout::kDense), (Words{0x88fac688, 0x0000fac6}));
  EXPECT_EQ(packed(int3, 3, WordLayout::kPadded), (Words{0x08fac688, 0x0003eb1a}));
  const auto zeros = unsigned_codes({-8, 0, 7, 1, -1, 2, 3, 4, 5}, 4);
  EXPECT_EQ(packed(zeros, 4, WordLayout::kDense), (Words{0xcba79f80, 0x0000000d}));
}

TEST(PackedWords, EveryLayoutComesBack) {
  for (int64_t bits = 1; bits <= 8; ++bits) {
    std::vector<uint8_t> codes;
    for (int i = 0; i < 96; ++i) codes.push_back(static_cast<uint8_t>((i * 37 + 11) % (1 << bits)));
    for (const auto layout : {WordLayout::kDense, WordLayout::kPadded, WordLayout::kPlanar}) {
      std::vector<uint8_t> back(codes.size());
      unpack_words(packed(codes, bits, layout), bits, layout, back);
      EXPECT_EQ(back, codes) << bits;
    }
  }
  // Planar 3 bit: two words of low pairs, one of high bits; 2, 4 and 8 bit are the dense layout.
  std::vector<uint8_t> codes(32);
  codes[0] = 5;
  codes[17] = 6;
  EXPECT_EQ(packed(codes, 3, WordLayout::kPlanar), (std::vector<uint32_t>{0x1, 0x8, 0x00020001}));
}

TEST(Gptq, IsPackedAlongTheInputs) {
  const std::vector<uint8_t> column = {7, 3, 10, 13, 15, 0, 11, 11, 6, 6, 7, 5, 0, 13, 3, 9};
  std::vector<uint8_t> codes;  // [8, 16]: output 0 as given, the others zero
  codes.insert(codes.end(), column.begin(), column.end());
  codes.resize(8 * 16);
  const auto words = pack_gptq_codes(codes, 8, 4, WordLayout::kDense);
  EXPECT_EQ(words[0], 0xbb0fda37U);
  EXPECT_EQ(words[8], 0x93d05766U);
  EXPECT_EQ(unpack_gptq_codes(words, 8, 16, 4, WordLayout::kDense), codes);
}

TEST(Gptq, ZeroFieldsAreUnpackedBeforeOneIsAdded) {
  const std::vector<uint32_t> words = {0x77777777, 0xf6543210};  // [2 groups, 1]
  const auto fields = unpack_gptq_zeros(words, 8, 2, 4, WordLayout::kDense);
  const std::vector<int> expected = {1, 2, 3, 4, 5, 6, 7, 16};
  for (size_t r = 0; r < 8; ++r) {
    EXPECT_EQ(fields[r * 2] + 1, 8);
    EXPECT_EQ(fields[r * 2 + 1] + 1, expected[r]);
  }
  std::vector<uint8_t> v2;
  for (size_t r = 0; r < 8; ++r) {
    v2.push_back(8);
    v2.push_back(static_cast<uint8_t>(r == 7 ? 15 : expected[r]));
  }
  EXPECT_EQ(pack_gptq_zeros(v2, 8, 4, WordLayout::kDense), (std::vector<uint32_t>{0x88888888, 0xf7654321}));
}

TEST(Gptq, MislabelledZerosAreFound) {
  const std::vector<uint8_t> eights(16, 8), sevens(16, 7), mixed = {7, 8};
  const auto v1 = GptqZeros::kStoredMinusOne, v2 = GptqZeros::kStored;
  EXPECT_EQ(detect_gptq_zeros(eights, 4, true, v1), v2);
  EXPECT_EQ(detect_gptq_zeros(sevens, 4, true, v2), v1);
  EXPECT_EQ(detect_gptq_zeros(mixed, 4, true, v1), v1);
  EXPECT_EQ(detect_gptq_zeros(eights, 4, false, v1), v1);
}

TEST(Awq, InterleavesTheOutputs) {
  const std::vector<uint8_t> codes = {0, 1, 2, 3, 4, 5, 6, 7};  // [8, 1]
  EXPECT_EQ(pack_awq(codes, 8), std::vector<uint32_t>{0x75316420});
  std::vector<uint8_t> many;
  for (int i = 0; i < 16 * 5; ++i) many.push_back(static_cast<uint8_t>(i * 7 % 16));
  EXPECT_EQ(unpack_awq(pack_awq(many, 16), 16), many);
}

TEST(Bitmask, CountsFromTheLowestBit) {
  const std::vector<uint8_t> mask = {0x9a, 0x0c, 0x23, 0x00};
  const auto stored = expand_bitmask(mask, 2, 12);
  const std::vector<uint8_t> row0 = {0, 1, 0, 1, 1, 0, 0, 1, 0, 0, 1, 1}, row1 = {1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(std::vector<uint8_t>(stored.begin(), stored.begin() + 12), row0);
  EXPECT_EQ(std::vector<uint8_t>(stored.begin() + 12, stored.end()), row1);
}

TEST(SmallFloats, Float8) {
  EXPECT_EQ(float_to_float8_e4m3(1.0F), 0x38);
  EXPECT_EQ(float_to_float8_e4m3(-1.5F), 0xbc);
  EXPECT_EQ(float_to_float8_e4m3(448.0F), 0x7e);
  EXPECT_EQ(float_to_float8_e4m3(std::ldexp(1.0F, -9)), 0x01);
  EXPECT_EQ(float_to_float8_e4m3(0.0703125F), 0x19);
  EXPECT_EQ(float_to_float8_e4m3(1e9F), 0x7e);
  for (int bits = 0; bits < 256; ++bits) {
    const float value = float8_e4m3_to_float(static_cast<uint8_t>(bits));
    if (!std::isnan(value)) {
      EXPECT_EQ(float_to_float8_e4m3(value), bits);
    }
  }
}

TEST(SmallFloats, EveryHalfComesBack) {
  for (int bits = 0; bits < 65536; ++bits) {
    const float value = half_to_float(static_cast<uint16_t>(bits));
    if (!std::isnan(value)) {
      ASSERT_EQ(float_to_half(value), bits);
    }
  }
  EXPECT_EQ(float_to_half(65519.0F), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0F), 0x7c00);
  EXPECT_EQ(float_to_half(1.0F + std::ldexp(1.0F, -11)), 0x3c00);  // a tie goes to even
}

std::vector<uint8_t> quantized(GgufType type, const std::vector<float>& values) {
  const GgufTypeInfo& info = gguf_type_info(type);
  std::vector<uint8_t> bytes(values.size() / static_cast<size_t>(info.elements) * static_cast<size_t>(info.bytes));
  quantize_gguf(type, values, bytes);
  return bytes;
}

std::vector<float> dequantized(GgufType type, const std::vector<uint8_t>& bytes) {
  const GgufTypeInfo& info = gguf_type_info(type);
  std::vector<float> values(bytes.size() / static_cast<size_t>(info.bytes) * static_cast<size_t>(info.elements));
  dequantize_gguf(type, bytes, values);
  return values;
}

TEST(GgufBlocks, SmallBlocksAreBitForBitThoseOfGgml) {
  std::vector<float> row;
  for (int i = 0; i < 32; ++i) row.push_back(static_cast<float>(i - 16) / 4);
  EXPECT_EQ(quantized(GgufType::kQ8_0, row),
            (std::vector<uint8_t>{0x08, 0x28, 0x81, 0x89, 0x91, 0x99, 0xa1, 0xa9, 0xb1, 0xb9, 0xc0, 0xc8,
                                  0xd0, 0xd8, 0xe0, 0xe8, 0xf0, 0xf8, 0x00, 0x08, 0x10, 0x18, 0x20, 0x28,
                                  0x30, 0x38, 0x40, 0x47, 0x4f, 0x57, 0x5f, 0x67, 0x6f, 0x77}));
  const auto q4 = quantized(GgufType::kQ4_0, row);
  EXPECT_EQ(q4, (std::vector<uint8_t>{0x00, 0x38, 0x80, 0x91, 0x91, 0xa2, 0xa2, 0xb3, 0xb3, 0xc4, 0xc4, 0xd5, 0xd5,
                                      0xe6, 0xe6, 0xf7, 0xf7, 0xf8}));
  const auto back = dequantized(GgufType::kQ4_0, q4);
  EXPECT_EQ(back[0], -4);
  EXPECT_EQ(back[1], -3.5F);
  EXPECT_EQ(back[2], -3.5F);
  EXPECT_EQ(back[3], -3);
  EXPECT_EQ(back[31], 3.5F);
}

TEST(GgufBlocks, KScalesAndCodes) {
  const uint8_t scales[8] = {1, 2, 3, 63, 33, 34, 50, 17}, minima[8] = {0, 1, 62, 5, 40, 3, 16, 63};
  std::vector<uint8_t> block(144);
  gguf_block::store_half(block.data(), 0.5F);
  gguf_block::store_half(block.data() + 2, 0.25F);
  gguf_block::store_k_scales(scales, minima, block.data() + 4);
  const uint8_t expected[12] = {0x81, 0x82, 0xc3, 0x7f, 0x80, 0x01, 0x7e, 0xc5, 0x81, 0x32, 0x02, 0xf1};
  EXPECT_EQ(std::memcmp(block.data() + 4, expected, 12), 0);
  uint8_t codes[256];
  for (int i = 0; i < 256; ++i) codes[i] = static_cast<uint8_t>((7 * i + 3) % 16);
  gguf_block::store_k_codes(codes, block.data() + 16, nullptr);
  const uint8_t first[4] = {0x33, 0xaa, 0x11, 0x88};
  EXPECT_EQ(std::memcmp(block.data() + 16, first, 4), 0);
  const auto x = dequantized(GgufType::kQ4K, block);
  EXPECT_EQ(x[0], 1.5F);
  EXPECT_EQ(x[1], 5);
  EXPECT_EQ(x[2], 0.5F);
  EXPECT_EQ(x[32], 2.75F);
  EXPECT_EQ(x[33], 9.75F);
  EXPECT_EQ(x[34], 0.75F);
  EXPECT_EQ(x[128], 39.5F);
  EXPECT_EQ(x[129], 155);
  EXPECT_EQ(x[130], 6.5F);
}

TEST(GgufBlocks, Q6K) {
  std::vector<uint8_t> block(210);
  uint8_t codes[256], back[256];
  for (int i = 0; i < 256; ++i) codes[i] = static_cast<uint8_t>((37 * i + 11) % 64);
  gguf_block::store_q6_codes(codes, block.data(), block.data() + 128);
  for (int k = 0; k < 16; ++k) block[192 + static_cast<size_t>(k)] = static_cast<uint8_t>(5 * k - 40);
  gguf_block::store_half(block.data() + 208, 0.125F);
  EXPECT_EQ(block[0], 0xbb);
  EXPECT_EQ(block[32], 0xbb);
  EXPECT_EQ(block[128], 0x88);
  EXPECT_EQ(dequantized(GgufType::kQ6K, block)[0], 105);
  gguf_block::load_q6_codes(block.data(), block.data() + 128, back);
  EXPECT_EQ(std::memcmp(codes, back, 256), 0);
}

// Relative squared error of a round trip through each written type on a fixed bell-shaped row.
TEST(GgufBlocks, WritersStayWithinTheirResolution) {
  std::vector<float> row;
  for (int i = 0; i < 1024; ++i) {
    const int mixed = (i * 7919 + 104729) % 1009 + (i * 6007 + 7) % 997 + (i * 3571 + 3) % 991;
    row.push_back((static_cast<float>(mixed) - 1498) / 500);
  }
  const std::pair<GgufType, double> limits[] = {
      {GgufType::kF32, 0},     {GgufType::kF16, 1e-7},   {GgufType::kBF16, 1e-5}, {GgufType::kQ8_0, 1e-4},
      {GgufType::kQ6K, 4e-4},  {GgufType::kQ5K, 1.5e-3}, {GgufType::kQ5_0, 2e-3}, {GgufType::kQ4K, 6e-3},
      {GgufType::kQ4_1, 7e-3}, {GgufType::kQ4_0, 1e-2},
  };
  for (const auto& [type, limit] : limits) {
    const auto back = dequantized(type, quantized(type, row));
    double error = 0, size = 0;
    for (size_t i = 0; i < row.size(); ++i) {
      error += std::pow(back[i] - row[i], 2);
      size += std::pow(row[i], 2);
    }
    EXPECT_LE(error / size, limit) << gguf_type_info(type).name;
  }
  for (const GgufTypeInfo& info : gguf_types()) {
    if (!info.is_written) continue;
    const auto zero = dequantized(info.type, quantized(info.type, std::vector<float>(256)));
    for (const float value : zero) EXPECT_EQ(value, 0);
  }
}

TEST(GgufBlocks, GridsAgreeWithTheValues) {
  for (const GgufType type : {GgufType::kQ4_0, GgufType::kQ5_0, GgufType::kQ8_0, GgufType::kQ3K, GgufType::kQ6K}) {
    const GgufTypeInfo& info = gguf_type_info(type);
    std::vector<uint8_t> bytes(static_cast<size_t>(info.bytes * 3));
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 151 + 17);
    for (size_t b = 0; b < 3; ++b) {
      const size_t scale = type == GgufType::kQ3K || type == GgufType::kQ6K ? static_cast<size_t>(info.bytes) - 2 : 0;
      gguf_block::store_half(bytes.data() + b * static_cast<size_t>(info.bytes) + scale, 0.75F);
    }
    const GgufGrid grid = *gguf_grid(type);
    std::vector<uint8_t> codes(static_cast<size_t>(info.elements * 3));
    std::vector<float> scales(codes.size() / static_cast<size_t>(grid.group));
    read_gguf_grid(type, bytes, codes, scales);
    const auto values = dequantized(type, bytes);
    for (size_t i = 0; i < codes.size(); ++i) {
      ASSERT_LT(codes[i], 1 << grid.bits);
      ASSERT_EQ(values[i], scales[i / static_cast<size_t>(grid.group)] * static_cast<float>(codes[i] - grid.zero));
    }
  }
}

}  // namespace
}  // namespace ockham
