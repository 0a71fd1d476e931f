// The names of lanes_avx512.h as plain loops, for processors without them.

struct Bytes {
  uint8_t at[64];
};
struct Ints {
  int32_t at[16];
};
struct Floats {
  float at[16];
};

// Products are summed in 32 bits at once.
template <int kPlanes, int kBits>
constexpr int kDotOf = 8;
template <int kBits>
struct CodeDot {
  static constexpr int kQuadsOfRun = 0;
};

template <typename Out, typename Make>
OCKHAM_INLINE Out each(const Make& make) {
  Out out;
  for (size_t i = 0; i < std::size(out.at); ++i) out.at[i] = make(i);
  return out;
}
OCKHAM_INLINE uint8_t byte(int value) {
  return static_cast<uint8_t>(value);
}

OCKHAM_INLINE Bytes load_bytes(const void* from) {
  Bytes out;
  std::memcpy(out.at, from, sizeof out.at);
  return out;
}
OCKHAM_INLINE Bytes fill_bytes(uint8_t value) {
  return each<Bytes>([&](size_t) { return value; });
}
OCKHAM_INLINE Bytes and_bytes(const Bytes& a, const Bytes& b) {
  return each<Bytes>([&](size_t i) { return byte(a.at[i] & b.at[i]); });
}
template <int kBits>
OCKHAM_INLINE Bytes shift_bytes(const Bytes& a) {
  return each<Bytes>([&](size_t i) { return byte(a.at[i] >> kBits); });
}
template <uint8_t kMask>
OCKHAM_INLINE Bytes select_bits(const Bytes& a, const Bytes& b) {
  return each<Bytes>([&](size_t i) { return byte((a.at[i] & kMask) | (b.at[i] & ~kMask)); });
}

OCKHAM_INLINE Ints zero_ints() {
  return {};
}
OCKHAM_INLINE Ints fill_ints(int32_t value) {
  return each<Ints>([&](size_t) { return value; });
}
// c - a * b
OCKHAM_INLINE Ints multiply_subtract_ints(const Ints& a, const Ints& b, const Ints& c) {
  return each<Ints>([&](size_t i) { return c.at[i] - a.at[i] * b.at[i]; });
}
OCKHAM_INLINE Ints add_ints(const Ints& a, const Ints& b) {
  return each<Ints>([&](size_t i) { return a.at[i] + b.at[i]; });
}
template <int kBits>
OCKHAM_INLINE Ints shift_ints_left(const Ints& a) {
  return each<Ints>([&](size_t i) { return a.at[i] * (1 << kBits); });
}
template <int kBits>
OCKHAM_INLINE Ints shift_ints_right(const Ints& a) {
  return each<Ints>([&](size_t i) { return a.at[i] >> kBits; });
}
OCKHAM_INLINE Ints dot(const Ints& sum, const Bytes& codes, const int8_t* x) {
  return each<Ints>([&](size_t i) {
    const uint8_t* code = codes.at + 4 * i;
    return sum.at[i] + code[0] * x[0] + code[1] * x[1] + code[2] * x[2] + code[3] * x[3];
  });
}
OCKHAM_INLINE Ints dot_wide(const Ints& sum, const Bytes& codes, const int8_t* x) {
  return dot(sum, codes, x);
}

OCKHAM_INLINE Floats zero_floats() {
  return {};
}
OCKHAM_INLINE Floats fill_floats(float value) {
  return each<Floats>([&](size_t) { return value; });
}
OCKHAM_INLINE Floats load_floats(const float* from) {
  Floats out;
  std::memcpy(out.at, from, sizeof out.at);
  return out;
}
OCKHAM_INLINE void store_floats(float* to, const Floats& value) {
  std::memcpy(to, value.at, sizeof value.at);
}
OCKHAM_INLINE Floats to_floats(const Ints& value) {
  return each<Floats>([&](size_t i) { return static_cast<float>(value.at[i]); });
}
OCKHAM_INLINE Floats add_floats(const Floats& a, const Floats& b) {
  return each<Floats>([&](size_t i) { return a.at[i] + b.at[i]; });
}
OCKHAM_INLINE Floats multiply_floats(const Floats& a, const Floats& b) {
  return each<Floats>([&](size_t i) { return a.at[i] * b.at[i]; });
}
OCKHAM_INLINE Floats multiply_add(const Floats& a, const Floats& b, const Floats& c) {
  return each<Floats>([&](size_t i) { return a.at[i] * b.at[i] + c.at[i]; });
}
OCKHAM_INLINE float sum_floats(const Floats& a) {
  float sum = 0;
  for (const float value : a.at) sum += value;
  return sum;
}
OCKHAM_INLINE void store_sums(float* to, const Floats* of) {
  for (int i = 0; i < 4; ++i) to[i] = sum_floats(of[i]);
}
OCKHAM_INLINE uint16_t half_word(const void* from, size_t index) {
  uint16_t bits;
  std::memcpy(&bits, static_cast<const uint8_t*>(from) + 2 * index, sizeof bits);
  return bits;
}
OCKHAM_INLINE Floats load_f16(const void* from) {
  return each<Floats>([&](size_t i) { return half_to_float(half_word(from, i)); });
}
OCKHAM_INLINE Floats load_bf16(const void* from) {
  return each<Floats>([&](size_t i) { return bfloat16_to_float(half_word(from, i)); });
}
OCKHAM_INLINE void load_bf16_pairs(const void* from, Floats& even, Floats& odd) {
  even = each<Floats>([&](size_t i) { return bfloat16_to_float(half_word(from, 2 * i)); });
  odd = each<Floats>([&](size_t i) { return bfloat16_to_float(half_word(from, 2 * i + 1)); });
}
OCKHAM_INLINE Ints widen_u8(const uint8_t* from) {
  return each<Ints>([&](size_t i) { return static_cast<int32_t>(from[i]); });
}

template <typename Element, size_t kCount>
OCKHAM_INLINE void spread(const uint8_t* from, uint64_t mask, Element (&places)[kCount]) {
  for (size_t i = 0; i < kCount; ++i) {
    if ((mask >> i & 1U) == 0) continue;
    std::memcpy(&places[i], from, sizeof(Element));
    from += sizeof(Element);
  }
}
OCKHAM_INLINE Bytes expand_bytes(const Bytes& fill, const uint8_t* from, const uint64_t* mask) {
  Bytes out = fill;
  spread(from, *mask, out.at);
  return out;
}
OCKHAM_INLINE void expand_nibbles(const Bytes& fill, const uint8_t* from, const uint64_t* masks, Bytes* codes) {
  const Bytes low = each<Bytes>([&](size_t i) { return byte(from[i] & 15); });
  const Bytes high = each<Bytes>([&](size_t i) { return byte(from[i] >> 4); });
  codes[0] = expand_bytes(fill, low.at, masks);
  codes[1] = expand_bytes(fill, high.at, masks + 1);
}
OCKHAM_INLINE Bytes expand_lanes(const uint8_t* from, uint16_t mask) {
  uint32_t places[16] = {};
  spread(from, mask, places);
  return load_bytes(places);
}
OCKHAM_INLINE Floats expand_floats(const uint8_t* from, uint16_t mask) {
  Floats out = {};
  spread(from, mask, out.at);
  return out;
}
OCKHAM_INLINE void expand_bf16_pairs(const uint8_t* from, uint32_t mask, Floats& even, Floats& odd) {
  uint16_t places[32] = {};
  spread(from, mask, places);
  load_bf16_pairs(places, even, odd);
}
OCKHAM_INLINE Floats expand_f16(const uint8_t* from, uint16_t mask) {
  uint16_t places[16] = {};
  spread(from, mask, places);
  return load_f16(places);
}
OCKHAM_INLINE Floats expand_bf16(const uint8_t* from, uint16_t mask) {
  uint16_t places[16] = {};
  spread(from, mask, places);
  return load_bf16(places);
}
OCKHAM_INLINE Ints expand_u8(const uint8_t* from, uint16_t mask) {
  uint8_t places[16] = {};
  spread(from, mask, places);
  return widen_u8(places);
}
OCKHAM_INLINE Ints first_bytes(const Bytes& lanes) {
  return each<Ints>([&](size_t i) { return static_cast<int32_t>(lanes.at[4 * i]); });
}
OCKHAM_INLINE Floats upper_bf16(const Bytes& lanes) {
  return each<Floats>([&](size_t i) { return bfloat16_to_float(half_word(lanes.at, 2 * i + 1)); });
}
OCKHAM_INLINE Floats upper_f16(const Bytes& lanes) {
  return each<Floats>([&](size_t i) { return half_to_float(half_word(lanes.at, 2 * i + 1)); });
}
OCKHAM_INLINE Bytes spread_bytes(const uint8_t* from) {
  return each<Bytes>([&](size_t i) { return from[i / 4]; });
}
template <size_t kCount>
OCKHAM_INLINE Ints add_first_bytes(const Ints& a, const Bytes& from) {
  return each<Ints>([&](size_t i) {
    int32_t sum = a.at[i];
    for (size_t byte = 0; byte < kCount; ++byte) sum += from.at[4 * i + byte];
    return sum;
  });
}
OCKHAM_INLINE Floats gather_floats(const float* from, const Ints& index) {
  return each<Floats>([&](size_t i) { return from[index.at[i]]; });
}
OCKHAM_INLINE Floats load_i8(const uint8_t* from) {
  return each<Floats>([&](size_t i) { return static_cast<float>(static_cast<int8_t>(from[i])); });
}
