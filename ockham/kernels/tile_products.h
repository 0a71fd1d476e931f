// Two left tiles are 32 tokens, or the high and the low halves of 16; two right tiles two panels. Floating-point units
// share a port with the tiles, so that what is done to the products of each group (conversion, scale, sum) bounds short
// groups; it is spread out between the tiles' products.

// Adds each pair's products to its place. Once.
// Products pass through two stages, so that nothing waits for the tiles: those of the last pair are in the tiles until
// the next begins, those before it are in memory and are added to the sums while the tiles work.
template <int kPlanes>
class TileProducts {
 public:
  static constexpr int64_t kTokens = 2 * kTileRows / kPlanes, kTokensOfTurn = 64;

  OCKHAM_INLINE void add(const PanelPair& of, const PairSums& place) {
    const PairSums& done = places_[turn_ % 2];  // before last
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
  OCKHAM_INLINE void multiply_known(const PanelPair& of, const PairSums& done) {
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
  void multiply(const PanelPair& pair, const PairSums& place) {
    const PanelPair of = pair;
    const int8_t* second = kPlanes == 2 ? of.low : of.high + kTileRows * of.stride;
    const PairSums done = place;
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
      load_tile<kLeftTile>(of.high + c, of.stride);
      load_tile<kRightTile>(of.left + c * kPanelRows, 64);
      if (s == 0) hand_over<0>(to[0]);
      multiply_int8<0, kLeftTile, kRightTile>();
      finish_part(4 * s);
      load_tile<kRightTile + 1>(of.right + c * kPanelRows, 64);
      if (s == 0) hand_over<1>(to[1]);
      multiply_int8<1, kLeftTile, kRightTile + 1>();
      finish_part(4 * s + 1);
      load_tile<kLeftTile + 1>(second + c, of.stride);
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
  static OCKHAM_INLINE void finish_tokens(const PairSums& place, const Products& products, int64_t begin, int64_t end) {
    const Floats scales[2] = {load_floats(place.scales), load_floats(place.scales + kPanelRows)};
#pragma GCC unroll 8
    for (int64_t t = begin; t < end; ++t) {
      for (int p = 0; p < 2; ++p) add_products<kHasZeros>(place, t, p, scales[p], product(products, t, p));
    }
  }
  static void finish_place(const PairSums& place, const Products& products) {
    if (place.has_zeros) {
      finish_tokens<true>(place, products, 0, place.count);
    } else {
      finish_tokens<false>(place, products, 0, place.count);
    }
  }

  PairSums places_[2];
  int64_t turn_ = 0;
  alignas(64) Products products_[2] = {};
};

struct ProductsScope {
  explicit ProductsScope(int64_t group) : tiles(tile_columns(group)) {}
  Tiles tiles;
};
template <int kPlanes, int kBits>
using Products = TileProducts<kPlanes>;
