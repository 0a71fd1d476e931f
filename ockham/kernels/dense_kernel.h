// Rows of floats as they lie in a checkpoint. Some rows pass with some tokens at a time, so that weights and inputs are
// loaded once for all of them. Each sum is that of one row and one token in an order of its own, whatever the others.

// 16 of 32 values of a row, in the order in which fill_values() leaves the inputs.
struct ReadF32 {
  static constexpr int64_t kBytes = 4;
  template <int64_t kHalf>
  static OCKHAM_INLINE Floats read(const uint8_t* from) {
    return load_floats(reinterpret_cast<const float*>(from) + 16 * kHalf);
  }
};
struct ReadF16 {
  static constexpr int64_t kBytes = 2;
  template <int64_t kHalf>
  static OCKHAM_INLINE Floats read(const uint8_t* from) {
    return load_f16(from + 32 * kHalf);
  }
};
struct ReadBF16 {
  static constexpr int64_t kBytes = 2;
  template <int64_t kHalf>
  static OCKHAM_INLINE Floats read(const uint8_t* from) {
    Floats even, odd;
    load_bf16_pairs(from, even, odd);
    return kHalf == 0 ? even : odd;
  }
};

template <int kRows, int kTokens>
struct DenseTile {
  Floats sums[kTokens][kRows];
  const float* x[kTokens];
  float* out[kTokens];

  // Tokens from `token` on; of those beyond the last, the last is done again.
  OCKHAM_INLINE DenseTile(const PreparedInput& input, int64_t token, int64_t last, const UnitOutput& to) {
    const float* from = input.values + token * input.stride;
    float* at = to.at + token * to.stride;
#pragma GCC unroll 6
    for (int t = 0; t < kTokens; ++t) {
      x[t] = from;
      out[t] = at;
      if (token + t < last) {
        from += input.stride;
        at += to.stride;
      }
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) sums[t][r] = zero_floats();
    }
  }
  // The products of 32 columns, of which the inputs begin at `column`.
  template <typename Read>
  OCKHAM_INLINE void add_block(const uint8_t* const* rows, int64_t offset, int64_t column) {
    add_half<Read, 0>(rows, offset, column);
    add_half<Read, 1>(rows, offset, column);
  }
  template <typename Read, int64_t kHalf>
  OCKHAM_INLINE void add_half(const uint8_t* const* rows, int64_t offset, int64_t column) {
    Floats weights[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) weights[r] = Read::template read<kHalf>(rows[r] + offset);
#pragma GCC unroll 6
    for (int t = 0; t < kTokens; ++t) {
      const Floats inputs = load_floats(x[t] + column + 16 * kHalf);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) sums[t][r] = multiply_add(weights[r], inputs, sums[t][r]);
    }
  }
  OCKHAM_INLINE void store(int64_t place) const {
#pragma GCC unroll 6
    for (int t = 0; t < kTokens; ++t) {
      if constexpr (kRows == 4) {
        store_sums(out[t] + place, sums[t]);
      } else {
        for (int64_t r = 0; r < kRows; ++r) out[t][place + r] = sum_floats(sums[t][r]);
      }
    }
  }
};

template <typename Read, int kRows, int kTokens>
void dense_tile(const DenseRows& dense, const PreparedInput& input, int64_t row, int64_t token, int64_t last,
                const UnitOutput& out) {
  constexpr int64_t kBlock = 32 * Read::kBytes;
  DenseTile<kRows, kTokens> tile(input, token, last, out);
  const uint8_t* rows[kRows];
  rows[0] = dense.values + row * dense.row_stride * Read::kBytes;
  for (int r = 1; r < kRows; ++r) rows[r] = rows[r - 1] + dense.row_stride * Read::kBytes;
  const int64_t whole = dense.columns / 32, ahead = kRows * dense.row_stride * Read::kBytes;
  for (int64_t i = 0; i < whole; ++i) {
    if constexpr (kTokens == 1) {
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        OCKHAM_PREFETCH(rows[r] + i * kBlock + ahead);
        if constexpr (Read::kBytes == 4) OCKHAM_PREFETCH(rows[r] + i * kBlock + ahead + 64);
      }
    }
    tile.template add_block<Read>(rows, i * kBlock, i * 32);
  }
  if (const int64_t rest = dense.columns % 32 * Read::kBytes; rest != 0) {
    alignas(64) uint8_t ends[kRows][kBlock] = {};
    const uint8_t* last_rows[kRows];
    for (int r = 0; r < kRows; ++r) {
      std::memcpy(ends[r], rows[r] + whole * kBlock, static_cast<size_t>(rest));
      last_rows[r] = ends[r];
    }
    tile.template add_block<Read>(last_rows, 0, whole * 32);
  }
  tile.store(row % kPanelRows);
}

template <typename Read, int kTokens>
void dense_rows(const DenseRows& dense, const PreparedInput& input, int64_t unit, int64_t token, int64_t last,
                const UnitOutput& out) {
  const int64_t first = unit * kPanelRows, count = std::min(kPanelRows, dense.rows - first);
  if constexpr (kTokens > 1) {
    // Outputs of the next tokens, often lines that fell out of the caches since the rows before.
    for (int64_t t = token + kTokens; t < std::min(token + int64_t{2} * kTokens, last); ++t)
      __builtin_prefetch(out.at + t * out.stride, 1, 3);
  }
  int64_t r = 0;
  for (; r + kDenseRows <= count; r += kDenseRows)
    dense_tile<Read, kDenseRows, kTokens>(dense, input, first + r, token, last, out);
  for (; r < count; ++r) dense_tile<Read, 1, kTokens>(dense, input, first + r, token, last, out);
}

template <typename Read>
void dense_unit(const DenseRows& dense, const PreparedInput& input, int64_t unit, int64_t begin, int64_t end,
                const UnitOutput& out) {
  int64_t t = begin;
  for (; t + 1 < end; t += kDenseTokens) dense_rows<Read, kDenseTokens>(dense, input, unit, t, end - 1, out);
  if (t < end) dense_rows<Read, 1>(dense, input, unit, t, end - 1, out);
}
