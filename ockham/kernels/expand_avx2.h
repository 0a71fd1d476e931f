// Values of a bitmap brought to their places, which AVX-512 has an instruction for: eight bits of the mask are looked
// up in a table, which says where in the next eight values each place finds its own. Up to 64 bytes from `from` are
// read.

// Of each place that holds a value the rank of that value; kNone, which shuffles take for zero, of the others.
constexpr uint8_t kNone = 0x80;
struct PlaceTable {
  alignas(64) uint8_t ranks[256][8];
  alignas(64) uint8_t words[256][16];  // by bytes of values of two
};
constexpr PlaceTable make_place_table() {
  PlaceTable table = {};
  for (unsigned mask = 0; mask < 256; ++mask) {
    unsigned rank = 0;
    for (unsigned i = 0; i < 8; ++i) {
      const bool is_there = (mask >> i & 1U) != 0;
      table.ranks[mask][i] = static_cast<uint8_t>(is_there ? rank : kNone);
      for (unsigned j = 0; j < 2; ++j)
        table.words[mask][2 * i + j] = static_cast<uint8_t>(is_there ? 2 * rank + j : kNone);
      rank += is_there ? 1 : 0;
    }
  }
  return table;
}
constexpr PlaceTable kPlaces = make_place_table();

OCKHAM_INLINE __m128i load_eights(const void* low, const void* high) {
  const __m128 first = _mm_castsi128_ps(_mm_loadl_epi64(static_cast<const __m128i*>(low)));
  return _mm_castps_si128(_mm_loadh_pi(first, static_cast<const __m64*>(high)));
}
// 32 places: the shuffle, negative where there is no value, and the values it makes.
struct Spread {
  __m256i ranks, values;
};
OCKHAM_INLINE int64_t count_ones(unsigned mask) {
  return _mm_popcnt_u32(mask);
}
// mask: four bytes of it in memory, from where each is loaded by itself. from: moves on to the values behind.
OCKHAM_INLINE Spread spread_places(const uint8_t*& from, const uint8_t* mask) {
  const unsigned bits[4] = {mask[0], mask[1], mask[2], mask[3]};
  const uint8_t *second = from + count_ones(bits[0]), *third = second + count_ones(bits[1]),
                *fourth = third + count_ones(bits[2]);
  const __m256i ranks = _mm256_set_m128i(load_eights(kPlaces.ranks[bits[2]], kPlaces.ranks[bits[3]]),
                                         load_eights(kPlaces.ranks[bits[0]], kPlaces.ranks[bits[1]]));
  const __m256i values = _mm256_set_m128i(load_eights(third, fourth), load_eights(from, second));
  from = fourth + count_ones(bits[3]);
  // The upper eight of each half find theirs behind those of the lower.
  const __m256i places = _mm256_add_epi8(ranks, _mm256_set_epi64x(0x0808080808080808, 0, 0x0808080808080808, 0));
  return {places, _mm256_shuffle_epi8(values, places)};
}

// kFrom, kBits: where in its byte a value stands.
template <int kFrom, int kBits>
OCKHAM_INLINE Bytes expand_field(Bytes fill, const uint8_t* from, const uint64_t* mask) {
  const auto* bits = reinterpret_cast<const uint8_t*>(mask);
  const Spread low = spread_places(from, bits), high = spread_places(from, bits + 4);
  Bytes values = {low.values, high.values};
  if constexpr (kBits < 8) values = and_bytes(shift_bytes<kFrom>(values), fill_bytes((1 << kBits) - 1));
  return {_mm256_blendv_epi8(values.low, fill.low, low.ranks), _mm256_blendv_epi8(values.high, fill.high, high.ranks)};
}
OCKHAM_INLINE Bytes expand_bytes(Bytes fill, const uint8_t* from, const uint64_t* mask) {
  return expand_field<0, 8>(fill, from, mask);
}
OCKHAM_INLINE void expand_nibbles(Bytes fill, const uint8_t* from, const uint64_t* masks, Bytes* codes) {
  codes[0] = expand_field<0, 4>(fill, from, masks);
  codes[1] = expand_field<4, 4>(fill, from, masks + 1);
}
OCKHAM_INLINE __m256i expand_eight_lanes(const uint8_t* from, unsigned mask) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kPlaces.ranks[mask]));
  const __m256i ranks = _mm256_cvtepi8_epi32(bytes);
  const __m256 lanes = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(load_half(from), ranks));
  return _mm256_castps_si256(_mm256_blendv_ps(lanes, _mm256_setzero_ps(), _mm256_castsi256_ps(ranks)));
}
OCKHAM_INLINE Bytes expand_lanes(const uint8_t* from, uint16_t mask) {
  const unsigned first = mask & 255U, second = mask >> 8U;
  return {expand_eight_lanes(from, first), expand_eight_lanes(from + 4 * count_ones(first), second)};
}
OCKHAM_INLINE Floats expand_floats(const uint8_t* from, uint16_t mask) {
  const Bytes lanes = expand_lanes(from, mask);
  return {_mm256_castsi256_ps(lanes.low), _mm256_castsi256_ps(lanes.high)};
}
OCKHAM_INLINE __m128i expand_eight_words(const uint8_t* from, unsigned mask) {
  const auto* shuffle = reinterpret_cast<const __m128i*>(kPlaces.words[mask]);
  return _mm_shuffle_epi8(load_quarter(from), _mm_load_si128(shuffle));
}
OCKHAM_INLINE __m256i expand_words(const uint8_t* from, unsigned mask) {
  const unsigned first = mask & 255U, second = mask >> 8U;
  return _mm256_set_m128i(expand_eight_words(from + 2 * count_ones(first), second), expand_eight_words(from, first));
}
OCKHAM_INLINE void expand_bf16_pairs(const uint8_t* from, uint32_t mask, Floats& even, Floats& odd) {
  const unsigned first = mask & 0xffffU, second = mask >> 16U;
  split_bf16_pairs({expand_words(from, first), expand_words(from + 2 * count_ones(first), second)}, even, odd);
}
OCKHAM_INLINE Floats expand_f16(const uint8_t* from, uint16_t mask) {
  const __m256i words = expand_words(from, mask);
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(words)), _mm256_cvtph_ps(_mm256_extracti128_si256(words, 1))};
}
OCKHAM_INLINE Floats expand_bf16(const uint8_t* from, uint16_t mask) {
  const __m256i words = expand_words(from, mask);
  return {widen_bf16(_mm256_castsi256_si128(words)), widen_bf16(_mm256_extracti128_si256(words, 1))};
}
OCKHAM_INLINE Ints expand_u8(const uint8_t* from, uint16_t mask) {
  const unsigned first = mask & 255U, second = mask >> 8U;
  const __m128i ranks =
      _mm_add_epi8(load_eights(kPlaces.ranks[first], kPlaces.ranks[second]), _mm_set_epi64x(0x0808080808080808, 0));
  const __m128i places = _mm_shuffle_epi8(load_eights(from, from + count_ones(first)), ranks);
  return {_mm256_cvtepu8_epi32(places), _mm256_cvtepu8_epi32(_mm_srli_si128(places, 8))};
}
