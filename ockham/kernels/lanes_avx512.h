// Vectors of 64 bytes, 16 integers and 16 floats as AVX-512 has them. Like lanes_avx2.h and lanes_portable.h, which
// offer the same names, it is included inside the namespace and the target of the kernels that use it.

using Bytes = __m512i;
using Ints = __m512i;
using Floats = __m512;

OCKHAM_INLINE Bytes load_bytes(const void* from) {
  return _mm512_loadu_si512(from);
}
OCKHAM_INLINE Bytes fill_bytes(uint8_t value) {
  return _mm512_set1_epi8(static_cast<char>(value));
}
OCKHAM_INLINE Bytes and_bytes(Bytes a, Bytes b) {
  return _mm512_and_si512(a, b);
}
// Bits move across the bytes of a pair: mask what comes out.
template <int kBits>
OCKHAM_INLINE Bytes shift_bytes(Bytes a) {
  return _mm512_srli_epi16(a, kBits);
}
// Bits of `a` where those of kMask are set, else of b.
template <uint8_t kMask>
OCKHAM_INLINE Bytes select_bits(Bytes a, Bytes b) {
  return _mm512_ternarylogic_epi32(fill_bytes(kMask), a, b, 0xCA);
}

OCKHAM_INLINE Bytes subtract_bytes(Bytes a, Bytes b) {
  return _mm512_sub_epi8(a, b);
}
OCKHAM_INLINE void store_bytes(void* to, Bytes value) {
  _mm512_storeu_si512(to, value);
}

OCKHAM_INLINE Ints zero_ints() {
  return _mm512_setzero_si512();
}
OCKHAM_INLINE Ints fill_ints(int32_t value) {
  return _mm512_set1_epi32(value);
}
OCKHAM_INLINE Ints add_ints(Ints a, Ints b) {
  return _mm512_add_epi32(a, b);
}
// c - a * b
OCKHAM_INLINE Ints multiply_subtract_ints(Ints a, Ints b, Ints c) {
  return _mm512_sub_epi32(c, _mm512_mullo_epi32(a, b));
}
template <int kBits>
OCKHAM_INLINE Ints shift_ints_left(Ints a) {
  return _mm512_slli_epi32(a, kBits);
}
template <int kBits>
OCKHAM_INLINE Ints shift_ints_right(Ints a) {
  return _mm512_srai_epi32(a, kBits);
}
// Four inputs in every lane.
OCKHAM_INLINE Bytes fill_quads(const int8_t* x) {
  int32_t quad;
  std::memcpy(&quad, x, sizeof quad);
  return _mm512_set1_epi32(quad);
}
// sum[r] += codes[4r + i] * x[i] for i of 0 to 3; codes without sign.
OCKHAM_INLINE Ints dot(Ints sum, Bytes codes, const int8_t* x) {
  return _mm512_dpbusd_epi32(sum, codes, fill_quads(x));
}
// For codes of 8 bits.
OCKHAM_INLINE Ints dot_wide(Ints sum, Bytes codes, const int8_t* x) {
  return dot(sum, codes, x);
}

OCKHAM_INLINE Floats zero_floats() {
  return _mm512_setzero_ps();
}
OCKHAM_INLINE Floats fill_floats(float value) {
  return _mm512_set1_ps(value);
}
OCKHAM_INLINE Floats load_floats(const float* from) {
  return _mm512_loadu_ps(from);
}
OCKHAM_INLINE void store_floats(float* to, Floats value) {
  _mm512_storeu_ps(to, value);
}
OCKHAM_INLINE Floats to_floats(Ints value) {
  return _mm512_cvtepi32_ps(value);
}
OCKHAM_INLINE Floats add_floats(Floats a, Floats b) {
  return _mm512_add_ps(a, b);
}
OCKHAM_INLINE Floats multiply_floats(Floats a, Floats b) {
  return _mm512_mul_ps(a, b);
}
// a * b + c
OCKHAM_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
  return _mm512_fmadd_ps(a, b, c);
}
OCKHAM_INLINE float sum_floats(Floats a) {
  return _mm512_reduce_add_ps(a);
}
// The sums of four, each added up in the order of sum_floats().
OCKHAM_INLINE void store_sums(float* to, const Floats* of) {
  const auto halves = [](Floats a, Floats b) OCKHAM_LAMBDA_INLINE {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
  };
  const Floats first = halves(of[0], of[1]), second = halves(of[2], of[3]);
  Floats all = _mm512_add_ps(_mm512_shuffle_f32x4(first, second, 0x88), _mm512_shuffle_f32x4(first, second, 0xDD));
  all = _mm512_add_ps(all, _mm512_permute_ps(all, 0x4E));
  all = _mm512_add_ps(all, _mm512_permute_ps(all, 0xB1));
  _mm_storeu_ps(to, _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, all)));
}
OCKHAM_INLINE Floats load_f16(const void* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(from)));
}
OCKHAM_INLINE Floats load_bf16(const void* from) {
  const __m256i bits = _mm256_loadu_si256(static_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
// Of 32 bf16 those at even and at odd places.
OCKHAM_INLINE void load_bf16_pairs(const void* from, Floats& even, Floats& odd) {
  const __m512i bits = _mm512_loadu_si512(from);
  even = _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
  odd = _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(static_cast<int>(0xffff0000U))));
}
// 16 bytes without sign.
OCKHAM_INLINE Ints widen_u8(const uint8_t* from) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

// What a bitmap's places hold: values from `from` on where the mask has a bit, else `fill` (or zero).
OCKHAM_INLINE Bytes expand_bytes(Bytes fill, const uint8_t* from, const uint64_t* mask) {
  return _mm512_mask_expand_epi8(fill, *mask, _mm512_loadu_si512(from));
}
// Two quads of which the values are the low and the high halves of bytes.
OCKHAM_INLINE void expand_nibbles(Bytes fill, const uint8_t* from, const uint64_t* masks, Bytes* codes) {
  const __m512i pairs = _mm512_loadu_si512(from);
  codes[0] = _mm512_mask_expand_epi8(fill, masks[0], _mm512_and_si512(pairs, fill_bytes(15)));
  codes[1] = _mm512_mask_expand_epi8(fill, masks[1], _mm512_and_si512(_mm512_srli_epi16(pairs, 4), fill_bytes(15)));
}
OCKHAM_INLINE Bytes expand_lanes(const uint8_t* from, uint16_t mask) {
  return _mm512_maskz_expand_epi32(mask, _mm512_loadu_si512(from));
}
OCKHAM_INLINE Floats expand_floats(const uint8_t* from, uint16_t mask) {
  return _mm512_castsi512_ps(expand_lanes(from, mask));
}
OCKHAM_INLINE void expand_bf16_pairs(const uint8_t* from, uint32_t mask, Floats& even, Floats& odd) {
  const __m512i bits = _mm512_maskz_expand_epi16(mask, _mm512_loadu_si512(from));
  even = _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
  odd = _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(static_cast<int>(0xffff0000U))));
}
OCKHAM_INLINE __m256i expand_words(const uint8_t* from, uint16_t mask) {
  return _mm256_maskz_expand_epi16(mask, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
OCKHAM_INLINE Floats expand_f16(const uint8_t* from, uint16_t mask) {
  return _mm512_cvtph_ps(expand_words(from, mask));
}
OCKHAM_INLINE Floats expand_bf16(const uint8_t* from, uint16_t mask) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(expand_words(from, mask)), 16));
}
OCKHAM_INLINE Ints expand_u8(const uint8_t* from, uint16_t mask) {
  return _mm512_cvtepu8_epi32(_mm_maskz_expand_epi8(mask, _mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
// Of each lane the lowest byte without sign, and the upper half as a number (finite).
OCKHAM_INLINE Ints first_bytes(Bytes lanes) {
  return _mm512_and_si512(lanes, _mm512_set1_epi32(255));
}
OCKHAM_INLINE Floats upper_bf16(Bytes lanes) {
  return _mm512_castsi512_ps(_mm512_and_si512(lanes, _mm512_set1_epi32(static_cast<int>(0xffff0000U))));
}
OCKHAM_INLINE Floats upper_f16(Bytes lanes) {
  const __m512i places =
      _mm512_and_si512(_mm512_srai_epi32(lanes, 3), _mm512_set1_epi32(static_cast<int>(0x8fffe000U)));
  return _mm512_mul_ps(_mm512_castsi512_ps(places), _mm512_set1_ps(0x1p112F));
}
// Numbers of 8 bits without sign, each in all places of its lane.
OCKHAM_INLINE Bytes repeat_bytes(Ints lanes) {
  return _mm512_mullo_epi32(lanes, _mm512_set1_epi32(0x01010101));
}
// 16 bytes, each in all places of its lane.
OCKHAM_INLINE Bytes spread_bytes(const uint8_t* from) {
  return repeat_bytes(widen_u8(from));
}
// a + the first kCount bytes of each lane.
template <int kCount>
OCKHAM_INLINE Ints add_first_bytes(Ints a, Bytes from) {
  return _mm512_dpbusd_epi32(a, from, _mm512_set1_epi32(0x01010101 >> (32 - 8 * kCount)));
}
OCKHAM_INLINE Floats gather_floats(const float* from, Ints index) {
  return _mm512_i32gather_ps(index, from, 4);
}
OCKHAM_INLINE Floats load_i8(const uint8_t* from) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}

// Codes without sign times inputs, for vector_products.h; the same for all widths.
constexpr int kRowsOfTile = 12, kPanelsOfTile = 2;
template <int kPlanes, int kBits>
constexpr int kDotOf = 8;
template <int kBits>
struct CodeDot {
  static constexpr int kQuadsOfRun = 0, kInputBytes = 1;
  using Codes = Bytes;
  static OCKHAM_INLINE Bytes load(const uint8_t* from) { return load_bytes(from); }
  static OCKHAM_INLINE Bytes input(const int8_t* x) { return fill_quads(x); }
  static OCKHAM_INLINE void add(Ints& sum, Bytes codes, Bytes x) { sum = _mm512_dpbusd_epi32(sum, codes, x); }
};
