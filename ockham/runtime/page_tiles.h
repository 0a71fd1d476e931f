// PageProducts (page_products_kernel.h) by tiles of bfloat16, for many queries; part of vectors.cc, after
// vector_kernel.h and tiles.h.
//
// A float is taken as the sum of two bf16 numbers, 16 of its 24 bits; the product of the two low ones is left out. So
// what each product of two floats loses is at most 2^-16 of it. Keys and values of bf16 and int8 are one bf16 number.
// Accumulators are float32. What a query becomes depends on no other query, and on no page behind it.

constexpr int64_t kTileColumns = 32;  // bf16 numbers of a row of a left tile
alignas(64) constexpr uint16_t kOddWords[kTileColumns] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21,
                                                          23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43,
                                                          45, 47, 49, 51, 53, 55, 57, 59, 61, 63};

// Two registers of floats as 32 words in order, or as pairs (first, second) of words.
struct WordPair {
  __m512i high, low;
};
template <bool kInPairs>
OCKHAM_INLINE __m512i upper_words(__m512i first, __m512i second) {
  if constexpr (kInPairs) {
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000U));
    return _mm512_or_si512(_mm512_srli_epi32(first, 16), _mm512_and_si512(second, upper));
  } else {
    return _mm512_permutex2var_epi16(first, _mm512_load_si512(kOddWords), second);
  }
}
// Rounded to nearest, of two as near the larger.
OCKHAM_INLINE __m512i round_to_upper(__m512 x) {
  return _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
}
OCKHAM_INLINE __m512 rest_of(__m512 x, __m512i rounded) {
  const __m512i upper = _mm512_and_si512(rounded, _mm512_set1_epi32(static_cast<int>(0xffff0000U)));
  return _mm512_sub_ps(x, _mm512_castsi512_ps(upper));
}
template <bool kInPairs>
OCKHAM_INLINE WordPair split(__m512 first, __m512 second) {
  const __m512i a = round_to_upper(first), b = round_to_upper(second);
  return {upper_words<kInPairs>(a, b),
          upper_words<kInPairs>(round_to_upper(rest_of(first, a)), round_to_upper(rest_of(second, b)))};
}

// Floats [rows, columns] as left tiles: [planes, row tiles, column tiles, 16, 32] words, zeros beyond the columns.
// Each row is multiplied by `factors` [columns], unless null.
OCKHAM_INLINE void split_rows(const float* from, int64_t row_floats, int64_t rows, int64_t columns,
                              const float* factors, uint16_t* high, uint16_t* low) {
  const int64_t steps = (columns + kTileColumns - 1) / kTileColumns;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t at = (r / kTileRows * steps * kTileRows + r % kTileRows) * kTileColumns;
    for (int64_t s = 0; s < steps; ++s) {
      const int64_t column = s * kTileColumns, left = columns - column;
      const float* x = from + r * row_floats + column;
      Vector first = load_part(x, std::min<int64_t>(left, kLanes)), second = {};
      if (left > kLanes) second = load_part(x + kLanes, std::min<int64_t>(left - kLanes, kLanes));
      if (factors != nullptr) {
        first *= load_part(factors + column, std::min<int64_t>(left, kLanes));
        if (left > kLanes) second *= load_part(factors + column + kLanes, std::min<int64_t>(left - kLanes, kLanes));
      }
      const WordPair words = split<false>(same_bits<__m512>(first), same_bits<__m512>(second));
      _mm512_store_si512(high + at + s * kTileRows * kTileColumns, words.high);
      _mm512_store_si512(low + at + s * kTileRows * kTileColumns, words.low);
    }
  }
}

// Rows of numbers [rows, columns] in pairs of rows, 16 columns side by side: right tiles [row steps of 32, columns /
// 16, 16, 16 pairs], zeros beyond the rows. `low` is not written where one bf16 number holds all of an Element.
template <typename Element>
OCKHAM_INLINE void pair_rows(const Element* from, int64_t rows, int64_t columns, uint16_t* high, uint16_t* low) {
  constexpr bool kIsSplit = sizeof(Element) == sizeof(float);
  const int64_t across = columns / kLanes, steps = (rows + kTileColumns - 1) / kTileColumns;
  for (int64_t s = 0; s < steps; ++s) {
    for (int64_t pair = 0; pair < kTileRows; ++pair) {
      const int64_t row = s * kTileColumns + 2 * pair;
      for (int64_t c = 0; c < across; ++c) {
        const int64_t at = ((s * across + c) * kTileRows + pair) * kTileColumns;
        const Element* x = from + row * columns + c * kLanes;
        const Vector first = row < rows ? load_floats(x) : Vector{};
        const Vector second = row + 1 < rows ? load_floats(x + columns) : Vector{};
        const auto a = same_bits<__m512>(first), b = same_bits<__m512>(second);
        if constexpr (kIsSplit) {
          const WordPair words = split<true>(a, b);
          _mm512_store_si512(high + at, words.high);
          _mm512_store_si512(low + at, words.low);
        } else {
          _mm512_store_si512(high + at, upper_words<true>(_mm512_castps_si512(a), _mm512_castps_si512(b)));
        }
      }
    }
  }
}

// Where the operands of four tiles of sums lie: words of two left and two right tiles; the tiles of the next step are
// so many words on.
struct TileOperands {
  const uint16_t *left[2], *right[2];
  int64_t left_low, right_low;  // from the words of a number's high part to those of its low part
};
// sums += left right, for two rows of tiles or one.
template <bool kIsSplit, int kRows>
OCKHAM_INLINE void multiply_split(const TileOperands& of) {
  const auto load_left = [&](int64_t part) OCKHAM_LAMBDA_INLINE {
    load_tile<kLeftTile>(of.left[0] + part, 64);
    if constexpr (kRows == 2) load_tile<kLeftTile + 1>(of.left[1] + part, 64);
  };
  const auto load_right = [&](int64_t part) OCKHAM_LAMBDA_INLINE {
    load_tile<kRightTile>(of.right[0] + part, 64);
    load_tile<kRightTile + 1>(of.right[1] + part, 64);
  };
  const auto multiply = [&]() OCKHAM_LAMBDA_INLINE {
    multiply_bf16<0, kLeftTile, kRightTile>();
    multiply_bf16<1, kLeftTile, kRightTile + 1>();
    if constexpr (kRows == 2) {
      multiply_bf16<2, kLeftTile + 1, kRightTile>();
      multiply_bf16<3, kLeftTile + 1, kRightTile + 1>();
    }
  };
  load_left(0);
  if constexpr (kIsSplit) {
    load_right(of.right_low);
    multiply();
  }
  load_right(0);
  multiply();
  load_left(of.left_low);
  multiply();
}

template <typename Element>
class PageTiles {
 public:
  // Queries as scale_queries() left them. Uses the task's tile_room.
  PageTiles(const AttentionTask& task, int64_t /*begin*/, int64_t rows) : task_(task), rows_(rows) {
    auto* at = reinterpret_cast<uint16_t*>(task.tile_room);
    const int64_t depth = round_up(task.dim, kTileColumns);
    const auto take = [&](int64_t words) {
      uint16_t* taken = at;
      at += words;
      return taken;
    };
    query_words_ = kMostTileRows * depth;
    key_words_ = kPageKeys * depth;
    value_words_ = kBlockKeys * task.wide;
    queries_ = take(2 * query_words_);
    keys_ = take(2 * key_words_);
    weights_ = take(2 * kWeightWords);
    values_ = take(2 * value_words_);
    split_rows(task.queries, task.dim, rows, task.dim, nullptr, queries_, queries_ + query_words_);
  }

  // scores [rows, kBlockKeys]; of rows that see nothing of a page, nothing sensible.
  void score(const AttentionPage* pages, int64_t count, float* scores) {
    for (int64_t p = 0; p < count; ++p) {
      float* own = scores + p * kPageKeys;
      const auto* keys = static_cast<const Element*>(pages[p].keys);
      if (pages[p].places != nullptr) {
        score_page(pages[p], turn_keys(task_, pages[p], keys), own);
      } else {
        score_page(pages[p], keys, own);
      }
      if constexpr (sizeof(Element) == 1) scale_keys(own, rows_, pages[p].key_scales);
    }
  }
  // What the pages' values come to is added to the task's rows.
  void mix(const AttentionPage* pages, int64_t count, const float* weights) {
    const int64_t page_words = value_words_ / kBlockPages;
    for (int64_t p = 0; p < count; ++p) {
      uint16_t* high = values_ + p * page_words;
      pair_rows(static_cast<const Element*>(pages[p].values), pages[p].count, task_.wide, high, high + value_words_);
      uint16_t* own = weights_ + p * kMostTileRows * kPageKeys;
      split_rows(weights + p * kPageKeys, kBlockKeys, rows_, pages[p].count, pages[p].value_scales, own,
                 own + kWeightWords);
    }
    // Where tokens were dropped, later pages may hold earlier positions.
    const auto& oldest =
        *std::min_element(pages, pages + count, [](const auto& a, const auto& b) { return a.first < b.first; });
    for (int64_t c = 0; c < task_.wide; c += 2 * kLanes) {
      for_rows(oldest, [&](auto rows_of, int64_t tile)
                           OCKHAM_LAMBDA_INLINE { mix_rows<decltype(rows_of)::value>(count, tile, c); });
    }
  }

 private:
  static constexpr bool kIsSplit = sizeof(Element) == sizeof(float);
  static constexpr int64_t kWeightWords = kMostTileRows * kBlockKeys, kWordsOfTile = kTileRows * kTileColumns;

  // Tiles of rows in twos, without those of which no row sees the page.
  template <typename Body>
  OCKHAM_INLINE void for_rows(const AttentionPage& page, const Body& body) {
    const int64_t tiles = (rows_ + kTileRows - 1) / kTileRows;
    int64_t tile = 0;
    while (tile + 1 < tiles && task_.positions[(tile * kTileRows + kTileRows - 1) / task_.group] < page.first) ++tile;
    for (; tile + 2 <= tiles; tile += 2) body(std::integral_constant<int, 2>(), tile);
    if (tile < tiles) body(std::integral_constant<int, 1>(), tile);
  }
  template <typename Number>
  OCKHAM_INLINE void score_page(const AttentionPage& page, const Number* keys, float* scores) {
    pair_rows(keys, task_.dim, kPageKeys, keys_, keys_ + key_words_);
    for_rows(page, [&](auto rows_of, int64_t tile) OCKHAM_LAMBDA_INLINE {
      score_rows<decltype(rows_of)::value, sizeof(Number) == sizeof(float)>(tile, scores);
    });
  }
  template <int kRows, bool kIsSplitKey>
  OCKHAM_INLINE void score_rows(int64_t tile, float* scores) {
    const int64_t steps = round_up(task_.dim, kTileColumns) / kTileColumns;
    zero_sums();
    for (int64_t s = 0; s < steps; ++s) {
      const uint16_t *left = queries_ + (tile * steps + s) * kWordsOfTile, *right = keys_ + 2 * s * kWordsOfTile;
      multiply_split<kIsSplitKey, kRows>(
          {{left, left + steps * kWordsOfTile}, {right, right + kWordsOfTile}, query_words_, key_words_});
    }
    store_sums<kRows>(scores + tile * kTileRows * kBlockKeys, kBlockKeys, kLanes);
  }
  // Columns [c, c + 32) of W, or the last 16.
  template <int kRows>
  OCKHAM_INLINE void mix_rows(int64_t pages, int64_t tile, int64_t c) {
    const int64_t across = task_.wide / kLanes, second = c + kLanes < task_.wide ? kLanes : 0;
    float* to = task_.mixed + tile * kTileRows * task_.wide + c;
    load_sums<kRows>(to, task_.wide, second);
    for (int64_t p = 0; p < pages; ++p) {
      const uint16_t *left = weights_ + p * kMostTileRows * kPageKeys + tile * kWordsOfTile,
                     *right = values_ + (p * across + c / kLanes) * kWordsOfTile;
      multiply_split<kIsSplit, kRows>(
          {{left, left + kWordsOfTile}, {right, right + second / kLanes * kWordsOfTile}, kWeightWords, value_words_});
    }
    store_sums<kRows>(to, task_.wide, second);
  }
  // The tiles of sums and their places: two side by side, `second` floats apart (0: the second is the first once more),
  // and those below them.
  template <int kRows, typename Body>
  static OCKHAM_INLINE void for_sums(float* at, int64_t row, int64_t second, const Body& body) {
    body(std::integral_constant<int, 0>(), at);
    body(std::integral_constant<int, 1>(), at + second);
    if constexpr (kRows == 2) {
      body(std::integral_constant<int, 2>(), at + kTileRows * row);
      body(std::integral_constant<int, 3>(), at + kTileRows * row + second);
    }
  }
  template <int kRows>
  static OCKHAM_INLINE void load_sums(float* from, int64_t row, int64_t second) {
    for_sums<kRows>(from, row, second, [row](auto tile, float* at) OCKHAM_LAMBDA_INLINE {
      load_tile<decltype(tile)::value>(at, row * static_cast<int64_t>(sizeof(float)));
    });
  }
  template <int kRows>
  static OCKHAM_INLINE void store_sums(float* to, int64_t row, int64_t second) {
    for_sums<kRows>(to, row, second, [row](auto tile, float* at) OCKHAM_LAMBDA_INLINE {
      store_tile<decltype(tile)::value>(at, row * static_cast<int64_t>(sizeof(float)));
    });
  }

  const Tiles tiles_;
  const AttentionTask& task_;
  int64_t rows_, query_words_, key_words_, value_words_;
  uint16_t *queries_, *keys_, *weights_, *values_;
};
