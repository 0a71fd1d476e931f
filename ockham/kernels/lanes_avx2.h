// The names of lanes_avx512.h in pairs of registers of AVX2.

struct Bytes {
  __m256i low, high;
};
using Ints = Bytes;
struct Floats {
  __m256 low, high;
};

OCKHAM_INLINE __m256i load_half(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}
OCKHAM_INLINE Bytes load_bytes(const void* from) {
  return {load_half(from), load_half(static_cast<const uint8_t*>(from) + 32)};
}
OCKHAM_INLINE Bytes and_bytes(Bytes a, Bytes b) {
  return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)};
}
OCKHAM_INLINE Bytes fill_bytes(uint8_t value) {
  const __m256i all = _mm256_set1_epi8(static_cast<char>(value));
  return {all, all};
}
template <int kBits>
OCKHAM_INLINE Bytes shift_bytes(Bytes a) {
  return {_mm256_srli_epi16(a.low, kBits), _mm256_srli_epi16(a.high, kBits)};
}
template <uint8_t kMask>
OCKHAM_INLINE Bytes select_bits(Bytes a, Bytes b) {
  const __m256i mask = _mm256_set1_epi8(static_cast<char>(kMask));
  return {_mm256_or_si256(_mm256_and_si256(mask, a.low), _mm256_andnot_si256(mask, b.low)),
          _mm256_or_si256(_mm256_and_si256(mask, a.high), _mm256_andnot_si256(mask, b.high))};
}

OCKHAM_INLINE Bytes subtract_bytes(Bytes a, Bytes b) {
  return {_mm256_sub_epi8(a.low, b.low), _mm256_sub_epi8(a.high, b.high)};
}
OCKHAM_INLINE void store_bytes(void* to, Bytes value) {
  _mm256_storeu_si256(static_cast<__m256i*>(to), value.low);
  _mm256_storeu_si256(static_cast<__m256i*>(to) + 1, value.high);
}

OCKHAM_INLINE Ints zero_ints() {
  return {_mm256_setzero_si256(), _mm256_setzero_si256()};
}
OCKHAM_INLINE Ints fill_ints(int32_t value) {
  const __m256i all = _mm256_set1_epi32(value);
  return {all, all};
}
OCKHAM_INLINE Ints multiply_subtract_ints(Ints a, Ints b, Ints c) {
  return {_mm256_sub_epi32(c.low, _mm256_mullo_epi32(a.low, b.low)),
          _mm256_sub_epi32(c.high, _mm256_mullo_epi32(a.high, b.high))};
}
OCKHAM_INLINE Ints add_ints(Ints a, Ints b) {
  return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}
template <int kBits>
OCKHAM_INLINE Ints shift_ints_left(Ints a) {
  return {_mm256_slli_epi32(a.low, kBits), _mm256_slli_epi32(a.high, kBits)};
}
template <int kBits>
OCKHAM_INLINE Ints shift_ints_right(Ints a) {
  return {_mm256_srai_epi32(a.low, kBits), _mm256_srai_epi32(a.high, kBits)};
}
// Products are added here and now: GCC would gather those of a whole loop first, in memory, for want of registers.
OCKHAM_INLINE void fix_order(Ints& sum) {
  asm volatile("" : "+x"(sum.low), "+x"(sum.high));
}

OCKHAM_INLINE __m256i dot_half(__m256i sum, __m256i codes, __m256i x) {
  const __m256i pairs = _mm256_maddubs_epi16(codes, x);
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
// Four inputs in every lane.
OCKHAM_INLINE __m256i fill_quads(const int8_t* x) {
  int32_t quad;
  std::memcpy(&quad, x, sizeof quad);
  return _mm256_set1_epi32(quad);
}
OCKHAM_INLINE Ints dot(Ints sum, Bytes codes, const int8_t* x) {
  const __m256i all = fill_quads(x);
  sum = {dot_half(sum.low, codes.low, all), dot_half(sum.high, codes.high, all)};
  fix_order(sum);
  return sum;
}
OCKHAM_INLINE __m256i dot_wide_half(__m256i sum, __m256i codes, __m256i even, __m256i odd) {
  const __m256i low = _mm256_and_si256(codes, _mm256_set1_epi16(0xff)), high = _mm256_srli_epi16(codes, 8);
  return _mm256_add_epi32(sum, _mm256_add_epi32(_mm256_madd_epi16(low, even), _mm256_madd_epi16(high, odd)));
}
OCKHAM_INLINE Ints dot_wide(Ints sum, Bytes codes, const int8_t* x) {
  const __m256i all = fill_quads(x);
  const __m256i odd = _mm256_srai_epi16(all, 8), even = _mm256_srai_epi16(_mm256_slli_epi16(all, 8), 8);
  sum = {dot_wide_half(sum.low, codes.low, even, odd), dot_wide_half(sum.high, codes.high, even, odd)};
  fix_order(sum);
  return sum;
}

OCKHAM_INLINE Floats zero_floats() {
  return {_mm256_setzero_ps(), _mm256_setzero_ps()};
}
OCKHAM_INLINE Floats fill_floats(float value) {
  return {_mm256_set1_ps(value), _mm256_set1_ps(value)};
}
OCKHAM_INLINE Floats load_floats(const float* from) {
  return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)};
}
OCKHAM_INLINE void store_floats(float* to, Floats value) {
  _mm256_storeu_ps(to, value.low);
  _mm256_storeu_ps(to + 8, value.high);
}
OCKHAM_INLINE Floats to_floats(Ints value) {
  return {_mm256_cvtepi32_ps(value.low), _mm256_cvtepi32_ps(value.high)};
}
OCKHAM_INLINE Floats add_floats(Floats a, Floats b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
OCKHAM_INLINE Floats multiply_floats(Floats a, Floats b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
OCKHAM_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
OCKHAM_INLINE float sum_floats(Floats a) {
  const __m256 eight = _mm256_add_ps(a.low, a.high);
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
OCKHAM_INLINE void store_sums(float* to, const Floats* of) {
  for (int i = 0; i < 4; ++i) to[i] = sum_floats(of[i]);
}
OCKHAM_INLINE __m128i load_quarter(const void* from) {
  return _mm_loadu_si128(static_cast<const __m128i*>(from));
}
OCKHAM_INLINE Floats load_f16(const void* from) {
  const auto* bytes = static_cast<const uint8_t*>(from);
  return {_mm256_cvtph_ps(load_quarter(bytes)), _mm256_cvtph_ps(load_quarter(bytes + 16))};
}
OCKHAM_INLINE __m256 widen_bf16(__m128i bits) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
OCKHAM_INLINE Floats load_bf16(const void* from) {
  const auto* bytes = static_cast<const uint8_t*>(from);
  return {widen_bf16(load_quarter(bytes)), widen_bf16(load_quarter(bytes + 16))};
}
OCKHAM_INLINE void split_bf16_pairs(Bytes bits, Floats& even, Floats& odd) {
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000U));
  even = {_mm256_castsi256_ps(_mm256_slli_epi32(bits.low, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(bits.high, 16))};
  odd = {_mm256_castsi256_ps(_mm256_and_si256(bits.low, upper)),
         _mm256_castsi256_ps(_mm256_and_si256(bits.high, upper))};
}
OCKHAM_INLINE void load_bf16_pairs(const void* from, Floats& even, Floats& odd) {
  split_bf16_pairs(load_bytes(from), even, odd);
}
OCKHAM_INLINE Ints widen_u8(const uint8_t* from) {
  const __m128i bytes = load_quarter(from);
  return {_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))};
}

OCKHAM_INLINE Ints first_bytes(Bytes lanes) {
  const __m256i ones = _mm256_set1_epi32(255);
  return {_mm256_and_si256(lanes.low, ones), _mm256_and_si256(lanes.high, ones)};
}
OCKHAM_INLINE Floats upper_bf16(Bytes lanes) {
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000U));
  return {_mm256_castsi256_ps(_mm256_and_si256(lanes.low, upper)),
          _mm256_castsi256_ps(_mm256_and_si256(lanes.high, upper))};
}
OCKHAM_INLINE __m256 upper_f16_half(__m256i lanes) {
  const __m256i places =
      _mm256_and_si256(_mm256_srai_epi32(lanes, 3), _mm256_set1_epi32(static_cast<int>(0x8fffe000U)));
  return _mm256_mul_ps(_mm256_castsi256_ps(places), _mm256_set1_ps(0x1p112F));
}
OCKHAM_INLINE Floats upper_f16(Bytes lanes) {
  return {upper_f16_half(lanes.low), upper_f16_half(lanes.high)};
}
OCKHAM_INLINE Bytes repeat_bytes(Ints lanes) {
  const __m256i ones = _mm256_set1_epi32(0x01010101);
  return {_mm256_mullo_epi32(lanes.low, ones), _mm256_mullo_epi32(lanes.high, ones)};
}
OCKHAM_INLINE Bytes spread_bytes(const uint8_t* from) {
  return repeat_bytes(widen_u8(from));
}
template <int kCount>
OCKHAM_INLINE Ints add_first_bytes(Ints a, Bytes from) {
  const __m256i ones = _mm256_set1_epi32(255);
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) {
    a.low = _mm256_add_epi32(a.low, _mm256_and_si256(_mm256_srli_epi32(from.low, 8 * i), ones));
    a.high = _mm256_add_epi32(a.high, _mm256_and_si256(_mm256_srli_epi32(from.high, 8 * i), ones));
  }
  return a;
}
OCKHAM_INLINE Floats gather_floats(const float* from, Ints index) {
  return {_mm256_i32gather_ps(from, index.low, 4), _mm256_i32gather_ps(from, index.high, 4)};
}
OCKHAM_INLINE Floats load_i8(const uint8_t* from) {
  const __m128i bytes = load_quarter(from);
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
}

constexpr int kRowsOfTile = 4, kPanelsOfTile = 1;
// Widths that may be summed in 16 bits for as many quads: a pair of products of a quad with inputs of up to 127 is at
// most 254 * (2^kBits - 1). Inputs of two planes are words anyway: codes widened to words take one product for both.
template <int kPlanes, int kBits>
constexpr int kDotOf = kPlanes == 2 ? 8
                       : kBits <= 5 ? 5
                                    : kBits;
template <int kBits>
struct CodeDot {
  static constexpr int kQuadsOfRun = kBits == 5 ? 4 : 2, kInputBytes = 1;
  using Codes = Bytes;
  static OCKHAM_INLINE Bytes load(const uint8_t* from) { return load_bytes(from); }
  static OCKHAM_INLINE __m256i input(const int8_t* x) { return fill_quads(x); }
  static OCKHAM_INLINE void add(Ints& run, Bytes codes, __m256i x) {
    run.low = _mm256_add_epi16(run.low, _mm256_maddubs_epi16(codes.low, x));
    run.high = _mm256_add_epi16(run.high, _mm256_maddubs_epi16(codes.high, x));
    fix_order(run);
  }
  static OCKHAM_INLINE Ints add_run(Ints sum, Ints run) {
    const __m256i ones = _mm256_set1_epi16(1);
    return add_ints(sum, {_mm256_madd_epi16(run.low, ones), _mm256_madd_epi16(run.high, ones)});
  }
};
// Pairs of codes of 8 bits do not fit 16 bits: those at even and at odd places are words of their own. Sums of 32 bits
// hold the products of a group with words, 512 * 255 * 16256 at most.
template <>
struct CodeDot<8> {
  static constexpr int kQuadsOfRun = 0, kInputBytes = 2;
  struct Words {
    __m256i even, odd;
  };
  struct Codes {
    Words low, high;
  };
  static OCKHAM_INLINE Words widen(__m256i codes) {
    return {_mm256_and_si256(codes, _mm256_set1_epi16(0xff)), _mm256_srli_epi16(codes, 8)};
  }
  static OCKHAM_INLINE Codes load(const uint8_t* from) { return {widen(load_half(from)), widen(load_half(from + 32))}; }
  // Of each quad the even ones, then the odd ones. low: null if there is one plane.
  static OCKHAM_INLINE void widen_inputs(const int8_t* high, const int8_t* low, int64_t columns, int8_t* to) {
    const __m128i half = _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
    const __m256i order = _mm256_broadcastsi128_si256(half);
    for (int64_t c = 0; c < columns; c += 16) {
      __m256i words = _mm256_cvtepi8_epi16(load_quarter(high + c));
      if (low != nullptr)
        words = _mm256_add_epi16(_mm256_slli_epi16(words, 7), _mm256_cvtepi8_epi16(load_quarter(low + c)));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 2 * c), _mm256_shuffle_epi8(words, order));
    }
  }
  // One after the other: sixteen registers hold the sums and codes of a tile, and little else.
  static OCKHAM_INLINE const int8_t* input(const int8_t* wide) { return wide; }
  static OCKHAM_INLINE void add(Ints& sum, const Codes& codes, const int8_t* wide) {
    const __m256i even = fill_quads(wide);
    sum.low = _mm256_add_epi32(sum.low, _mm256_madd_epi16(codes.low.even, even));
    sum.high = _mm256_add_epi32(sum.high, _mm256_madd_epi16(codes.high.even, even));
    fix_order(sum);
    const __m256i odd = fill_quads(wide + 4);
    sum.low = _mm256_add_epi32(sum.low, _mm256_madd_epi16(codes.low.odd, odd));
    sum.high = _mm256_add_epi32(sum.high, _mm256_madd_epi16(codes.high.odd, odd));
    fix_order(sum);
  }
};
