// Reading of GGUF's blocks, and writing of those whose grid is given.
#include "ockham/io/formats/gguf_blocks.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>

#include "ockham/core/error.h"
#include "ockham/io/formats/gguf_codes.h"

namespace ockham {
namespace {

using namespace gguf_block;

constexpr std::array<GgufTypeInfo, 13> kTypes = {{
    {GgufType::kF32, "F32", 1, 4, 0, true},
    {GgufType::kF16, "F16", 1, 2, 1, true},
    {GgufType::kBF16, "BF16", 1, 2, 32, true},
    {GgufType::kQ4_0, "Q4_0", 32, 18, 2, true},
    {GgufType::kQ4_1, "Q4_1", 32, 20, 3, true},
    {GgufType::kQ5_0, "Q5_0", 32, 22, 8, true},
    {GgufType::kQ5_1, "Q5_1", 32, 24, 9, false},
    {GgufType::kQ8_0, "Q8_0", 32, 34, 7, true},
    {GgufType::kQ2K, "Q2_K", 256, 84, 10, false},
    {GgufType::kQ3K, "Q3_K", 256, 110, 11, false},
    {GgufType::kQ4K, "Q4_K", 256, 144, 14, true},
    {GgufType::kQ5K, "Q5_K", 256, 176, 16, true},
    {GgufType::kQ6K, "Q6_K", 256, 210, 18, true},
}};

float load_float(GgufType type, const uint8_t* at) {
  if (type == GgufType::kF16) return load_half(at);
  if (type == GgufType::kBF16) return std::bit_cast<float>(uint32_t{load_half_bits(at)} << 16);
  float value = 0;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// Types with 32 elements and a minimum.
void read_small_minimum(const uint8_t* block, bool has_high, uint8_t* codes, float* scales, float* minima) {
  scales[0] = load_half(block);
  minima[0] = load_half(block + 2);
  load_small(block + (has_high ? 8 : 4), has_high ? block + 4 : nullptr, codes);
}

void read_q2_minima(const uint8_t* block, uint8_t* codes, float* scales, float* minima) {
  const float scale = load_half(block + 80), minimum = load_half(block + 82);
  load_q2_codes(block + 16, codes);
  for (int s = 0; s < 16; ++s) {
    scales[s] = scale * static_cast<float>(block[s] & 15);
    minima[s] = -(minimum * static_cast<float>(block[s] >> 4));
  }
}

void read_k_minima(const uint8_t* block, bool has_high, uint8_t* codes, float* scales, float* minima) {
  const float scale = load_half(block), minimum = load_half(block + 2);
  uint8_t of_scales[8], of_minima[8];
  load_k_scales(block + 4, of_scales, of_minima);
  load_k_codes(block + (has_high ? 48 : 16), has_high ? block + 16 : nullptr, codes);
  for (int s = 0; s < 8; ++s) {
    scales[s] = scale * static_cast<float>(of_scales[s]);
    minima[s] = -(minimum * static_cast<float>(of_minima[s]));
  }
}

void read_small_grid(GgufType type, const uint8_t* block, uint8_t* codes, float* scales) {
  scales[0] = load_half(block);
  if (type == GgufType::kQ8_0) {
    for (int i = 0; i < kSmall; ++i) codes[i] = block[2 + i] ^ 0x80U;  // signed to unsigned with zero 128
  } else if (type == GgufType::kQ5_0) {
    load_small(block + 6, block + 2, codes);
  } else {
    load_small(block + 2, nullptr, codes);
  }
}

void read_q3_grid(const uint8_t* block, uint8_t* codes, float* scales) {
  const float scale = load_half(block + 108);
  const uint8_t* packed = block + 96;
  load_q2_codes(block + 32, codes);
  for (int i = 0; i < kSuper; ++i) codes[i] |= static_cast<uint8_t>((block[i % 32] >> (i / 32) & 1U) << 2);
  for (int s = 0; s < 16; ++s) {
    const int low = s < 8 ? packed[s] & 15 : packed[s - 8] >> 4;
    const int high = packed[8 + s % 4] >> (2 * (s / 4)) & 3;
    scales[s] = scale * static_cast<float>((low | high << 4) - 32);
  }
}

void read_q6_grid(const uint8_t* block, uint8_t* codes, float* scales) {
  const float scale = load_half(block + 208);
  load_q6_codes(block, block + 128, codes);
  for (int s = 0; s < 16; ++s) scales[s] = scale * static_cast<float>(static_cast<int8_t>(block[192 + s]));
}

}  // namespace

std::span<const GgufTypeInfo> gguf_types() {
  return kTypes;
}

const GgufTypeInfo* find_gguf_type(uint32_t number) {
  for (const GgufTypeInfo& info : kTypes) {
    if (static_cast<uint32_t>(info.type) == number) return &info;
  }
  return nullptr;
}

const GgufTypeInfo* find_gguf_type(std::string_view name) {
  std::string upper(name);
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  for (const GgufTypeInfo& info : kTypes) {
    if (info.name == upper) return &info;
  }
  return nullptr;
}

const GgufTypeInfo& gguf_type_info(GgufType type) {
  const GgufTypeInfo* info = find_gguf_type(static_cast<uint32_t>(type));
  OCKHAM_CHECK(info != nullptr);
  return *info;
}

std::optional<GgufGrid> gguf_grid(GgufType type) {
  switch (type) {
    case GgufType::kQ4_0:
      return GgufGrid{4, kSmall, 8};
    case GgufType::kQ5_0:
      return GgufGrid{5, kSmall, 16};
    case GgufType::kQ8_0:
      return GgufGrid{8, kSmall, 128};
    case GgufType::kQ3K:
      return GgufGrid{3, 16, 4};
    case GgufType::kQ6K:
      return GgufGrid{6, 16, 32};
    default:
      return std::nullopt;
  }
}

void read_gguf_grid(GgufType type, std::span<const uint8_t> bytes, std::span<uint8_t> codes, std::span<float> scales) {
  const GgufTypeInfo& info = gguf_type_info(type);
  const auto grid = gguf_grid(type);
  OCKHAM_CHECK(grid.has_value());
  const int64_t blocks = static_cast<int64_t>(codes.size()) / info.elements, groups = info.elements / grid->group;
  OCKHAM_CHECK(blocks * info.elements == static_cast<int64_t>(codes.size()));
  OCKHAM_CHECK(blocks * info.bytes == static_cast<int64_t>(bytes.size()));
  OCKHAM_CHECK(blocks * groups == static_cast<int64_t>(scales.size()));
  for (int64_t b = 0; b < blocks; ++b) {
    const uint8_t* block = bytes.data() + b * info.bytes;
    uint8_t* out = codes.data() + b * info.elements;
    float* scale = scales.data() + b * groups;
    if (type == GgufType::kQ3K) {
      read_q3_grid(block, out, scale);
    } else if (type == GgufType::kQ6K) {
      read_q6_grid(block, out, scale);
    } else {
      read_small_grid(type, block, out, scale);
    }
  }
}

std::optional<GgufMinimumGrid> gguf_minimum_grid(GgufType type) {
  switch (type) {
    case GgufType::kQ4_1:
    case GgufType::kQ4K:
      return GgufMinimumGrid{4, kSmall};
    case GgufType::kQ5_1:
    case GgufType::kQ5K:
      return GgufMinimumGrid{5, kSmall};
    case GgufType::kQ2K:
      return GgufMinimumGrid{2, 16};
    default:
      return std::nullopt;
  }
}

void read_gguf_minimum_grid(GgufType type, std::span<const uint8_t> bytes, std::span<uint8_t> codes,
                            std::span<float> scales, std::span<float> minima) {
  const GgufTypeInfo& info = gguf_type_info(type);
  const auto grid = gguf_minimum_grid(type);
  OCKHAM_CHECK(grid.has_value());
  const int64_t blocks = static_cast<int64_t>(codes.size()) / info.elements, groups = info.elements / grid->group;
  OCKHAM_CHECK(blocks * info.elements == static_cast<int64_t>(codes.size()));
  OCKHAM_CHECK(blocks * info.bytes == static_cast<int64_t>(bytes.size()));
  OCKHAM_CHECK(blocks * groups == static_cast<int64_t>(scales.size()) && scales.size() == minima.size());
  for (int64_t b = 0; b < blocks; ++b) {
    const uint8_t* block = bytes.data() + b * info.bytes;
    uint8_t* out = codes.data() + b * info.elements;
    float *scale = scales.data() + b * groups, *minimum = minima.data() + b * groups;
    if (type == GgufType::kQ2K) {
      read_q2_minima(block, out, scale, minimum);
    } else if (info.elements == kSuper) {
      read_k_minima(block, type == GgufType::kQ5K, out, scale, minimum);
    } else {
      read_small_minimum(block, type == GgufType::kQ5_1, out, scale, minimum);
    }
  }
}

void write_gguf_grid(GgufType type, std::span<const uint8_t> codes, std::span<const uint16_t> scales,
                     std::span<uint8_t> bytes) {
  const GgufTypeInfo& info = gguf_type_info(type);
  OCKHAM_CHECK(type == GgufType::kQ4_0 || type == GgufType::kQ5_0 || type == GgufType::kQ8_0);
  OCKHAM_CHECK(codes.size() == scales.size() * kSmall);
  OCKHAM_CHECK(bytes.size() == scales.size() * static_cast<size_t>(info.bytes));
  for (size_t b = 0; b < scales.size(); ++b) {
    uint8_t* block = bytes.data() + b * static_cast<size_t>(info.bytes);
    const uint8_t* in = codes.data() + b * kSmall;
    store_half_bits(block, scales[b]);
    if (type == GgufType::kQ8_0) {
      for (int i = 0; i < kSmall; ++i) block[2 + i] = in[i] ^ 0x80U;
    } else if (type == GgufType::kQ5_0) {
      store_small(in, block + 6, block + 2);
    } else {
      store_small(in, block + 2, nullptr);
    }
  }
}

void dequantize_gguf(GgufType type, std::span<const uint8_t> bytes, std::span<float> values) {
  const GgufTypeInfo& info = gguf_type_info(type);
  const int64_t blocks = static_cast<int64_t>(values.size()) / info.elements;
  OCKHAM_CHECK(blocks * info.elements == static_cast<int64_t>(values.size()));
  OCKHAM_CHECK(blocks * info.bytes == static_cast<int64_t>(bytes.size()));
  const auto grid = gguf_grid(type);
  uint8_t codes[kSuper];
  float scales[16], minima[16];
  for (int64_t b = 0; b < blocks; ++b) {
    const uint8_t* block = bytes.data() + b * info.bytes;
    float* out = values.data() + b * info.elements;
    if (info.elements == 1) {
      out[0] = load_float(type, block);
    } else if (grid) {
      const auto elements = static_cast<size_t>(info.elements), group = static_cast<size_t>(grid->group);
      read_gguf_grid(type, {block, static_cast<size_t>(info.bytes)}, {codes, elements}, {scales, elements / group});
      for (size_t i = 0; i < elements; ++i)
        out[i] = scales[i / group] * static_cast<float>(static_cast<int>(codes[i]) - static_cast<int>(grid->zero));
    } else {
      const auto elements = static_cast<size_t>(info.elements),
                 group = static_cast<size_t>(gguf_minimum_grid(type)->group);
      read_gguf_minimum_grid(type, {block, static_cast<size_t>(info.bytes)}, {codes, elements},
                             {scales, elements / group}, {minima, elements / group});
      for (size_t i = 0; i < elements; ++i)
        out[i] = scales[i / group] * static_cast<float>(codes[i]) + minima[i / group];
    }
  }
}

}  // namespace ockham
