// Many tokens with rows of bf16. Left tiles are 16 tokens whose inputs were rounded to bf16 (PreparedInput::words),
// right tiles 16 rows of weights, turned over into pairs of columns, so that sums lie as outputs do. A block of weights
// is turned once and stays in the first cache while the tokens pass.

constexpr int64_t kWordColumns = 32, kBlockTiles = 8, kBlockWords = kWordColumns * kBlockTiles;
constexpr int64_t kTokenTiles = kTokensOfPass / kTileRows;

// 16 x 16 words of four bytes, turned over, to 1024 aligned bytes.
OCKHAM_INLINE void turn_words(__m512 (&r)[16], uint8_t* to) {
  __m512 t[16];
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
  for (int64_t i = 0; i < 16; ++i) _mm512_store_ps(to + 64 * i, r[i]);
}

// Two panels by kBlockTiles of columns, zeros beyond the matrix.
struct WordBlock {
  alignas(64) uint8_t tiles[2][kBlockTiles][kTileBytes];
  int64_t count = 0;  // tiles of columns

  void read(const DenseRows& dense, const UnitRange& units, int64_t column) {
    count = std::min(kBlockTiles, (dense.columns - column + kWordColumns - 1) / kWordColumns);
    for (int64_t panel = 0; panel < 2; ++panel) {
      const int64_t first = (units.first + panel) * kPanelRows;
      const int64_t rows = panel < units.count ? std::clamp<int64_t>(dense.rows - first, 0, kPanelRows) : 0;
      const uint8_t* from = dense.values + (first * dense.row_stride + column) * 2;
      for (int64_t k = 0; k < count; ++k, from += 64) {
        const int64_t left = std::min(kWordColumns, dense.columns - column - k * kWordColumns);
        const auto mask = static_cast<__mmask32>(left >= 32 ? 0xffffffffU : (1U << left) - 1);
        __m512 r[16];
        for (int64_t i = 0; i < kPanelRows; ++i)
          r[i] = _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(i < rows ? mask : 0, from + i * dense.row_stride * 2));
        turn_words(r, tiles[panel][k]);
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

// Tokens [begin, end) of a pass and where their sums go: `panels` panels side by side.
struct WordOutput {
  int64_t begin, end, panels;
  UnitOutput out;

  // Outputs of the next two tiles of tokens lie far apart, and are seldom in a cache when they are written.
  OCKHAM_INLINE void fetch(int64_t tile) const {
    const int64_t first = begin + tile * kTileRows;
    for (int64_t t = first; t < std::min(first + 2 * kTileRows, end); ++t) {
      for (int64_t p = 0; p < panels; ++p) __builtin_prefetch(out.at + t * out.stride + p * kPanelRows, 1, 2);
    }
  }
  bool is_whole(int64_t tile) const { return begin + (tile + 1) * kTileRows <= end; }
  float* at(int64_t tile, int64_t panel) const {
    return out.at + (begin + tile * kTileRows) * out.stride + panel * kPanelRows;
  }
  // Sums of a tile with less than 16 tokens.
  void copy(const float* sums, int64_t tile, int64_t panel) const {
    float* to = at(tile, panel);
    for (int64_t i = 0; i < end - begin - tile * kTileRows; ++i)
      store_floats(to + i * out.stride, load_floats(sums + i * kPanelRows));
  }
};

// Sums of the tokens of a pass: [tile of tokens][panel][16 tokens, 16 rows].
using WordSums = float[kTokenTiles + 1][2][kTileWords];

// Adds products of two left tiles of tokens with blocks. Sums of the last two stay in the tiles until the next come, so
// that nothing waits for the last products.
class WordProducts {
 public:
  WordProducts(WordSums& sums, const PreparedInput& input, const WordOutput& output)
      : sums_(sums), output_(output), planes_(input.planes), plane_words_(input.plane_words) {}
  // Two tiles from `tile` on; begins_sums, ends_sums: with the first and the last block.
  void add(const WordBlock& block, const uint16_t* first, const uint16_t* second, int64_t tile, bool begins_sums,
           bool ends_sums) {
    for (int64_t k = 0; k < block.count; ++k) {
      const int64_t at = k * kWordColumns * kTileRows;
      load_tile<kRightTile>(block.tiles[0][k], 64);
      load_tile<kLeftTile>(first + at, 64);
      if (k == 0) exchange<0>(tile, begins_sums);
      multiply_bf16<0, kLeftTile, kRightTile>();
      load_tile<kRightTile + 1>(block.tiles[1][k], 64);
      if (k == 0) exchange<1>(tile, begins_sums);
      multiply_bf16<1, kLeftTile, kRightTile + 1>();
      load_tile<kLeftTile + 1>(second + at, 64);
      if (k == 0) exchange<2>(tile, begins_sums);
      multiply_bf16<2, kLeftTile + 1, kRightTile>();
      if (k == 0) exchange<3>(tile, begins_sums);
      multiply_bf16<3, kLeftTile + 1, kRightTile + 1>();
      for (int64_t plane = 1; plane < planes_; ++plane) {
        load_tile<kLeftTile>(first + plane * plane_words_ + at, 64);
        multiply_bf16<0, kLeftTile, kRightTile>();
        multiply_bf16<1, kLeftTile, kRightTile + 1>();
        load_tile<kLeftTile + 1>(second + plane * plane_words_ + at, 64);
        multiply_bf16<2, kLeftTile + 1, kRightTile>();
        multiply_bf16<3, kLeftTile + 1, kRightTile + 1>();
      }
    }
    held_ = tile;
    ends_sums_ = ends_sums;
  }
  void finish() {
    put<0>();
    put<1>();
    put<2>();
    put<3>();
  }

 private:
  // The sums of tile held_ + kTile / 2 with panel kTile % 2.
  template <int kTile>
  OCKHAM_INLINE void put() {
    constexpr int64_t kPanel = kTile % 2;
    const int64_t tile = held_ + kTile / 2;
    if (ends_sums_ && output_.is_whole(tile)) {
      if (kPanel < output_.panels) store_tile<kTile>(output_.at(tile, kPanel), output_.out.stride * 4);
      return;
    }
    store_tile<kTile>(sums_[tile][kPanel], 64);
    if (ends_sums_ && kPanel < output_.panels) output_.copy(sums_[tile][kPanel], tile, kPanel);
  }
  template <int kTile>
  OCKHAM_INLINE void exchange(int64_t tile, bool begins_sums) {
    if (held_ >= 0) put<kTile>();
    if (begins_sums) {
      zero_tile<kTile>();
    } else {
      load_tile<kTile>(sums_[tile + kTile / 2][kTile % 2], 64);
    }
  }

  WordSums& sums_;
  const WordOutput& output_;
  int64_t planes_, plane_words_, held_ = -1;
  bool ends_sums_ = false;
};

// Tokens from output.begin, which begins a tile of the inputs, on.
inline void multiply_words(const DenseRows& dense, const PreparedInput& input, const UnitRange& units,
                           const WordOutput& output) {
  const int64_t tile_words = input.form.columns * kTileRows;
  const int64_t tiles = (output.end - output.begin + kTileRows - 1) / kTileRows;
  const uint16_t* words = input.words + output.begin / kTileRows * tile_words;
  WordBlock block;
  alignas(64) WordSums sums;
  WordProducts products(sums, input, output);
  for (int64_t column = 0; column < dense.columns; column += kBlockWords) {
    block.read(dense, units, column);
    const bool is_last = column + kBlockWords >= dense.columns;
    for (int64_t tile = 0; tile < tiles; tile += 2) {
      const uint16_t* first = words + tile * tile_words + column * kTileRows;
      if (is_last) output.fetch(tile);
      WordBlock::fetch_next(dense, units, column, tile / 2, (tiles + 1) / 2);
      products.add(block, first, tile + 1 < tiles ? first + tile_words : first, tile, column == 0, is_last);
    }
  }
  products.finish();
}

inline bool prefill_bf16(const DenseRows& dense, const PreparedInput& input, const UnitRange& units, int64_t begin,
                         int64_t end, const UnitOutput& out) {
  if (input.words == nullptr) return false;
  const Tiles tiles;
  for (int64_t t = begin; t < end; t += kTokensOfPass) {
    for (int64_t u = 0; u < units.count; u += 2) {
      const UnitRange pair{units.first + u, std::min<int64_t>(2, units.count - u)};
      const UnitOutput own{out.at + u * kPanelRows, out.stride};
      multiply_words(dense, input, pair, {t, std::min(t + kTokensOfPass, end), pair.count, own});
    }
  }
  return true;
}

OCKHAM_INLINE __m512 words_to_floats(__m256i words) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16));
}

// 32 inputs rounded to bf16, zeros from `left` on. What one plane loses is rounded for the next, plane_words behind it.
OCKHAM_INLINE void round_words(const float* x, int64_t left, const PreparedInput& input, uint16_t* to) {
  const auto mask = left >= 32 ? 0xffffffffU : left <= 0 ? 0U : (1U << left) - 1;
  __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), x);
  __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), x + 16);
  for (int64_t plane = 0;; ++plane, to += input.plane_words) {
    const auto words = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
    _mm512_store_si512(to, words);
    if (plane + 1 == input.planes) return;
    low = _mm512_sub_ps(low, words_to_floats(_mm512_castsi512_si256(words)));
    high = _mm512_sub_ps(high, words_to_floats(_mm512_extracti64x4_epi64(words, 1)));
  }
}

// Inputs rounded to bf16, [tile of 16 tokens][32 columns] one tile behind the other.
inline void fill_words(const PreparedInput& input, const FillRange& range) {
  for (int64_t token = range.begin; token < range.end; ++token) {
    uint16_t* to = input.words + token / kTileRows * kTileRows * input.form.columns + token % kTileRows * kWordColumns;
    const float* x = range.x + token * range.stride;
    for (int64_t c = 0; c < input.form.columns; c += kWordColumns, to += kWordColumns * kTileRows)
      round_words(x + c, range.columns - c, input, to);
  }
}
inline void fill_amx(const PreparedInput& input, const FillRange& range, bool one_step) {
  if (input.words != nullptr) {
    fill_words(input, range);
  } else {
    avx512_kernels().fill(input, range, one_step);
  }
}
