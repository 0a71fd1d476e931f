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
};

struct TileSums {
  alignas(64) float at[kTokenTiles + 1][2][kTileWords];  // the last takes what belongs to no tokens
};

// Adds the product of a block with the tokens of two right tiles, plane by plane.
OCKHAM_INLINE void add_words(const WordBlock& block, const PreparedInput& input, const uint16_t* first,
                             const uint16_t* second, float (*first_sums)[kTileWords],
                             float (*second_sums)[kTileWords]) {
  load_tile<0>(first_sums[0], 64);
  load_tile<2>(first_sums[1], 64);
  load_tile<1>(second_sums[0], 64);
  load_tile<3>(second_sums[1], 64);
  for (int64_t k = 0; k < block.count; ++k) {
    load_tile<kLeftTile>(block.tiles[0][k], 64);
    load_tile<kLeftTile + 1>(block.tiles[1][k], 64);
    const int64_t at = k * kWordColumns * kTileRows;
    for (int64_t plane = 0; plane < input.planes; ++plane) {
      load_tile<kRightTile>(first + plane * input.plane_words + at, 64);
      multiply_bf16<0, kLeftTile, kRightTile>();
      multiply_bf16<2, kLeftTile + 1, kRightTile>();
      load_tile<kRightTile + 1>(second + plane * input.plane_words + at, 64);
      multiply_bf16<1, kLeftTile, kRightTile + 1>();
      multiply_bf16<3, kLeftTile + 1, kRightTile + 1>();
    }
  }
  store_tile<0>(first_sums[0], 64);
  store_tile<2>(first_sums[1], 64);
  store_tile<1>(second_sums[0], 64);
  store_tile<3>(second_sums[1], 64);
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
  std::memset(sums.at, 0, sizeof sums.at);
  for (int64_t column = 0; column < dense.columns; column += kBlockWords) {
    block.read(dense, units, column);
    for (int64_t tile = 0; tile < tiles; tile += 2) {
      const uint16_t* first = words + tile * tile_words + column * kTileRows;
      const bool is_pair = tile + 1 < tiles;
      add_words(block, input, first, is_pair ? first + tile_words : first, sums.at[tile],
                sums.at[is_pair ? tile + 1 : kTokenTiles]);
    }
  }
  store_sums(sums, units, begin, end, out);
}

inline bool prefill_bf16(const DenseRows& dense, const PreparedInput& input, const UnitRange& units, int64_t begin,
                         int64_t end, const UnitOutput& out) {
  if (input.words == nullptr) return false;
  const Tiles tiles;
  for (int64_t t = begin; t < end; t += kTokensOfPass)
    multiply_words(dense, input, units, t, std::min(t + kTokensOfPass, end), out);
  return true;
}

OCKHAM_INLINE __m512 words_to_floats(__m256i words) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16));
}

// Inputs rounded to bf16, what that lost rounded again for the next plane, in pairs of columns side by side for the 16
// tokens of a tile.
inline void fill_words(const PreparedInput& input, const FillRange& range) {
  for (int64_t token = range.begin; token < range.end; ++token) {
    const float* x = range.x + token * range.stride;
    uint16_t* to = input.words + token / kTileRows * kTileRows * input.form.columns + token % kTileRows * 2;
    for (int64_t c = 0; c < input.form.columns; c += 32, to += 32 * kTileRows) {
      alignas(64) uint32_t pairs[16];
      const int64_t left = range.columns - c;
      const auto mask = left >= 32 ? 0xffffffffU : left <= 0 ? 0U : (1U << left) - 1;
      __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), x + c);
      __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), x + c + 16);
      for (int64_t plane = 0; plane < input.planes; ++plane) {
        const auto words = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
        _mm512_store_si512(pairs, words);
        uint16_t* place = to + plane * input.plane_words;
        for (int64_t i = 0; i < 16; ++i) std::memcpy(place + i * 32, &pairs[i], sizeof(uint32_t));
        low = _mm512_sub_ps(low, words_to_floats(_mm512_castsi512_si256(words)));
        high = _mm512_sub_ps(high, words_to_floats(_mm512_extracti64x4_epi64(words, 1)));
      }
    }
  }
}
inline void fill_amx(const PreparedInput& input, const FillRange& range, bool one_step) {
  if (input.words != nullptr) {
    fill_words(input, range);
  } else {
    avx512_kernels().fill(input, range, one_step);
  }
}
