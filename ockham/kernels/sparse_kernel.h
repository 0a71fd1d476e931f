// Matrices with zeros left out: bitmaps, column steps, whole groups. Where the values of a mask end is added up without
// a branch.

template <typename Mask>
OCKHAM_INLINE int64_t count_bits(Mask mask) {
  return std::popcount(mask);
}

// Bitmaps of integers. Four quads, summed in turns.
template <int kBits>
struct SparseStep {
  static constexpr bool kWide = kBits == 8;
  static constexpr int kQuads = 4, kClasses = 2;
  static constexpr int kClass[kQuads] = {0, 1, 0, 1}, kShift[kClasses] = {0, 0};

  static OCKHAM_INLINE void unpack(const uint64_t* masks, Bytes fill, const uint8_t*& values, Bytes* codes) {
    if constexpr (kWide) {
#pragma GCC unroll 4
      for (int q = 0; q < kQuads; ++q) {
        OCKHAM_PREFETCH(values + kBytesAhead);
        codes[q] = expand_bytes(fill, values, masks[q]);
        values += count_bits(masks[q]);
      }
    } else {
#pragma GCC unroll 2
      for (int q = 0; q < kQuads; q += 2) {
        OCKHAM_PREFETCH(values + kBytesAhead);
        expand_nibbles(fill, values, masks + q, codes + q);
        values += std::max(count_bits(masks[q]), count_bits(masks[q + 1]));
      }
    }
  }
};

template <int kBits, int kPlanes, int kTokens>
void sparse_integer_panel(const SparseIntegerPanels& panels, const PreparedInput& input, int64_t unit, int64_t token,
                          const UnitOutput& out) {
  using S = SparseStep<kBits>;
  constexpr int64_t kColumns = 4 * S::kQuads;
  const RecordReader records(panels.groups, unit);
  const int64_t columns = input.form.columns, group = input.form.group;
  const uint64_t* masks = panels.masks + unit * (columns / 4);
  const uint8_t* values = panels.values + panels.starts[unit];
  IntegerSums<S, kPlanes, kTokens> sums;
  sums.start(input, token);
  Bytes step[S::kQuads];
  int64_t column = 0;
  for (int64_t g = 0; column < columns; ++g) {
    const Bytes fill = records.zero_codes(g);
    for (const int64_t end = std::min(column + group, columns); column < end; column += kColumns) {
      S::unpack(masks, fill, values, step);
      masks += S::kQuads;
      sums.template add<0, S::kQuads>(step, column);
    }
    sums.finish_group(records.load(g), records.has_minima(), g);
  }
  sums.store(out, token);
}

template <int kBits, int kPlanes>
void sparse_integer_tokens(const SparseIntegerPanels& panels, const PreparedInput& input, int64_t unit, int64_t begin,
                           int64_t end, const UnitOutput& out) {
  constexpr int kMany = kTokensAtOnce / kPlanes;
  int64_t t = begin;
  for (; t + kMany <= end; t += kMany) sparse_integer_panel<kBits, kPlanes, kMany>(panels, input, unit, t, out);
  for (; t < end; ++t) sparse_integer_panel<kBits, kPlanes, 1>(panels, input, unit, t, out);
}
template <int kBits>
void sparse_integer_unit(const SparseIntegerPanels& panels, const PreparedInput& input, int64_t unit, int64_t begin,
                         int64_t end, const UnitOutput& out) {
  if (input.low != nullptr) return sparse_integer_tokens<kBits, 2>(panels, input, unit, begin, end, out);
  return sparse_integer_tokens<kBits, 1>(panels, input, unit, begin, end, out);
}

// Bitmaps of floats: the four columns of one mask.
struct SparseF32 {
  static OCKHAM_INLINE void unpack(uint64_t mask, const uint8_t*& values, Floats* columns) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const auto part = static_cast<uint16_t>(mask >> 16 * i);
      columns[i] = expand_floats(values, part);
      values += 4 * count_bits(part);
    }
  }
};
struct SparseBF16 {
  static OCKHAM_INLINE void unpack(uint64_t mask, const uint8_t*& values, Floats* columns) {
#pragma GCC unroll 2
    for (int64_t i = 0; i < 2; ++i) {
      const auto part = static_cast<uint32_t>(mask >> 32 * i);
      expand_bf16_pairs(values, part, columns[2 * i], columns[2 * i + 1]);
      values += 2 * count_bits(part);
    }
  }
};

template <typename Values, int kTokens>
void sparse_float_panel(const SparseFloatPanels& panels, const PreparedInput& input, int64_t unit, int64_t token,
                        const UnitOutput& out) {
  const int64_t columns = input.form.columns;
  const uint64_t* masks = panels.masks + unit * (columns / 4);
  const uint8_t* values = panels.values + panels.starts[unit];
  const float* x[kTokens];
  constexpr int kSums = kTokens == 1 ? 4 : 1;
  Floats sums[kTokens][kSums], weights[4];
  for (int t = 0; t < kTokens; ++t) {
    x[t] = input.values + (token + t) * input.stride;
    for (int i = 0; i < kSums; ++i) sums[t][i] = zero_floats();
  }
  for (int64_t c = 0; c < columns; c += 4) {
    OCKHAM_PREFETCH(values + kBytesAhead);
    Values::unpack(*masks++, values, weights);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        Floats& sum = sums[t][i % kSums];
        sum = multiply_add(weights[i], fill_floats(x[t][c + i]), sum);
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    Floats sum = sums[t][0];
    for (int i = 1; i < kSums; ++i) sum = add_floats(sum, sums[t][i]);
    store_floats(out.at + (token + t) * out.stride, sum);
  }
}

template <typename Values>
void sparse_float_unit(const SparseFloatPanels& panels, const PreparedInput& input, int64_t unit, int64_t begin,
                       int64_t end, const UnitOutput& out) {
  int64_t t = begin;
  for (; t + kTokensAtOnce <= end; t += kTokensAtOnce)
    sparse_float_panel<Values, kTokensAtOnce>(panels, input, unit, t, out);
  for (; t < end; ++t) sparse_float_panel<Values, 1>(panels, input, unit, t, out);
}

template <DType kType>
OCKHAM_INLINE Floats load_values(const uint8_t* from) {
  if constexpr (kType == DType::kF32) return load_floats(reinterpret_cast<const float*>(from));
  return load_bf16(from);
}

template <DType kType, int kTokens>
void step_panel(const StepPanels& panels, const PreparedInput& input, int64_t unit, int64_t token,
                const UnitOutput& out) {
  constexpr int64_t kBytes = kType == DType::kF32 ? 64 : 32;
  const float* x = input.values + token * input.stride;
  Floats sums[kTokens];
  for (int t = 0; t < kTokens; ++t) sums[t] = zero_floats();
  Ints column = zero_ints();
  for (int64_t entry = panels.starts[unit]; entry < panels.starts[unit + 1]; ++entry) {
    column = add_ints(column, widen_u8(panels.steps + entry * kPanelRows));
    OCKHAM_PREFETCH(panels.values + entry * kBytes + kBytesAhead);
    const Floats weights = load_values<kType>(panels.values + entry * kBytes);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t)
      sums[t] = multiply_add(weights, gather_floats(x + t * input.stride, column), sums[t]);
  }
  for (int t = 0; t < kTokens; ++t) store_floats(out.at + (token + t) * out.stride, sums[t]);
}

template <DType kType>
void step_unit(const StepPanels& panels, const PreparedInput& input, int64_t unit, int64_t begin, int64_t end,
               const UnitOutput& out) {
  int64_t t = begin;
  for (; t + kTokensAtOnce <= end; t += kTokensAtOnce) step_panel<kType, kTokensAtOnce>(panels, input, unit, t, out);
  for (; t < end; ++t) step_panel<kType, 1>(panels, input, unit, t, out);
}

// Whole groups. One step is 16 columns.
template <int kBits>
struct GroupStep {
  static constexpr bool kWide = kBits == 8;
  static constexpr int kQuads = 4, kVectors = kBits / 2, kClasses = 2;
  static constexpr int kShiftOfOdd = kBits == 4 && kScaledCodes ? 4 : 0;
  static constexpr int kClass[kQuads] = {0, 1, 0, 1}, kShift[kClasses] = {0, kShiftOfOdd};

  static OCKHAM_INLINE void unpack(uint16_t mask, const uint8_t*& from, Bytes* codes) {
    const int64_t bytes = 4 * count_bits(mask);
    OCKHAM_PREFETCH(from + kBytesAhead);
#pragma GCC unroll 4
    for (int64_t v = 0; v < kVectors; ++v) {
      const Bytes lanes = expand_lanes(from, mask);
      from += bytes;
      if constexpr (kBits == 8) {
        codes[v] = lanes;
      } else {
        codes[2 * v] = field<0, 4>(lanes);
        codes[2 * v + 1] = field<4, 4>(lanes);
      }
    }
  }
};

OCKHAM_INLINE GroupScales expand_group(ScaleKind kind, const uint8_t* scales, const uint8_t* zeros, uint16_t mask) {
  const Floats scale = kind == ScaleKind::kF16    ? expand_f16(scales, mask)
                       : kind == ScaleKind::kBF16 ? expand_bf16(scales, mask)
                                                  : expand_floats(scales, mask);
  return {scale, expand_u8(zeros, mask), zero_floats()};
}

template <int kBits, int kPlanes, int kTokens>
void group_sparse_panel(const GroupSparsePanels& panels, const PreparedInput& input, int64_t unit, int64_t token,
                        const UnitOutput& out) {
  using S = GroupStep<kBits>;
  const int64_t columns = input.form.columns, group = input.form.group, kept = panels.starts[unit];
  const int64_t scale_bytes = panels.scale == ScaleKind::kF32 ? 4 : 2;
  const uint16_t* masks = panels.masks + unit * input.groups;
  const uint8_t* codes = panels.codes + kept * (group * kBits / 8);
  const uint8_t* scales = panels.scales + kept * scale_bytes;
  const uint8_t* zeros = panels.zeros + kept;
  IntegerSums<S, kPlanes, kTokens> sums;
  sums.start(input, token);
  Bytes step[S::kQuads];
  for (int64_t g = 0; g < input.groups; ++g) {
    const uint16_t mask = masks[g];
    const int64_t first = g * group, end = std::min(first + group, columns);
    for (int64_t column = first; column < end; column += 16) {
      S::unpack(mask, codes, step);
      sums.template add<0, S::kQuads>(step, column);
    }
    sums.finish_group(expand_group(panels.scale, scales, zeros, mask), false, g);
    scales += std::popcount(mask) * scale_bytes;
    zeros += std::popcount(mask);
  }
  sums.store(out, token);
}

template <int kBits, int kPlanes>
void group_sparse_tokens(const GroupSparsePanels& panels, const PreparedInput& input, int64_t unit, int64_t begin,
                         int64_t end, const UnitOutput& out) {
  constexpr int kMany = kTokensAtOnce / kPlanes;
  int64_t t = begin;
  for (; t + kMany <= end; t += kMany) group_sparse_panel<kBits, kPlanes, kMany>(panels, input, unit, t, out);
  for (; t < end; ++t) group_sparse_panel<kBits, kPlanes, 1>(panels, input, unit, t, out);
}
template <int kBits>
void group_sparse_unit(const GroupSparsePanels& panels, const PreparedInput& input, int64_t unit, int64_t begin,
                       int64_t end, const UnitOutput& out) {
  if (input.low != nullptr) return group_sparse_tokens<kBits, 2>(panels, input, unit, begin, end, out);
  return group_sparse_tokens<kBits, 1>(panels, input, unit, begin, end, out);
}
