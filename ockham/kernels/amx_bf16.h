// Many tokens with rows of bf16. Left tiles are 32 rows of weights, right tiles 32 tokens whose inputs were rounded to
// bf16 and stand in pairs (PreparedInput::words). A block of weights is copied into whole tiles and stays in the first
// cache while the tokens pass.

constexpr int64_t kWordColumns = 32, kBlockTiles = 8, kBlockWords = kWordColumns * kBlockTiles;
constexpr int64_t kTokenTiles = kTokensOfPass / kTileRows;

// 16 x 16 floats, turned over.
OCKHAM_INLINE void turn_tile(const float* from, float* to, int64_t stride) {
  __m512 r[16], t[16];
  for (int64_t i = 0; i < 16; ++i) r[i] = _mm512_load_ps(from + 16 * i);
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xEE);
    r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xDD);
    t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xDD);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xDD);
    r[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xDD);
  }
  for (int i = 0; i < 16; ++i) _mm512_storeu_ps(to + i * stride, r[i]);
}

// Two tiles of rows by kBlockTiles of columns, zeros beyond the matrix.
struct WordBlock {
  alignas(64) uint8_t tiles[2][kBlockTiles][kTileBytes];
  int64_t count = 0;  // tiles of columns

  void read(const DenseRows& dense, const UnitRange& units, int64_t column) {
    count = std::min(kBlockTiles, (dense.columns - column + kWordColumns - 1) / kWordColumns);
    for (int64_t r = 0; r < 2 * kTileRows; ++r) {
      const int64_t row = units.first * kPanelRows + r;
      const bool is_row = r < units.count * kPanelRows && row < dense.rows;
      const uint8_t* from = dense.values + (row * dense.row_stride + column) * 2;
      for (int64_t k = 0; k < count; ++k, from += 64) {
        const int64_t left = is_row ? std::min(kWordColumns, dense.columns - column - k * kWordColumns) : 0;
        const auto mask = static_cast<__mmask32>(left >= 32 ? 0xffffffffU : (1U << left) - 1);
        _mm512_store_si512(tiles[r / kTileRows][k] + r % kTileRows * 64, _mm512_maskz_loadu_epi16(mask, from));
      }
    }
  }
  // Asks for a part of the rows' next columns, or of the next rows.
  static void fetch_next(const DenseRows& dense, const UnitRange& units, int64_t column, int64_t part, int64_t parts) {
    constexpr int64_t kRows = 2 * kTileRows;
    const bool is_end = column + kBlockWords >= dense.columns;
    const int64_t row = units.first * kPanelRows + (is_end ? kRows : 0);
    const uint8_t* from = dense.values + (row * dense.row_stride + (is_end ? 0 : column + kBlockWords)) * 2;
    for (int64_t r = kRows * part / parts; r < kRows * (part + 1) / parts; ++r) {
      for (int64_t i = 0; i < kBlockWords * 2; i += 64) OCKHAM_PREFETCH(from + r * dense.row_stride * 2 + i);
    }
  }
};

struct TileSums {
  // The last takes what belongs to no tokens, the one before it what stands in the tiles at first.
  alignas(64) float at[kTokenTiles + 2][2][kTileWords];
};

// Adds products of blocks with two right tiles of tokens. Sums of the last two stay in the tiles until the next come,
// so that nothing waits for the last products.
class WordProducts {
 public:
  WordProducts(TileSums& sums, const PreparedInput& input)
      : sums_(sums),
        planes_(input.planes),
        plane_words_(input.plane_words),
        held_first_(sums.at[kTokenTiles]),
        held_second_(sums.at[kTokenTiles + 1]) {
    zero_sums();
  }
  // A tile beyond the last token is negative.
  void add(const WordBlock& block, const uint16_t* first, const uint16_t* second, int64_t first_tile,
           int64_t second_tile) {
    auto* const next_first = sums_.at[first_tile];
    auto* const next_second = sums_.at[second_tile < 0 ? kTokenTiles + 1 : second_tile];
    for (int64_t k = 0; k < block.count; ++k) {
      const int64_t at = k * kWordColumns * kTileRows;
      load_tile<kLeftTile>(block.tiles[0][k], 64);
      load_tile<kRightTile>(first + at, 64);
      if (k == 0) exchange<0>(held_first_[0], next_first[0]);
      multiply_bf16<0, kLeftTile, kRightTile>();
      load_tile<kLeftTile + 1>(block.tiles[1][k], 64);
      if (k == 0) exchange<2>(held_first_[1], next_first[1]);
      multiply_bf16<2, kLeftTile + 1, kRightTile>();
      load_tile<kRightTile + 1>(second + at, 64);
      if (k == 0) exchange<1>(held_second_[0], next_second[0]);
      multiply_bf16<1, kLeftTile, kRightTile + 1>();
      if (k == 0) exchange<3>(held_second_[1], next_second[1]);
      multiply_bf16<3, kLeftTile + 1, kRightTile + 1>();
      for (int64_t plane = 1; plane < planes_; ++plane) {
        load_tile<kRightTile>(first + plane * plane_words_ + at, 64);
        multiply_bf16<0, kLeftTile, kRightTile>();
        multiply_bf16<2, kLeftTile + 1, kRightTile>();
        load_tile<kRightTile + 1>(second + plane * plane_words_ + at, 64);
        multiply_bf16<1, kLeftTile, kRightTile + 1>();
        multiply_bf16<3, kLeftTile + 1, kRightTile + 1>();
      }
    }
    held_first_ = next_first;
    held_second_ = next_second;
  }
  void finish() {
    store_tile<0>(held_first_[0], 64);
    store_tile<2>(held_first_[1], 64);
    store_tile<1>(held_second_[0], 64);
    store_tile<3>(held_second_[1], 64);
  }

 private:
  template <int kTile>
  OCKHAM_INLINE void exchange(float* to, const float* from) {
    store_tile<kTile>(to, 64);
    load_tile<kTile>(from, 64);
  }

  TileSums& sums_;
  int64_t planes_, plane_words_;
  float (*held_first_)[kTileWords];
  float (*held_second_)[kTileWords];
};

// Outputs of the next two tiles of tokens lie far apart, and are seldom in a cache when they are written.
OCKHAM_INLINE void fetch_outputs(const UnitOutput& out, int64_t begin, int64_t end, int64_t panels) {
  for (int64_t t = begin; t < std::min(begin + 2 * kTileRows, end); ++t) {
    for (int64_t p = 0; p < panels; ++p) __builtin_prefetch(out.at + t * out.stride + p * kPanelRows, 1, 2);
  }
}

inline void store_sums(const TileSums& sums, const UnitRange& units, int64_t begin, int64_t end,
                       const UnitOutput& out) {
  alignas(64) float turned[kTileWords];
  for (int64_t t = begin; t < end; t += kTileRows) {
    for (int64_t u = 0; u < units.count; ++u) {
      turn_tile(sums.at[(t - begin) / kTileRows][u], turned, kTileRows);
      for (int64_t i = 0; i < std::min(kTileRows, end - t); ++i)
        store_floats(out.at + (t + i) * out.stride + u * kPanelRows, load_floats(turned + i * kTileRows));
    }
  }
}

// Tokens from `begin`, which begins a tile of the inputs, on.
inline void multiply_words(const DenseRows& dense, const PreparedInput& input, const UnitRange& units, int64_t begin,
                           int64_t end, const UnitOutput& out) {
  const int64_t tile_words = input.form.columns * kTileRows, tiles = (end - begin + kTileRows - 1) / kTileRows;
  const uint16_t* words = input.words + begin / kTileRows * tile_words;
  WordBlock block;
  TileSums sums;
  std::memset(sums.at, 0, static_cast<size_t>(tiles) * sizeof sums.at[0]);
  WordProducts products(sums, input);
  for (int64_t column = 0; column < dense.columns; column += kBlockWords) {
    block.read(dense, units, column);
    const bool is_last = column + kBlockWords >= dense.columns;
    for (int64_t tile = 0; tile < tiles; tile += 2) {
      const uint16_t* first = words + tile * tile_words + column * kTileRows;
      const bool is_pair = tile + 1 < tiles;
      if (is_last) fetch_outputs(out, begin + tile * kTileRows, end, units.count);
      WordBlock::fetch_next(dense, units, column, tile / 2, (tiles + 1) / 2);
      products.add(block, first, is_pair ? first + tile_words : first, tile, is_pair ? tile + 1 : -1);
    }
  }
  products.finish();
  store_sums(sums, units, begin, end, out);
}

inline bool prefill_bf16(const DenseRows& dense, const PreparedInput& input, const UnitRange& units, int64_t begin,
                         int64_t end, const UnitOutput& out) {
  if (input.words == nullptr) return false;
  const Tiles tiles;
  for (int64_t t = begin; t < end; t += kTokensOfPass) {
    for (int64_t u = 0; u < units.count; u += 2) {
      const UnitRange pair{units.first + u, std::min<int64_t>(2, units.count - u)};
      multiply_words(dense, input, pair, t, std::min(t + kTokensOfPass, end), {out.at + u * kPanelRows, out.stride});
    }
  }
  return true;
}

OCKHAM_INLINE __m512 words_to_floats(__m256i words) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16));
}

// 32 inputs rounded to bf16, in pairs; zeros from `left` on. What one plane loses is rounded for the next, kTileWords
// floats behind it.
OCKHAM_INLINE void round_words(const float* x, int64_t left, int64_t planes, float* pairs) {
  const auto mask = left >= 32 ? 0xffffffffU : left <= 0 ? 0U : (1U << left) - 1;
  __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), x);
  __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), x + 16);
  for (int64_t plane = 0;; ++plane, pairs += kTileWords) {
    const auto words = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
    _mm512_store_si512(pairs, words);
    if (plane + 1 == planes) return;
    low = _mm512_sub_ps(low, words_to_floats(_mm512_castsi512_si256(words)));
    high = _mm512_sub_ps(high, words_to_floats(_mm512_extracti64x4_epi64(words, 1)));
  }
}

// Inputs rounded to bf16, in pairs of columns side by side for the 16 tokens of a tile.
inline void fill_words(const PreparedInput& input, const FillRange& range) {
  constexpr int64_t kMostPlanes = 3;
  alignas(64) float pairs[kMostPlanes][kTileWords];
  for (int64_t begin = range.begin; begin < range.end;) {
    const int64_t tile = begin / kTileRows, first = begin % kTileRows,
                  count = std::min(kTileRows - first, range.end - begin);
    uint16_t* to = input.words + tile * kTileRows * input.form.columns;
    for (int64_t c = 0; c < input.form.columns; c += kWordColumns, to += kWordColumns * kTileRows) {
      for (int64_t i = 0; i < count; ++i) {
        const float* x = range.x + (begin + i) * range.stride + c;
        round_words(x, range.columns - c, input.planes, pairs[0] + i * kTileRows);
      }
      for (int64_t plane = 0; plane < input.planes; ++plane) {
        uint16_t* place = to + plane * input.plane_words;
        if (count == kTileRows) {
          turn_tile(pairs[plane], reinterpret_cast<float*>(place), kTileRows);
          continue;
        }
        for (int64_t i = 0; i < count; ++i) {
          for (int64_t k = 0; k < kTileRows; ++k)
            std::memcpy(place + 32 * k + 2 * (first + i), pairs[plane] + i * kTileRows + k, sizeof(float));
        }
      }
    }
    begin += count;
  }
}
inline void fill_amx(const PreparedInput& input, const FillRange& range, bool one_step) {
  if (input.words != nullptr) {
    fill_words(input, range);
  } else {
    avx512_kernels().fill(input, range, one_step);
  }
}
