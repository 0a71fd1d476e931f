// Integers in panels times rounded inputs. kScaledCodes, a constant of the target: a code may stay where it is in its
// byte, since sums of products are exact; else it comes down to the low bits.

// The codes of one step, unpacked as panels.h describes. Codes may stay shifted up by kShift bits of their byte.
// kWide: of all 8 bits. Quads of different classes are summed apart.
template <int kBits, bool kScaled = kScaledCodes>
struct Step;

constexpr int64_t kBytesAhead = 4096;

// The next 64 bytes of a stream of weights.
OCKHAM_INLINE Bytes load_ahead(const uint8_t* from) {
  OCKHAM_PREFETCH(from + kBytesAhead);
  return load_bytes(from);
}

template <int kFrom, int kBits, bool kScaled>
OCKHAM_INLINE Bytes field(Bytes from) {
  constexpr auto kMask = static_cast<uint8_t>((1 << kBits) - 1);
  if constexpr (kScaled) return and_bytes(from, fill_bytes(static_cast<uint8_t>(kMask << kFrom)));
  if constexpr (kFrom == 0) return and_bytes(from, fill_bytes(kMask));
  return and_bytes(shift_bytes<kFrom>(from), fill_bytes(kMask));
}

// Two quads, summed apart so that neither sum waits for the other.
template <bool kScaled>
struct Step<8, kScaled> {
  static constexpr int kBits = 8;
  static constexpr bool kWide = true;
  static constexpr int kQuads = 2, kVectors = 2, kClasses = 2;
  static constexpr int kClass[kQuads] = {0, 1}, kShift[kClasses] = {0, 0};
  static OCKHAM_INLINE void unpack(const uint8_t* from, Bytes* codes) {
    codes[0] = load_ahead(from);
    codes[1] = load_ahead(from + 64);
  }
};

template <bool kScaled>
struct Step<6, kScaled> {
  static constexpr int kBits = 6;
  static constexpr bool kWide = false;
  static constexpr int kQuads = 4, kVectors = 3, kClasses = 1;
  static constexpr int kClass[kQuads] = {0, 0, 0, 0}, kShift[kClasses] = {0};
  static OCKHAM_INLINE void unpack(const uint8_t* from, Bytes* codes) {
    const Bytes a = load_ahead(from), b = load_ahead(from + 64), c = load_ahead(from + 128);
    const Bytes mask = fill_bytes(63);
    codes[0] = and_bytes(a, mask);
    codes[1] = and_bytes(b, mask);
    codes[2] = and_bytes(c, mask);
    codes[3] =
        and_bytes(select_bits<3>(shift_bytes<6>(a), select_bits<12>(shift_bytes<4>(b), shift_bytes<2>(c))), mask);
  }
};

template <bool kScaled>
struct Step<5, kScaled> {
  static constexpr int kBits = 5;
  static constexpr bool kWide = false;
  static constexpr int kQuads = 8, kVectors = 5, kClasses = 1;
  static constexpr int kClass[kQuads] = {}, kShift[kClasses] = {0};
  static OCKHAM_INLINE void unpack(const uint8_t* from, Bytes* codes) {
    const Bytes mask = fill_bytes(31);
    Bytes v[kVectors];
#pragma GCC unroll 5
    for (int64_t i = 0; i < kVectors; ++i) {
      v[i] = load_ahead(from + 64 * i);
      codes[i] = and_bytes(v[i], mask);
    }
    codes[5] = and_bytes(select_bits<7>(shift_bytes<5>(v[0]), shift_bytes<2>(v[3])), mask);
    codes[6] = and_bytes(select_bits<7>(shift_bytes<5>(v[1]), shift_bytes<2>(v[4])), mask);
    const Bytes upper = select_bits<8>(shift_bytes<4>(v[3]), shift_bytes<3>(v[4]));
    codes[7] = and_bytes(select_bits<7>(shift_bytes<5>(v[2]), upper), mask);
  }
};

template <bool kScaled>
struct Step<4, kScaled> {
  static constexpr int kBits = 4;
  static constexpr bool kWide = false;
  static constexpr int kQuads = 2, kVectors = 1, kClasses = kScaled ? 2 : 1;
  static constexpr int kClass[kQuads] = {0, kClasses - 1}, kShift[2] = {0, 4};
  static OCKHAM_INLINE void unpack(const uint8_t* from, Bytes* codes) {
    const Bytes v = load_ahead(from);
    codes[0] = field<0, 4, kScaled>(v);
    codes[1] = field<4, 4, kScaled>(v);
  }
};

template <bool kScaled>
struct Step<3, kScaled> {
  static constexpr int kBits = 3;
  static constexpr bool kWide = false;
  static constexpr int kQuads = 8, kVectors = 3, kClasses = kScaled ? 2 : 1, kHigh = kClasses - 1;
  static constexpr int kClass[kQuads] = {0, kHigh, 0, kHigh, 0, kHigh, 0, 0}, kShift[2] = {0, 3};
  static OCKHAM_INLINE void unpack(const uint8_t* from, Bytes* codes) {
    Bytes v[kVectors];
#pragma GCC unroll 3
    for (int64_t i = 0; i < kVectors; ++i) {
      v[i] = load_ahead(from + 64 * i);
      codes[2 * i] = field<0, 3, kScaled>(v[i]);
      codes[2 * i + 1] = field<3, 3, kScaled>(v[i]);
    }
    const Bytes mask = fill_bytes(7);
    codes[6] = and_bytes(select_bits<3>(shift_bytes<6>(v[0]), shift_bytes<4>(v[2])), mask);
    codes[7] = and_bytes(select_bits<3>(shift_bytes<6>(v[1]), shift_bytes<5>(v[2])), mask);
  }
};

template <bool kScaled>
struct Step<2, kScaled> {
  static constexpr int kBits = 2;
  static constexpr bool kWide = false;
  static constexpr int kQuads = 4, kVectors = 1, kClasses = kScaled ? 4 : 1, kNext = kScaled ? 1 : 0;
  static constexpr int kClass[kQuads] = {0, kNext, 2 * kNext, 3 * kNext}, kShift[4] = {0, 2, 4, 6};
  static OCKHAM_INLINE void unpack(const uint8_t* from, Bytes* codes) {
    const Bytes v = load_ahead(from);
    codes[0] = field<0, 2, kScaled>(v);
    codes[1] = field<2, 2, kScaled>(v);
    codes[2] = field<4, 2, kScaled>(v);
    codes[3] = field<6, 2, kScaled>(v);
  }
};

// Scales and zeros of one group.
struct GroupScales {
  Floats scale;
  Ints zero;       // w = scale * (code - zero)
  Floats minimum;  // or, where records have minima, w = scale * code + minimum
};

OCKHAM_INLINE Floats load_scales(ScaleKind kind, const uint8_t* from) {
  if (kind == ScaleKind::kF16) return load_f16(from);
  if (kind == ScaleKind::kBF16) return load_bf16(from);
  return load_floats(reinterpret_cast<const float*>(from));
}
// The records of one panel.
class RecordReader {
 public:
  OCKHAM_INLINE RecordReader(const GroupRecords& groups, int64_t unit)
      : groups_(groups),
        records_(groups.records + unit * groups.panel_bytes),
        outers_(groups.outers + unit * groups.outer_panel_bytes) {}

  OCKHAM_INLINE GroupScales load(int64_t g) const {
    if (groups_.scale == ScaleKind::kNested) return load_nested(g);
    const uint8_t* record = at(g);
    const Floats scale = load_scales(groups_.scale, record);
    const uint8_t* after = record + (groups_.scale == ScaleKind::kF32 ? 64 : 32);
    if (groups_.zero != ZeroKind::kMinima) return {scale, zeros(after), zero_floats()};
    return {scale, zero_ints(), load_scales(groups_.scale, after)};
  }
  OCKHAM_INLINE bool has_minima() const { return groups_.zero == ZeroKind::kMinima; }
  OCKHAM_INLINE bool is_zero_same(float zero) const {
    return groups_.zero == ZeroKind::kSame && groups_.same_zero == zero;
  }
  // The code of zero for each place of a quad.
  OCKHAM_INLINE Bytes zero_codes(int64_t g) const {
    if (groups_.zero == ZeroKind::kSame) return fill_bytes(static_cast<uint8_t>(groups_.same_zero));
    const int64_t scale_bytes = groups_.scale == ScaleKind::kF32 ? 64 : groups_.scale == ScaleKind::kNested ? 16 : 32;
    return spread_bytes(at(g) + scale_bytes);
  }

 private:
  OCKHAM_INLINE const uint8_t* at(int64_t g) const {
    return records_ + g / groups_.inputs_per_record * groups_.record_bytes;
  }
  OCKHAM_INLINE Ints zeros(const uint8_t* codes) const {
    return groups_.zero == ZeroKind::kSame ? fill_ints(static_cast<int32_t>(groups_.same_zero)) : widen_u8(codes);
  }
  OCKHAM_INLINE GroupScales load_nested(int64_t g) const {
    const uint8_t *record = at(g), *outer = outers_ + g / groups_.records_of_outer * groups_.outer_bytes;
    const Floats scale = multiply_floats(load_i8(record), load_f16(outer));
    if (groups_.zero != ZeroKind::kMinima) return {scale, zeros(record + 16), zero_floats()};
    return {scale, zero_ints(), multiply_floats(load_i8(record + 16), load_f16(outer + 32))};
  }

  const GroupRecords& groups_;
  const uint8_t *records_, *outers_;
};

// Sums of one group, and of the panel, for some tokens. Zeros are subtracted from the whole sums of a group, exactly,
// so that kernels which subtract them from the codes come to the same bits.
template <typename S, int kPlanes, int kTokens>
struct IntegerSums {
  using Dot = CodeDot<kDotOf<1, S::kBits>>;
  // As many steps as sums of 16 bits hold: a pair of products with inputs of up to 127 is at most 254 (2^bits - 1).
  static constexpr int64_t kStepsOfRun = Dot::kQuadsOfRun == 0 ? 0 : 32767 / (254 * ((1 << S::kBits) - 1)) / S::kQuads;
  Ints parts[kTokens][kPlanes][S::kClasses], runs[kTokens][kPlanes];
  Floats sums[kTokens], minima[kTokens];
  const int8_t* x[kTokens][kPlanes];
  const float *scales[kTokens], *input_sums[kTokens];
  const int32_t* code_sums[kTokens];

  OCKHAM_INLINE void start(const PreparedInput& input, int64_t token) {
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      sums[t] = minima[t] = zero_floats();
      x[t][0] = input.high + (token + t) * input.stride;
      if constexpr (kPlanes == 2) x[t][1] = input.low + (token + t) * input.stride;
      scales[t] = input.scales + (token + t) * input.groups;
      input_sums[t] = input.sums + (token + t) * input.groups;
      code_sums[t] = input.code_sums + (token + t) * input.groups;
    }
    clear();
  }
  OCKHAM_INLINE void clear() {
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int p = 0; p < kPlanes; ++p) {
#pragma GCC unroll 4
        for (int c = 0; c < S::kClasses; ++c) parts[t][p][c] = zero_ints();
      }
    }
  }
  template <int kFirst, int kLast>
  OCKHAM_INLINE void add(const Bytes* codes, int64_t column) {
    if constexpr (Dot::kQuadsOfRun != 0) return add_runs<kFirst, kLast>(codes, column);
#pragma GCC unroll 8
    for (int q = kFirst; q < kLast; ++q) {
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
        for (int p = 0; p < kPlanes; ++p) {
          Ints& sum = parts[t][p][S::kClass[q]];
          const int8_t* quad = x[t][p] + column + 4 * q;
          sum = S::kWide ? dot_wide(sum, codes[q], quad) : dot(sum, codes[q], quad);
        }
      }
    }
  }
  // Where sums of some steps fit in 16 bits: a run of them.
  OCKHAM_INLINE void start_run() {
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int p = 0; p < kPlanes; ++p) runs[t][p] = zero_ints();
    }
  }
  OCKHAM_INLINE void add_to_run(const Bytes* codes, int64_t column) {
#pragma GCC unroll 8
    for (int q = 0; q < S::kQuads; ++q) {
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
        for (int p = 0; p < kPlanes; ++p) Dot::add(runs[t][p], codes[q], Dot::input(x[t][p] + column + 4 * q));
      }
    }
  }
  OCKHAM_INLINE void end_run() {
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int p = 0; p < kPlanes; ++p) parts[t][p][0] = Dot::add_run(parts[t][p][0], runs[t][p]);
    }
  }
  // The same for the quads of one step.
  template <int kFirst, int kLast>
  OCKHAM_INLINE void add_runs(const Bytes* codes, int64_t column) {
    constexpr int kRun = std::min(Dot::kQuadsOfRun, kLast - kFirst);
    static_assert((kLast - kFirst) % kRun == 0);
#pragma GCC unroll 8
    for (int first = kFirst; first < kLast; first += kRun) {
#pragma GCC unroll 8
      for (int q = first; q < first + kRun; ++q) {
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
          for (int p = 0; p < kPlanes; ++p) {
            if (q == first) runs[t][p] = zero_ints();
            Dot::add(runs[t][p], codes[q], Dot::input(x[t][p] + column + 4 * q));
          }
        }
      }
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
        for (int p = 0; p < kPlanes; ++p) parts[t][p][0] = Dot::add_run(parts[t][p][0], runs[t][p]);
      }
    }
  }
  OCKHAM_INLINE Ints plane_sum(int t, int p) const {
    Ints sum = parts[t][p][0];
    if constexpr (S::kClasses > 1) sum = add_ints(sum, shift_ints_right<S::kShift[1]>(parts[t][p][1]));
    if constexpr (S::kClasses > 2) sum = add_ints(sum, shift_ints_right<S::kShift[2]>(parts[t][p][2]));
    if constexpr (S::kClasses > 3) sum = add_ints(sum, shift_ints_right<S::kShift[3]>(parts[t][p][3]));
    return sum;
  }
  OCKHAM_INLINE void finish_group(const GroupScales& group, bool has_minima, int64_t g) {
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      Ints sum = plane_sum(t, 0);
      if constexpr (kPlanes == 2) sum = add_ints(shift_ints_left<7>(sum), plane_sum(t, 1));
      if (has_minima) {
        minima[t] = multiply_add(group.minimum, fill_floats(input_sums[t][g]), minima[t]);
      } else {
        sum = multiply_subtract_ints(group.zero, fill_ints(code_sums[t][g]), sum);
      }
      const Floats scale = multiply_floats(group.scale, fill_floats(scales[t][g]));
      sums[t] = multiply_add(scale, to_floats(sum), sums[t]);
    }
    clear();
  }
  OCKHAM_INLINE void store(const UnitOutput& out, int64_t token) const {
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) store_floats(out.at + (token + t) * out.stride, add_floats(sums[t], minima[t]));
  }
};

// kHalves: a step holds two groups of 16 columns.
template <int kBits, int kPlanes, int kTokens, bool kHalves>
void integer_panel(const IntegerPanels& panels, const PreparedInput& input, int64_t unit, int64_t token,
                   const UnitOutput& out) {
  using S = Step<kBits>;
  constexpr int64_t kColumns = 4 * S::kQuads;
  const RecordReader records(panels.groups, unit);
  const int64_t columns = input.form.columns, group = input.form.group;
  const uint8_t* codes = panels.codes + unit * columns * 2 * kBits;
  using Sums = IntegerSums<S, kPlanes, kTokens>;
  Sums sums;
  sums.start(input, token);
  Bytes step[S::kQuads];
  int64_t column = 0;
  for (int64_t g = 0; column < columns; ++g) {
    const int64_t end = kHalves ? column + kColumns : std::min(column + group, columns);
    if constexpr (Sums::kStepsOfRun > 1 && !kHalves) {
      while (column < end && group > 16) {  // shorter ones are a run already
        sums.start_run();
        for (const int64_t last = std::min(column + Sums::kStepsOfRun * kColumns, end); column < last;
             column += kColumns) {
          S::unpack(codes, step);
          codes += 64 * S::kVectors;
          sums.add_to_run(step, column);
        }
        sums.end_run();
      }
    }
    for (; column < end; column += kColumns) {
      S::unpack(codes, step);
      codes += 64 * S::kVectors;
      if constexpr (kHalves) {
        sums.template add<0, S::kQuads / 2>(step, column);
        sums.finish_group(records.load(g), records.has_minima(), g);
        ++g;
        sums.template add<S::kQuads / 2, S::kQuads>(step, column);
      } else {
        sums.template add<0, S::kQuads>(step, column);
      }
    }
    sums.finish_group(records.load(g), records.has_minima(), g);
  }
  sums.store(out, token);
}

template <int kBits, int kPlanes, bool kHalves>
void integer_tokens(const IntegerPanels& panels, const PreparedInput& input, int64_t unit, int64_t begin, int64_t end,
                    const UnitOutput& out) {
  constexpr int kMany = kTokensAtOnce / kPlanes;
  int64_t t = begin;
  for (; t + kMany <= end; t += kMany) integer_panel<kBits, kPlanes, kMany, kHalves>(panels, input, unit, t, out);
  for (; t < end; ++t) integer_panel<kBits, kPlanes, 1, kHalves>(panels, input, unit, t, out);
}

template <int kBits>
void integer_unit(const IntegerPanels& panels, const PreparedInput& input, int64_t unit, int64_t begin, int64_t end,
                  const UnitOutput& out) {
  if constexpr (Step<kBits>::kQuads == 8) {
    if (panels.form.group == 16) {
      if (input.low != nullptr) return integer_tokens<kBits, 2, true>(panels, input, unit, begin, end, out);
      return integer_tokens<kBits, 1, true>(panels, input, unit, begin, end, out);
    }
  }
  if (input.low != nullptr) return integer_tokens<kBits, 2, false>(panels, input, unit, begin, end, out);
  return integer_tokens<kBits, 1, false>(panels, input, unit, begin, end, out);
}
