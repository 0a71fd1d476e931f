// Matrices with zeros left out: bitmaps, column steps, whole groups. Where the values of a mask end is added up without
// a branch.

template <typename Mask>
OCKHAM_INLINE int64_t count_bits(Mask mask) {
  return std::popcount(mask);
}

// Bitmaps of integers. Four quads, summed in turns.
template <int kWidth>
struct SparseStep {
  static constexpr int kBits = kWidth;
  static constexpr bool kWide = kBits == 8;
  static constexpr int kQuads = 4, kClasses = 2;
  static constexpr int kClass[kQuads] = {0, 1, 0, 1}, kShift[kClasses] = {0, 0};

  static OCKHAM_INLINE void unpack(const uint64_t* masks, Bytes fill, const uint8_t*& values, Bytes* codes) {
    if constexpr (kWide) {
#pragma GCC unroll 4
      for (int q = 0; q < kQuads; ++q) {
        OCKHAM_PREFETCH(values + kBytesAhead);
        codes[q] = expand_bytes(fill, values, masks + q);
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
      OCKHAM_PREFETCH(masks + kBytesAhead / 8);
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

// As many sums as leave room for the weights of one mask.
constexpr int kTokensOfBitmap = kTakesTurned ? 16 : kTokensAtOnce;

template <typename Values, int kTokens>
void sparse_float_panel(const SparseFloatPanels& panels, const PreparedInput& input, int64_t unit, int64_t token,
                        const UnitOutput& out) {
  const int64_t columns = input.form.columns;
  const uint64_t* masks = panels.masks + unit * (columns / 4);
  const uint8_t* values = panels.values + panels.starts[unit];
  const float* x[kTokens];
  constexpr int kSums = kTokens == 1 ? 4 : 1;
  Floats sums[kTokens][kSums], weights[4];
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
    x[t] = input.values + (token + t) * input.stride;
    for (int i = 0; i < kSums; ++i) sums[t][i] = zero_floats();
  }
  for (int64_t c = 0; c < columns; c += 4) {
    OCKHAM_PREFETCH(values + kBytesAhead);
    OCKHAM_PREFETCH(masks + kBytesAhead / 16);
    Values::unpack(*masks++, values, weights);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 16
      for (int t = 0; t < kTokens; ++t) {
        Floats& sum = sums[t][i % kSums];
        sum = multiply_add(weights[i], fill_floats(x[t][c + i]), sum);
      }
    }
  }
#pragma GCC unroll 16
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
  for (; t + kTokensOfBitmap <= end; t += kTokensOfBitmap)
    sparse_float_panel<Values, kTokensOfBitmap>(panels, input, unit, t, out);
  for (; t + kTokensAtOnce <= end; t += kTokensAtOnce)
    sparse_float_panel<Values, kTokensAtOnce>(panels, input, unit, t, out);
  for (; t < end; ++t) sparse_float_panel<Values, 1>(panels, input, unit, t, out);
}

// Column steps: four entries at a time.
template <DType kType>
struct StepValues {
  static constexpr int64_t kBytes = kType == DType::kF32 ? 256 : 128;
  static OCKHAM_INLINE void load(const uint8_t* from, Floats* values) {
    if constexpr (kType == DType::kF32) {
#pragma GCC unroll 4
      for (int64_t i = 0; i < 4; ++i) {
        OCKHAM_PREFETCH(from + 64 * i + kBytesAhead);
        values[i] = load_floats(reinterpret_cast<const float*>(from) + 16 * i);
      }
    } else {
#pragma GCC unroll 2
      for (int64_t i = 0; i < 2; ++i) {
        OCKHAM_PREFETCH(from + 64 * i + kBytesAhead);
        load_bf16_pairs(from + 64 * i, values[2 * i], values[2 * i + 1]);
      }
    }
  }
};

// Calls take(values, columns) for every four entries of a panel.
template <DType kType, int kBits, typename Take>
OCKHAM_INLINE void for_entries(const StepPanels& panels, int64_t unit, const Take& take) {
  constexpr int64_t kFours = 8 / kBits;
  const uint8_t *steps = panels.steps + panels.starts[unit] * kBits * 2,
                *values = panels.values + panels.starts[unit] * (StepValues<kType>::kBytes / 4);
  Ints column = zero_ints();
  for (int64_t left = (panels.starts[unit + 1] - panels.starts[unit]) / (4 * kFours); left > 0; --left) {
    Bytes of[2] = {load_ahead(steps)};
    if constexpr (kBits == 4) {
      of[1] = and_bytes(shift_bytes<4>(of[0]), fill_bytes(15));
      of[0] = and_bytes(of[0], fill_bytes(15));
    }
#pragma GCC unroll 2
    for (int64_t i = 0; i < kFours; ++i) {
      Floats found[4];
      StepValues<kType>::load(values, found);
      const Ints columns[4] = {add_first_bytes<1>(column, of[i]), add_first_bytes<2>(column, of[i]),
                               add_first_bytes<3>(column, of[i]), add_first_bytes<4>(column, of[i])};
      column = columns[3];
      take(found, columns);
      values += StepValues<kType>::kBytes;
    }
    steps += 64;
  }
}

template <DType kType, int kBits, int kTokens>
void step_panel(const StepPanels& panels, const PreparedInput& input, int64_t unit, int64_t token,
                const UnitOutput& out) {
  const float* x = input.values + token * input.stride;
  Floats sums[kTokens];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) sums[t] = zero_floats();
  for_entries<kType, kBits>(panels, unit, [&](const Floats* values, const Ints* columns) OCKHAM_LAMBDA_INLINE {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t)
        sums[t] = multiply_add(values[i], gather_floats(x + t * input.stride, columns[i]), sums[t]);
    }
  });
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) store_floats(out.at + (token + t) * out.stride, sums[t]);
}

// Inputs that are turned: 16 tokens of each row at a time. No work for zeros, and each sum in the order of step_panel.
template <DType kType, int kBits>
void step_turned(const StepPanels& panels, const PreparedInput& input, int64_t unit, int64_t token, int64_t last,
                 const UnitOutput& out) {
  const float* x = input.values + token * input.stride;
  alignas(64) float sums_of[kPanelRows][kPanelRows], weights[4][kPanelRows];
  alignas(64) int32_t at[4][kPanelRows];
  Floats sums[kPanelRows];
#pragma GCC unroll 16
  for (int r = 0; r < kPanelRows; ++r) sums[r] = zero_floats();
  for_entries<kType, kBits>(panels, unit, [&](const Floats* values, const Ints* columns) OCKHAM_LAMBDA_INLINE {
    std::memcpy(at, columns, sizeof at);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) store_floats(weights[i], values[i]);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 16
      for (int r = 0; r < kPanelRows; ++r)
        sums[r] = multiply_add(fill_floats(weights[i][r]), load_floats(x + int64_t{at[i][r]} * 16), sums[r]);
    }
  });
#pragma GCC unroll 16
  for (int r = 0; r < kPanelRows; ++r) store_floats(sums_of[r], sums[r]);
  for (int64_t t = token; t < std::min(token + kPanelRows, last); ++t) {
    for (int64_t r = 0; r < kPanelRows; ++r) out.at[t * out.stride + r] = sums_of[r][t - token];
  }
}

template <DType kType, int kBits>
void step_tokens(const StepPanels& panels, const PreparedInput& input, int64_t unit, int64_t begin, int64_t end,
                 const UnitOutput& out) {
  int64_t t = begin;
  if constexpr (kTakesTurned) {
    for (; input.is_turned && t < end; t += kPanelRows) step_turned<kType, kBits>(panels, input, unit, t, end, out);
  }
  for (; t + kTokensAtOnce <= end; t += kTokensAtOnce)
    step_panel<kType, kBits, kTokensAtOnce>(panels, input, unit, t, out);
  for (; t < end; ++t) step_panel<kType, kBits, 1>(panels, input, unit, t, out);
}
template <DType kType>
void step_unit(const StepPanels& panels, const PreparedInput& input, int64_t unit, int64_t begin, int64_t end,
               const UnitOutput& out) {
  if (panels.step_bits == 4) return step_tokens<kType, 4>(panels, input, unit, begin, end, out);
  return step_tokens<kType, 8>(panels, input, unit, begin, end, out);
}

// Whole groups. One step is 16 columns.
template <int kWidth, bool kScaled = kScaledCodes>
struct GroupStep {
  static constexpr int kBits = kWidth;
  static constexpr bool kWide = kBits == 8;
  static constexpr int kQuads = 4, kVectors = kBits / 2, kClasses = 2;
  static constexpr int kShiftOfOdd = kBits == 4 && kScaled ? 4 : 0;
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
        codes[2 * v] = field<0, 4, kScaled>(lanes);
        codes[2 * v + 1] = field<4, 4, kScaled>(lanes);
      }
    }
  }
};

// Scales and zeros of the groups that `mask` keeps.
OCKHAM_INLINE GroupScales expand_group(const GroupSparsePanels& panels, int64_t before, uint16_t mask) {
  if (panels.scale == ScaleKind::kF32) {
    return {expand_floats(panels.scales + 4 * before, mask), expand_u8(panels.zeros + before, mask), zero_floats()};
  }
  OCKHAM_PREFETCH(panels.scales + 4 * before + kBytesAhead / 2);
  const Bytes records = expand_lanes(panels.scales + 4 * before, mask);
  const Ints zero = first_bytes(records);
  if (panels.scale == ScaleKind::kF16) return {upper_f16(records), zero, zero_floats()};
  return {upper_bf16(records), zero, zero_floats()};
}

// kSixteen: groups of 16 columns, one step each.
template <int kBits, int kPlanes, int kTokens, bool kSixteen>
void group_sparse_panel(const GroupSparsePanels& panels, const PreparedInput& input, int64_t unit, int64_t token,
                        const UnitOutput& out) {
  using S = GroupStep<kBits>;
  const int64_t columns = input.form.columns, group = kSixteen ? 16 : input.form.group;
  const uint16_t* masks = panels.masks + unit * input.groups;
  int64_t kept = panels.starts[unit];
  const uint8_t* codes = panels.codes + kept * (group * kBits / 8);
  IntegerSums<S, kPlanes, kTokens> sums;
  sums.start(input, token);
  Bytes step[S::kQuads];
  for (int64_t g = 0; g < input.groups; ++g) {
    const uint16_t mask = masks[g];
    const int64_t first = g * group, end = kSixteen ? first + 16 : std::min(first + group, columns);
    for (int64_t column = first; column < end; column += 16) {
      S::unpack(mask, codes, step);
      sums.template add<0, S::kQuads>(step, column);
    }
    sums.finish_group(expand_group(panels, kept, mask), false, g);
    kept += count_bits(mask);
  }
  sums.store(out, token);
}

template <int kBits, int kPlanes>
void group_sparse_tokens(const GroupSparsePanels& panels, const PreparedInput& input, int64_t unit, int64_t begin,
                         int64_t end, const UnitOutput& out) {
  constexpr int kMany = kTokensAtOnce / kPlanes;
  int64_t t = begin;
  const bool is_sixteen = input.form.group == 16;
  const auto many =
      is_sixteen ? group_sparse_panel<kBits, kPlanes, kMany, true> : group_sparse_panel<kBits, kPlanes, kMany, false>;
  const auto one =
      is_sixteen ? group_sparse_panel<kBits, kPlanes, 1, true> : group_sparse_panel<kBits, kPlanes, 1, false>;
  for (; t + kMany <= end; t += kMany) many(panels, input, unit, t, out);
  for (; t < end; ++t) one(panels, input, unit, t, out);
}
template <int kBits>
void group_sparse_unit(const GroupSparsePanels& panels, const PreparedInput& input, int64_t unit, int64_t begin,
                       int64_t end, const UnitOutput& out) {
  if (input.low != nullptr) return group_sparse_tokens<kBits, 2>(panels, input, unit, begin, end, out);
  return group_sparse_tokens<kBits, 1>(panels, input, unit, begin, end, out);
}
