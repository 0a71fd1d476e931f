// Rows of floats as they lie in a checkpoint. Four rows pass at a time, so that inputs are loaded once for all.

// 32 values of a row as two registers, in the order in which fill_values() leaves the inputs.
struct ReadF32 {
  static constexpr int64_t kBytes = 4;
  static OCKHAM_INLINE void read(const uint8_t* from, Floats& first, Floats& second) {
    first = load_floats(reinterpret_cast<const float*>(from));
    second = load_floats(reinterpret_cast<const float*>(from) + 16);
  }
};
struct ReadF16 {
  static constexpr int64_t kBytes = 2;
  static OCKHAM_INLINE void read(const uint8_t* from, Floats& first, Floats& second) {
    first = load_f16(from);
    second = load_f16(from + 32);
  }
};
struct ReadBF16 {
  static constexpr int64_t kBytes = 2;
  static OCKHAM_INLINE void read(const uint8_t* from, Floats& first, Floats& second) {
    load_bf16_pairs(from, first, second);
  }
};

template <int kRows, int kTokens>
struct DenseTile {
  Floats sums[kRows][kTokens];
  const uint8_t* rows[kRows];  // next values of each row
  const float* x[kTokens];     // next inputs of each token
  int64_t ahead;               // bytes to the rows of the next tile

  template <typename Read>
  OCKHAM_INLINE void add_block() {
    Floats first[kTokens], second[kTokens];
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      first[t] = load_floats(x[t]);
      second[t] = load_floats(x[t] + 16);
      x[t] += 32;
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      Floats a, b;
      OCKHAM_PREFETCH(rows[r] + ahead);
      if constexpr (Read::kBytes == 4) OCKHAM_PREFETCH(rows[r] + ahead + 64);
      Read::read(rows[r], a, b);
      rows[r] += 32 * Read::kBytes;
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        sums[r][t] = multiply_add(a, first[t], sums[r][t]);
        sums[r][t] = multiply_add(b, second[t], sums[r][t]);
      }
    }
  }
};

template <typename Read, int kRows, int kTokens>
void dense_tile(const DenseRows& dense, const PreparedInput& input, int64_t row, int64_t token, int64_t place,
                const UnitOutput& out) {
  DenseTile<kRows, kTokens> tile;
  tile.ahead = kRows * dense.row_stride * Read::kBytes;
  const int64_t rest = dense.columns % 32 * Read::kBytes;
  alignas(64) uint8_t ends[kRows][32 * Read::kBytes] = {};
  for (int r = 0; r < kRows; ++r) {
    tile.rows[r] = dense.values + (row + r) * dense.row_stride * Read::kBytes;
    for (int t = 0; t < kTokens; ++t) tile.sums[r][t] = zero_floats();
  }
  for (int t = 0; t < kTokens; ++t) tile.x[t] = input.values + (token + t) * input.stride;
  for (int64_t c = 0; c + 32 <= dense.columns; c += 32) tile.template add_block<Read>();
  if (rest != 0) {
    for (int r = 0; r < kRows; ++r) {
      std::memcpy(ends[r], tile.rows[r], static_cast<size_t>(rest));
      tile.rows[r] = ends[r];
    }
    tile.template add_block<Read>();
  }
  for (int r = 0; r < kRows; ++r) {
    for (int t = 0; t < kTokens; ++t) out.at[(token + t) * out.stride + place + r] = sum_floats(tile.sums[r][t]);
  }
}

template <typename Read, int kTokens>
void dense_rows(const DenseRows& dense, const PreparedInput& input, int64_t unit, int64_t token,
                const UnitOutput& out) {
  const int64_t first = unit * kPanelRows, count = std::min(kPanelRows, dense.rows - first);
  int64_t r = 0;
  for (; r + kDenseRows <= count; r += kDenseRows)
    dense_tile<Read, kDenseRows, kTokens>(dense, input, first + r, token, r, out);
  for (; r < count; ++r) dense_tile<Read, 1, kTokens>(dense, input, first + r, token, r, out);
}

template <typename Read>
void dense_unit(const DenseRows& dense, const PreparedInput& input, int64_t unit, int64_t begin, int64_t end,
                const UnitOutput& out) {
  int64_t t = begin;
  for (; t + kTokensAtOnce <= end; t += kTokensAtOnce) dense_rows<Read, kTokensAtOnce>(dense, input, unit, t, out);
  for (; t < end; ++t) dense_rows<Read, 1>(dense, input, unit, t, out);
}
