// Writing of GGUF's blocks from floating-point values.
#include <algorithm>
#include <bit>
#include <cmath>

#include "ockham/core/error.h"
#include "ockham/io/formats/gguf_blocks.h"
#include "ockham/io/formats/gguf_codes.h"

namespace ockham {
namespace {

using namespace gguf_block;

// The scale candidates of a sub-block: levels - 1 to levels + 1 in this many steps.
constexpr int kCandidates = 21;

int clamp_round(float value, int low, int high) {
  return std::clamp(static_cast<int>(std::nearbyint(std::clamp(value, -1e6F, 1e6F))), low, high);
}

float inverse(float value) {
  return std::fabs(value) < 1e-30F ? 0 : 1 / value;
}

float signed_peak(const float* x, int count) {
  float peak = 0;
  for (int i = 0; i < count; ++i) {
    if (std::fabs(x[i]) > std::fabs(peak)) peak = x[i];
  }
  return peak;
}

void quantize_float(GgufType type, float value, uint8_t* out) {
  if (type == GgufType::kF16) {
    store_half(out, value);
  } else if (type == GgufType::kBF16) {
    const auto bits = std::bit_cast<uint32_t>(value);
    store_half_bits(out, static_cast<uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16));
  } else {
    std::memcpy(out, &value, sizeof value);
  }
}

// Q8_0: the reciprocal is that of the float32 scale, before it is rounded to F16.
void quantize_q8(const float* x, uint8_t* block) {
  const float scale = std::fabs(signed_peak(x, kSmall)) / 127, reciprocal = inverse(scale);
  store_half(block, scale);
  for (int i = 0; i < kSmall; ++i)
    block[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(std::round(x[i] * reciprocal)));
}

// Q4_0 and Q5_0: the value of largest magnitude becomes the code 0.
void quantize_small(const float* x, int zero, uint8_t* block) {
  const float scale = signed_peak(x, kSmall) / static_cast<float>(-zero), reciprocal = inverse(scale);
  store_half(block, scale);
  uint8_t codes[kSmall];
  for (int i = 0; i < kSmall; ++i) {
    const int code = static_cast<int>(x[i] * reciprocal + static_cast<float>(zero) + 0.5F);
    codes[i] = static_cast<uint8_t>(std::clamp(code, 0, 2 * zero - 1));
  }
  const bool has_high = zero == 16;
  store_small(codes, block + (has_high ? 6 : 2), has_high ? block + 2 : nullptr);
}

void quantize_q4_1(const float* x, uint8_t* block) {
  const auto [low, high] = std::minmax_element(x, x + kSmall);
  const float scale = (*high - *low) / 15, reciprocal = inverse(scale);
  store_half(block, scale);
  store_half(block + 2, *low);
  uint8_t codes[kSmall];
  for (int i = 0; i < kSmall; ++i)
    codes[i] = static_cast<uint8_t>(std::clamp(static_cast<int>((x[i] - *low) * reciprocal + 0.5F), 0, 15));
  store_small(codes, block + 4, nullptr);
}

struct Affine {
  float scale = 0, minimum = 0;  // x = scale u - minimum, both at least 0
};

// Least squares of x against codes u: the line and its squared error, with the minimum kept at or above zero.
float fit_affine(const float* x, const uint8_t* codes, Affine& fit) {
  double sum_u = 0, sum_uu = 0, sum_x = 0, sum_ux = 0;
  for (int i = 0; i < kSmall; ++i) {
    const double u = codes[i];
    sum_u += u;
    sum_uu += u * u;
    sum_x += x[i];
    sum_ux += u * x[i];
  }
  const double determinant = kSmall * sum_uu - sum_u * sum_u;
  if (determinant > 0) {
    double scale = (kSmall * sum_ux - sum_u * sum_x) / determinant;
    double minimum = (scale * sum_u - sum_x) / kSmall;
    if (minimum < 0) {
      minimum = 0;
      scale = sum_ux / sum_uu;
    }
    if (scale > 0) fit = {static_cast<float>(scale), static_cast<float>(minimum)};
  }
  float error = 0;
  for (int i = 0; i < kSmall; ++i) {
    const float miss = fit.scale * codes[i] - fit.minimum - x[i];
    error += miss * miss;
  }
  return error;
}

Affine search_affine(const float* x, int levels) {
  const auto [lowest, highest] = std::minmax_element(x, x + kSmall);
  const float low = std::min(0.0F, *lowest), range = *highest - low;
  if (!(range > 0)) return {0, -low};
  Affine best{range / static_cast<float>(levels), -low};
  float best_error = INFINITY;
  uint8_t codes[kSmall];
  for (int candidate = 0; candidate < kCandidates; ++candidate) {
    const float steps = static_cast<float>(levels) - 1 + 0.1F * static_cast<float>(candidate);
    for (int i = 0; i < kSmall; ++i)
      codes[i] = static_cast<uint8_t>(clamp_round((x[i] - low) * steps / range, 0, levels));
    Affine fit{range / steps, -low};
    const float error = fit_affine(x, codes, fit);
    if (error < best_error) {
      best_error = error;
      best = fit;
    }
  }
  return best;
}

// Q4_K and Q5_K.
void quantize_k(const float* x, int levels, uint8_t* block) {
  Affine fits[8];
  float largest_scale = 0, largest_minimum = 0;
  for (int s = 0; s < 8; ++s) {
    fits[s] = search_affine(x + s * 32, levels);
    largest_scale = std::max(largest_scale, fits[s].scale);
    largest_minimum = std::max(largest_minimum, fits[s].minimum);
  }
  const float scale = store_half(block, largest_scale / 63), minimum = store_half(block + 2, largest_minimum / 63);
  uint8_t scales[8], minima[8], codes[kSuper];
  for (int s = 0; s < 8; ++s) {
    scales[s] = static_cast<uint8_t>(clamp_round(fits[s].scale * inverse(scale), 0, 63));
    minima[s] = static_cast<uint8_t>(clamp_round(fits[s].minimum * inverse(minimum), 0, 63));
    const float step = inverse(scale * scales[s]), offset = minimum * minima[s];
    for (int i = s * 32; i < s * 32 + 32; ++i)
      codes[i] = static_cast<uint8_t>(clamp_round((x[i] + offset) * step, 0, levels));
  }
  store_k_scales(scales, minima, block + 4);
  const bool has_high = levels == 31;
  store_k_codes(codes, block + (has_high ? 48 : 16), has_high ? block + 16 : nullptr);
}

// The signed scale of least squared error for codes -32 .. 31 of 16 values.
float search_q6_scale(const float* x) {
  const float peak = signed_peak(x, 16);
  if (peak == 0) return 0;
  float best = 0, best_gain = -1;
  for (int candidate = 0; candidate < kCandidates; ++candidate) {
    const float reciprocal = -(31 + 0.1F * static_cast<float>(candidate)) / peak;
    float sum_qx = 0, sum_qq = 0;
    for (int i = 0; i < 16; ++i) {
      const auto q = static_cast<float>(clamp_round(x[i] * reciprocal, -32, 31));
      sum_qx += q * x[i];
      sum_qq += q * q;
    }
    if (sum_qq > 0 && sum_qx * sum_qx > best_gain * sum_qq) {
      best_gain = sum_qx * sum_qx / sum_qq;
      best = sum_qx / sum_qq;
    }
  }
  return best;
}

void quantize_q6(const float* x, uint8_t* block) {
  float scales[16], peak = 0;
  for (int s = 0; s < 16; ++s) {
    scales[s] = search_q6_scale(x + s * 16);
    if (std::fabs(scales[s]) > std::fabs(peak)) peak = scales[s];
  }
  const float scale = store_half(block + 208, peak / -128);
  uint8_t codes[kSuper];
  for (int s = 0; s < 16; ++s) {
    const int quantized = clamp_round(scales[s] * inverse(scale), -128, 127);
    block[192 + s] = static_cast<uint8_t>(static_cast<int8_t>(quantized));
    const float step = inverse(scale * static_cast<float>(quantized));
    for (int i = s * 16; i < s * 16 + 16; ++i) codes[i] = static_cast<uint8_t>(clamp_round(x[i] * step, -32, 31) + 32);
  }
  store_q6_codes(codes, block, block + 128);
}

}  // namespace

void quantize_gguf(GgufType type, std::span<const float> values, std::span<uint8_t> bytes) {
  const GgufTypeInfo& info = gguf_type_info(type);
  const int64_t blocks = static_cast<int64_t>(values.size()) / info.elements;
  OCKHAM_CHECK(info.is_written && blocks * info.elements == static_cast<int64_t>(values.size()));
  OCKHAM_CHECK(blocks * info.bytes == static_cast<int64_t>(bytes.size()));
  for (int64_t b = 0; b < blocks; ++b) {
    const float* x = values.data() + b * info.elements;
    uint8_t* block = bytes.data() + b * info.bytes;
    switch (type) {
      case GgufType::kQ8_0:
        quantize_q8(x, block);
        break;
      case GgufType::kQ4_0:
        quantize_small(x, 8, block);
        break;
      case GgufType::kQ5_0:
        quantize_small(x, 16, block);
        break;
      case GgufType::kQ4_1:
        quantize_q4_1(x, block);
        break;
      case GgufType::kQ4K:
        quantize_k(x, 15, block);
        break;
      case GgufType::kQ5K:
        quantize_k(x, 31, block);
        break;
      case GgufType::kQ6K:
        quantize_q6(x, block);
        break;
      default:
        quantize_float(type, *x, block);
    }
  }
}

}  // namespace ockham
