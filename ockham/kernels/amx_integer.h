// Many tokens with integers in panels. Codes of up to four panels, less their zeros, are unpacked to bytes that stay in
// the second cache while all tokens of a pass go by. Two left tiles are 32 tokens, or the high and the low halves of
// 16; two right tiles two panels. Floating-point units share a port with the tiles, so that what is done to the
// products of each group (conversion, scale, sum) bounds short groups; it is spread out between the tiles' products.

constexpr int64_t kBlockColumns = 4096, kTokensOfPass = 256, kShortestGroup = 16;
constexpr int64_t kPanelsOfPass = kUnitsOfPrefill, kLanesOfPass = kPanelsOfPass * kPanelRows;
constexpr int64_t kMostGroupsOfBlock = kBlockColumns / kShortestGroup;

template <int kBits>
class IntegerReader {
 public:
  static constexpr int64_t kStepColumns = 4 * Step<kBits>::kQuads;
  static constexpr bool kWide = kBits == 8;
  IntegerReader(const IntegerPanels& panels, int64_t unit)
      : records_(panels.groups, unit), codes_(panels.codes + unit * panels.form.columns * 2 * kBits) {}
  const RecordReader& records() const { return records_; }
  // The next columns, of group g, less `base`.
  void read(int64_t, int64_t columns, Bytes base, uint8_t* to) {
    using S = Step<kBits>;
    Bytes step[S::kQuads];
    for (int64_t c = 0; c < columns; c += kStepColumns) {
      S::unpack(codes_, step);
      codes_ += 64 * S::kVectors;
#pragma GCC unroll 8
      for (int q = 0; q < S::kQuads; ++q, to += 64) _mm512_store_si512(to, _mm512_sub_epi8(step[q], base));
    }
  }

 private:
  RecordReader records_;
  const uint8_t* codes_;
};

template <int kBits>
class SparseReader {
 public:
  static constexpr int64_t kStepColumns = 4 * SparseStep<kBits>::kQuads;
  static constexpr bool kWide = kBits == 8;
  SparseReader(const SparseIntegerPanels& panels, int64_t unit)
      : records_(panels.groups, unit),
        masks_(panels.masks + unit * (panels.form.columns / 4)),
        values_(panels.values + panels.starts[unit]) {}
  const RecordReader& records() const { return records_; }
  void read(int64_t g, int64_t columns, Bytes base, uint8_t* to) {
    using S = SparseStep<kBits>;
    const Bytes fill = records_.zero_codes(g);
    Bytes step[S::kQuads];
    for (int64_t c = 0; c < columns; c += kStepColumns) {
      S::unpack(masks_, fill, values_, step);
      masks_ += S::kQuads;
#pragma GCC unroll 4
      for (int q = 0; q < S::kQuads; ++q, to += 64) _mm512_store_si512(to, _mm512_sub_epi8(step[q], base));
    }
  }

 private:
  RecordReader records_;
  const uint64_t* masks_;
  const uint8_t* values_;
};

// Columns of one product of tiles: groups are whole numbers of them, but for the last.
inline int64_t tile_columns(int64_t group) {
  return group % 64 == 0 ? 64 : group % 32 == 0 ? 32 : 16;
}

// Codes and scales of some groups of the panels; panels that are missing are zeros.
struct CodeBlock {
  static constexpr int64_t kApart = 2048;  // so that panels do not share the same places of the first cache
  alignas(64) uint8_t codes[kPanelsOfPass][kBlockColumns * kPanelRows + kApart];
  alignas(64) float scales[kMostGroupsOfBlock][kLanesOfPass], minima[kMostGroupsOfBlock][kLanesOfPass];
  alignas(64) int32_t zeros[kMostGroupsOfBlock][kLanesOfPass];  // what is left of them
  int64_t first = 0, count = 0;                                 // groups
  bool has_minima = false, has_zeros = false;

  template <typename Reader>
  void read(Reader* readers, int64_t panels, const InputForm& form, int64_t group, int64_t groups) {
    first = group;
    count = std::min(kBlockColumns / form.group, groups - group);
    for (int64_t p = 0; p < kPanelsOfPass; ++p) {
      if (p < panels) {
        read_panel(readers[p], p, form);
      } else {
        clear_panel(p, form);
      }
    }
  }

 private:
  template <typename Reader>
  void read_panel(Reader& reader, int64_t p, const InputForm& form) {
    const RecordReader& records = reader.records();
    const int64_t step = tile_columns(form.group);
    has_minima = records.has_minima();
    has_zeros = Reader::kWide && (has_minima || !records.is_zero_same(128));
    for (int64_t g = 0; g < count; ++g) {
      uint8_t* to = codes[p] + g * form.group * kPanelRows;
      const int64_t columns = std::min(form.group, form.columns - (first + g) * form.group);
      // Codes of 8 bits less 128 fit signed bytes whatever their zeros are.
      const Bytes base = Reader::kWide ? fill_bytes(128) : has_minima ? zero_ints() : records.zero_codes(first + g);
      reader.read(first + g, columns, base, to);
      std::memset(to + columns * kPanelRows, 0, static_cast<size_t>((step - columns % step) % step * kPanelRows));
      const GroupScales loaded = records.load(first + g);
      store_floats(scales[g] + p * kPanelRows, loaded.scale);
      if (has_minima) store_floats(minima[g] + p * kPanelRows, loaded.minimum);
      const Ints left = has_minima && Reader::kWide ? fill_ints(-128) : _mm512_sub_epi32(loaded.zero, fill_ints(128));
      _mm512_store_si512(zeros[g] + p * kPanelRows, left);
    }
  }
  void clear_panel(int64_t p, const InputForm& form) {
    std::memset(codes[p], 0, static_cast<size_t>(std::min(count * form.group, kBlockColumns) * kPanelRows));
    for (int64_t g = 0; g < count; ++g) {
      std::memset(scales[g] + p * kPanelRows, 0, kPanelRows * sizeof(float));
      std::memset(minima[g] + p * kPanelRows, 0, kPanelRows * sizeof(float));
      std::memset(zeros[g] + p * kPanelRows, 0, kPanelRows * sizeof(int32_t));
    }
  }
};

// Sums of the tokens of a pass with the panels.
struct PassSums {
  alignas(64) float at[kTokensOfPass][kLanesOfPass], minima[kTokensOfPass][kLanesOfPass];

  void clear(int64_t tokens) {
    std::memset(at, 0, static_cast<size_t>(tokens) * sizeof at[0]);
    std::memset(minima, 0, static_cast<size_t>(tokens) * sizeof minima[0]);
  }
};

// Two left tiles of tokens with one group of two panels.
struct TilePair {
  const int8_t *first, *second;
  int64_t stride;
  const uint8_t *left, *right;
  int64_t steps, columns;  // columns of one step
};
alignas(64) constexpr float kNoScales[2 * kPanelRows] = {};
// Where its products go.
struct TilePlace {
  float* sums = nullptr;  // of the first token
  const float *input_scales = nullptr, *scales = kNoScales;
  const int32_t *code_sums = nullptr, *zeros = nullptr;
  int64_t groups = 0;  // from the scale of one token to the next
  int64_t count = 0;   // tokens
  bool has_zeros = false;
};

// Products pass through two stages, so that nothing waits for the tiles: those of the last pair are in the tiles until
// the next begins, those before it are in memory and are added to the sums while the tiles work.
template <int kPlanes>
class TileProducts {
 public:
  static constexpr int64_t kTokens = 2 * kTileRows / kPlanes;

  OCKHAM_INLINE void add(const TilePair& of, const TilePlace& place) {
    const TilePlace& done = places_[turn_ % 2];  // before last
    const bool is_whole = done.count == kTokens && !done.has_zeros;
    if (is_whole && of.steps == 2) {
      multiply<2>(of, done);
    } else if (is_whole && of.steps == 8) {
      multiply<8>(of, done);
    } else if (is_whole && of.steps == 4) {
      multiply<4>(of, done);
    } else if (is_whole && of.steps == 1) {
      multiply<1>(of, done);
    } else {
      multiply<0>(of, done);
    }
    places_[turn_ % 2] = place;
    ++turn_;
  }
  void finish() {
    finish_tokens(places_[turn_ % 2], products_[turn_ % 2], 0, places_[turn_ % 2].count);
    auto& products = products_[1 - turn_ % 2];
    store_tile<0>(products[0], 64);
    store_tile<1>(products[1], 64);
    store_tile<2>(products[0] + kTileWords, 64);
    store_tile<3>(products[1] + kTileWords, 64);
    const TilePlace& last = places_[1 - turn_ % 2];
    finish_tokens(last, products, 0, last.count);
    places_[0] = places_[1] = {};
  }

 private:
  using Products = int32_t[2][2 * kTileWords];  // [panel], one left tile behind the other

  // kSteps: 0 for any number of steps, and for places that are not whole.
  template <int kSteps>
  OCKHAM_INLINE void multiply(const TilePair& pair, const TilePlace& place) {
    const TilePair of = pair;
    const TilePlace done = place;
    const Floats first = load_floats(done.scales), second = load_floats(done.scales + kPanelRows);
    const Products& from = products_[turn_ % 2];
    Products& to = products_[1 - turn_ % 2];
    const int64_t steps = kSteps == 0 ? of.steps : kSteps;
    const auto finish_part = [&](int64_t part) OCKHAM_LAMBDA_INLINE {
      const int64_t begin = kTokens * part / (4 * steps), end = kTokens * (part + 1) / (4 * steps);
      if constexpr (kSteps == 0) {
        finish_tokens(done, from, begin, std::min(end, done.count));
      } else {
        finish_whole(done, from, first, second, begin, end);
      }
    };
#pragma GCC unroll 8
    for (int64_t s = 0; s < steps; ++s) {
      const int64_t c = s * of.columns;
      load_tile<kLeftTile>(of.first + c, of.stride);
      load_tile<kRightTile>(of.left + c * kPanelRows, 64);
      if (s == 0) hand_over<0>(to[0]);
      multiply_int8<0, kLeftTile, kRightTile>();
      finish_part(4 * s);
      load_tile<kRightTile + 1>(of.right + c * kPanelRows, 64);
      if (s == 0) hand_over<1>(to[1]);
      multiply_int8<1, kLeftTile, kRightTile + 1>();
      finish_part(4 * s + 1);
      load_tile<kLeftTile + 1>(of.second + c, of.stride);
      if (s == 0) hand_over<2>(to[0] + kTileWords);
      multiply_int8<2, kLeftTile + 1, kRightTile>();
      finish_part(4 * s + 2);
      if (s == 0) hand_over<3>(to[1] + kTileWords);
      multiply_int8<3, kLeftTile + 1, kRightTile + 1>();
      finish_part(4 * s + 3);
    }
  }
  template <int kTile>
  OCKHAM_INLINE void hand_over(int32_t* to) {
    store_tile<kTile>(to, 64);
    zero_tile<kTile>();
  }

  static OCKHAM_INLINE Ints product(const Products& products, int64_t token, int panel) {
    const int32_t* high = products[panel] + token * kPanelRows;
    if constexpr (kPlanes == 1) return _mm512_load_si512(high);
    return add_ints(shift_ints_left<7>(_mm512_load_si512(high)), _mm512_load_si512(high + kTileWords));
  }
  static OCKHAM_INLINE void finish_whole(const TilePlace& place, const Products& products, Floats first, Floats second,
                                         int64_t begin, int64_t end) {
#pragma GCC unroll 8
    for (int64_t t = begin; t < end; ++t) {
      float* sums = place.sums + t * kLanesOfPass;
      const Floats scale = fill_floats(place.input_scales[t * place.groups]);
      store_floats(sums,
                   multiply_add(multiply_floats(first, scale), to_floats(product(products, t, 0)), load_floats(sums)));
      store_floats(sums + kPanelRows, multiply_add(multiply_floats(second, scale), to_floats(product(products, t, 1)),
                                                   load_floats(sums + kPanelRows)));
    }
  }
  static void finish_tokens(const TilePlace& place, const Products& products, int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* sums = place.sums + t * kLanesOfPass;
      const Floats scale = fill_floats(place.input_scales[t * place.groups]);
      for (int p = 0; p < 2; ++p, sums += kPanelRows) {
        Ints whole = product(products, t, p);
        if (place.has_zeros)
          whole = multiply_subtract_ints(_mm512_load_si512(place.zeros + p * kPanelRows),
                                         fill_ints(place.code_sums[t * place.groups]), whole);
        const Floats weights = multiply_floats(load_floats(place.scales + p * kPanelRows), scale);
        store_floats(sums, multiply_add(weights, to_floats(whole), load_floats(sums)));
      }
    }
  }

  TilePlace places_[2];
  int64_t turn_ = 0;
  alignas(64) Products products_[2] = {};
};

// Tokens [begin, end) and where they go.
struct TokenPass {
  int64_t begin, end, panels;
  UnitOutput out;

  // Outputs lie far apart, and are seldom in a cache when they are written.
  OCKHAM_INLINE void fetch_outputs(int64_t first, int64_t last) const {
    for (int64_t t = first; t < std::min(last, end); ++t) {
      for (int64_t p = 0; p < panels; ++p) __builtin_prefetch(out.at + t * out.stride + p * kPanelRows, 1, 2);
    }
  }
};

// The tokens of a pass with a block of codes.
template <int kPlanes>
class BlockProduct {
 public:
  BlockProduct(const PreparedInput& input, const CodeBlock& block, PassSums& sums, const TokenPass& pass)
      : input_(input), block_(block), sums_(sums), pass_(pass), begin_(pass.begin), end_(pass.end) {
    const InputForm& form = input.form;
    step_ = tile_columns(form.group);
    steps_ = form.group / step_;
    last_steps_ = (form.columns % form.group + step_ - 1) / step_;
  }

  void run() {
    const int64_t pairs = (pass_.panels + 1) / 2;
    // Inputs and codes of one group stay in the first cache; of the longest groups, the codes of two panels.
    const int64_t tokens = input_.form.group > 256 ? 128 : 64;
    for (int64_t t = begin_; t < end_; t += tokens) {
      const int64_t last = std::min(t + tokens, end_);
      for (int64_t g = 0; g < block_.count; ++g) {
        for (int64_t pair = 0; pair < pairs; ++pair) {
          for (int64_t token = t; token < last; token += kTokens) {
            add(token, std::min(kTokens, last - token), g, pair);
            const int64_t next = 2 * (g * pairs + pair);
            if (next < kTokens) pass_.fetch_outputs(token + next, token + next + 2);
          }
        }
      }
    }
    products_.finish();
    if (block_.has_minima) add_minima();
  }

 private:
  static constexpr int64_t kTokens = TileProducts<kPlanes>::kTokens;

  OCKHAM_INLINE void add(int64_t token, int64_t count, int64_t g, int64_t pair) {
    const InputForm& form = input_.form;
    const int64_t column = (block_.first + g) * form.group, at = token * input_.stride + column;
    TilePair of;
    of.first = input_.high + at;
    of.second = kPlanes == 2 ? input_.low + at : count > kTileRows ? of.first + kTileRows * input_.stride : of.first;
    of.stride = input_.stride;
    of.left = block_.codes[2 * pair] + g * form.group * kPanelRows;
    of.right = block_.codes[2 * pair + 1] + g * form.group * kPanelRows;
    of.steps = column + form.group <= form.columns ? steps_ : last_steps_;
    of.columns = step_;
    TilePlace place;
    const int64_t lanes = 2 * pair * kPanelRows, record = token * input_.groups + block_.first + g;
    place.sums = sums_.at[token - begin_] + lanes;
    place.scales = block_.scales[g] + lanes;
    place.zeros = block_.zeros[g] + lanes;
    place.input_scales = input_.scales + record;
    place.code_sums = input_.code_sums + record;
    place.groups = input_.groups;
    place.count = count;
    place.has_zeros = block_.has_zeros;
    products_.add(of, place);
  }
  void add_minima() {
    for (int64_t t = begin_; t < end_; ++t) {
      Floats sums[kPanelsOfPass];
      for (int64_t p = 0; p < kPanelsOfPass; ++p) sums[p] = load_floats(sums_.minima[t - begin_] + p * kPanelRows);
      const float* of = input_.sums + t * input_.groups + block_.first;
      for (int64_t g = 0; g < block_.count; ++g) {
        const Floats input_sum = fill_floats(of[g]);
#pragma GCC unroll 4
        for (int64_t p = 0; p < kPanelsOfPass; ++p)
          sums[p] = multiply_add(load_floats(block_.minima[g] + p * kPanelRows), input_sum, sums[p]);
      }
      for (int64_t p = 0; p < kPanelsOfPass; ++p) store_floats(sums_.minima[t - begin_] + p * kPanelRows, sums[p]);
    }
  }

  const PreparedInput& input_;
  const CodeBlock& block_;
  PassSums& sums_;
  const TokenPass& pass_;
  int64_t begin_, end_;
  int64_t step_, steps_, last_steps_;  // columns of a step, steps of a group and of the last, if it is shorter
  TileProducts<kPlanes> products_;
};

inline void multiply_block(const PreparedInput& input, const CodeBlock& block, PassSums& sums, const TokenPass& pass) {
  if (input.low != nullptr) {
    BlockProduct<2>(input, block, sums, pass).run();
  } else {
    BlockProduct<1>(input, block, sums, pass).run();
  }
}

template <typename Reader, typename Layout>
bool prefill_integers(const Layout& layout, const PreparedInput& input, const UnitRange& units, int64_t begin,
                      int64_t end, const UnitOutput& out) {
  if (input.form.group % Reader::kStepColumns != 0) return false;
  const Tiles tiles(tile_columns(input.form.group));
  CodeBlock block;
  PassSums sums;
  for (int64_t t = begin; t < end; t += kTokensOfPass) {
    const int64_t last = std::min(t + kTokensOfPass, end);
    sums.clear(last - t);
    Reader readers[kPanelsOfPass] = {{layout, units.first},
                                     {layout, units.first + (units.count > 1 ? 1 : 0)},
                                     {layout, units.first + (units.count > 2 ? 2 : 0)},
                                     {layout, units.first + (units.count > 3 ? 3 : 0)}};
    for (int64_t g = 0; g < input.groups; g += block.count) {
      block.read(readers, units.count, input.form, g, input.groups);
      multiply_block(input, block, sums, {t, last, units.count, out});
    }
    for (int64_t i = t; i < last; ++i) {
      for (int64_t p = 0; p < units.count * kPanelRows; p += kPanelRows) {
        const Floats whole = add_floats(load_floats(sums.at[i - t] + p), load_floats(sums.minima[i - t] + p));
        store_floats(out.at + i * out.stride + p, whole);
      }
    }
  }
  return true;
}
