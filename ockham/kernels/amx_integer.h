// Many tokens with integers in panels. Codes of up to four panels, less their zeros, are unpacked to bytes that stay in
// the second cache while all tokens of a pass go by. Two left tiles are 32 tokens, or the high and the low halves of
// 16; two right tiles two panels. Floating-point units share a port with the tiles, so that what is done to the
// products of each group (conversion, scale, sum) bounds short groups; it is spread out between the tiles' products.

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

// Adds each pair's products to its place. Once.
// Products pass through two stages, so that nothing waits for the tiles: those of the last pair are in the tiles until
// the next begins, those before it are in memory and are added to the sums while the tiles work.
template <int kPlanes>
class TileProducts {
 public:
  static constexpr int64_t kTokens = 2 * kTileRows / kPlanes;

  OCKHAM_INLINE void add(const TilePair& of, const TilePlace& place) {
    const TilePlace& done = places_[turn_ % 2];  // before last
    if (done.has_zeros) {
      multiply_known<true>(of, done);
    } else {
      multiply_known<false>(of, done);
    }
    places_[turn_ % 2] = place;
    ++turn_;
  }
  void finish() {
    finish_place(places_[turn_ % 2], products_[turn_ % 2]);
    auto& products = products_[1 - turn_ % 2];
    store_tile<0>(products[0], 64);
    store_tile<1>(products[1], 64);
    store_tile<2>(products[0] + kTileWords, 64);
    store_tile<3>(products[1] + kTileWords, 64);
    finish_place(places_[1 - turn_ % 2], products);
  }

 private:
  using Products = int32_t[2][2 * kTileWords];  // [panel], one left tile behind the other

  template <bool kHasZeros>
  OCKHAM_INLINE void multiply_known(const TilePair& of, const TilePlace& done) {
    if (of.steps == 2) {
      multiply<2, kHasZeros>(of, done);
    } else if (of.steps == 8) {
      multiply<8, kHasZeros>(of, done);
    } else if (of.steps == 4) {
      multiply<4, kHasZeros>(of, done);
    } else if (of.steps == 1) {
      multiply<1, kHasZeros>(of, done);
    } else {
      multiply<0, kHasZeros>(of, done);
    }
  }
  // kSteps: 0 for any number of steps.
  template <int kSteps, bool kHasZeros>
  void multiply(const TilePair& pair, const TilePlace& place) {
    const TilePair of = pair;
    const TilePlace done = place;
    const Products& from = products_[turn_ % 2];
    Products& to = products_[1 - turn_ % 2];
    const int64_t steps = kSteps == 0 ? of.steps : kSteps;
    const auto finish_part = [&](int64_t part) OCKHAM_LAMBDA_INLINE {
      const int64_t begin = kTokens * part / (4 * steps), end = kTokens * (part + 1) / (4 * steps);
      if (done.count == kTokens) {
        finish_tokens<kHasZeros>(done, from, begin, end);
      } else {
        finish_tokens<kHasZeros>(done, from, begin, std::min(end, done.count));
      }
    };
    const auto multiply_step = [&](int64_t s) OCKHAM_LAMBDA_INLINE {
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
    };
    if constexpr (kSteps == 0) {
      for (int64_t s = 0; s < steps; ++s) multiply_step(s);
    } else {
#pragma GCC unroll 8
      for (int64_t s = 0; s < kSteps; ++s) multiply_step(s);
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
  template <bool kHasZeros>
  static OCKHAM_INLINE void finish_tokens(const TilePlace& place, const Products& products, int64_t begin,
                                          int64_t end) {
    const Floats scales[2] = {load_floats(place.scales), load_floats(place.scales + kPanelRows)};
#pragma GCC unroll 8
    for (int64_t t = begin; t < end; ++t) {
      float* sums = place.sums + t * kLanesOfPass;
      const Floats scale = fill_floats(place.input_scales[t * place.groups]);
      for (int p = 0; p < 2; ++p, sums += kPanelRows) {
        Ints whole = product(products, t, p);
        if constexpr (kHasZeros)
          whole = multiply_subtract_ints(_mm512_load_si512(place.zeros + p * kPanelRows),
                                         fill_ints(place.code_sums[t * place.groups]), whole);
        store_floats(sums, multiply_add(multiply_floats(scales[p], scale), to_floats(whole), load_floats(sums)));
      }
    }
  }
  static void finish_place(const TilePlace& place, const Products& products) {
    if (place.has_zeros) {
      finish_tokens<true>(place, products, 0, place.count);
    } else {
      finish_tokens<false>(place, products, 0, place.count);
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
            add(token, g, pair);
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

  OCKHAM_INLINE void add(int64_t token, int64_t g, int64_t pair) {
    const InputForm& form = input_.form;
    const int64_t column = (block_.first + g) * form.group, at = token * input_.stride + column;
    TilePair of;
    of.first = input_.high + at;
    of.second = kPlanes == 2 ? input_.low + at : of.first + kTileRows * input_.stride;
    of.stride = input_.stride;
    of.left = block_.codes[2 * pair] + g * form.group * kPanelRows;
    of.right = block_.codes[2 * pair + 1] + g * form.group * kPanelRows;
    of.steps = column + form.group <= form.columns ? steps_ : last_steps_;
    of.columns = step_;
    const int64_t lanes = 2 * pair * kPanelRows, record = token * input_.groups + block_.first + g;
    TilePlace place;
    place.sums = sums_.at[token - begin_] + lanes;
    place.scales = block_.scales[g] + lanes;
    place.zeros = block_.zeros[g] + lanes;
    place.input_scales = input_.scales + record;
    place.code_sums = input_.code_sums + record;
    place.groups = input_.groups;
    place.count = std::min(kTokens, end_ - token);
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
