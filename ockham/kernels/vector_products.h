// Tokens with panels by vectors. A quad of codes is loaded once for all tokens of a tile, of which the inputs are
// broadcast; the target's CodeDot says how one is multiplied with the other:
//   Codes load(from)            the 64 codes of a quad
//   kInputBytes                 1: inputs as they are; 2: words, which hold both planes, made by widen_inputs() ahead
//                               for all panels of the pair
//   Input input(from)           a quad of one token's inputs
//   add(run, codes, input)      adds products to a run
//   kQuadsOfRun                 quads after which add_run(sum, run) is the new sum, 0: runs are the sums
// Tiles have kRowsOfTile rows (tokens, or high and low halves of half as many) and kPanelsOfTile panels.

// Rows of inputs in fours, so that few registers point to all of them.
template <int kTokens, int kPlanes>
struct InputRows {
  static constexpr int kFours = (kTokens + 3) / 4;
  const int8_t* fours[kPlanes][kFours];
  int64_t stride;

  OCKHAM_INLINE InputRows(const PanelPair& of, int64_t token) : stride(of.stride) {
#pragma GCC unroll 3
    for (int i = 0; i < kFours; ++i) {
      fours[0][i] = of.high + (token + int64_t{4} * i) * of.stride;
      if constexpr (kPlanes == 2) fours[1][i] = of.low + (token + int64_t{4} * i) * of.stride;
    }
  }
  // Of row r: token r of the first plane, then those of the second.
  OCKHAM_INLINE const int8_t* at(int row, int64_t column) const {
    const int token = row % kTokens;
    return fours[row / kTokens][token / 4] + token % 4 * stride + column;
  }
};

// kInputPlanes: of the inputs as they are prepared; kPlanes: of which products are summed apart.
template <int kInputPlanes, typename Dot>
class VectorProducts {
  static constexpr int kPlanes = std::min(kInputPlanes, Dot::kInputBytes == 2 ? 1 : 2);

 public:
  static constexpr int kTokens = kRowsOfTile / kPlanes;
  static constexpr int64_t kTokensOfTurn = int64_t{64} / kTokens * kTokens;

  OCKHAM_INLINE void add(PanelPair of, const PairSums& to) {
    if constexpr (Dot::kInputBytes == 2) of = widen(of, to.count);
    if (to.has_zeros) {
      add_known<true>(of, to);
    } else {
      add_known<false>(of, to);
    }
  }
  void finish() {}

 private:
  static constexpr int64_t kWide = kMostGroup * Dot::kInputBytes;

  OCKHAM_INLINE PanelPair widen(PanelPair of, int64_t tokens) {
    for (int64_t t = 0; t < tokens; ++t) {
      const int8_t* low = kInputPlanes == 2 ? of.low + t * of.stride : nullptr;
      Dot::widen_inputs(of.high + t * of.stride, low, of.steps * of.columns, wide_ + t * kWide);
    }
    of.high = wide_;
    of.low = nullptr;
    of.stride = kWide;
    return of;
  }
  template <bool kHasZeros>
  OCKHAM_INLINE void add_known(const PanelPair& of, const PairSums& to) {
    constexpr int kFew = std::max(kTokens / 3, 1);
    int64_t t = 0;
    for (; t + kTokens <= to.count; t += kTokens) add_tokens<kTokens, kHasZeros>(of, to, t);
    for (; t + kFew <= to.count; t += kFew) add_tokens<kFew, kHasZeros>(of, to, t);
    if constexpr (kFew > 1) {
      for (; t < to.count; ++t) add_tokens<1, kHasZeros>(of, to, t);
    }
  }
  template <int kCount, bool kHasZeros>
  void add_tokens(const PanelPair& of, const PairSums& to, int64_t token) {
    const uint8_t* codes[2] = {of.left, of.right};
    const InputRows<kCount, kPlanes> rows(of, token);
    for (int64_t first = 0; first < 2; first += kPanelsOfTile) {
      Ints sums[kCount * kPlanes][kPanelsOfTile];
      multiply(rows, codes + first, of.steps * of.columns, sums);
#pragma GCC unroll 2
      for (int64_t p = 0; p < kPanelsOfTile; ++p) {
        const Floats scales = load_floats(to.scales + (first + p) * kPanelRows);
#pragma GCC unroll 12
        for (int t = 0; t < kCount; ++t) {
          Ints whole = sums[t][p];
          if constexpr (kPlanes == 2) whole = add_ints(shift_ints_left<7>(whole), sums[kCount + t][p]);
          add_products<kHasZeros>(to, token + t, first + p, scales, whole);
        }
      }
    }
  }
  template <int kCount>
  static OCKHAM_INLINE void multiply(const InputRows<kCount, kPlanes>& rows, const uint8_t* const* codes,
                                     int64_t columns, Ints (&sums)[kCount * kPlanes][kPanelsOfTile]) {
    constexpr int kRows = kCount * kPlanes, kQuads = Dot::kQuadsOfRun == 0 ? 4 : Dot::kQuadsOfRun;
    clear(sums);
    Ints runs[kRows][kPanelsOfTile];
    for (int64_t column = 0; column < columns; column += int64_t{4} * kQuads) {
      if constexpr (Dot::kQuadsOfRun != 0) clear(runs);
#pragma GCC unroll 4
      for (int64_t q = 0; q < kQuads; ++q) {
        const int64_t quad = column + 4 * q;
        typename Dot::Codes of[kPanelsOfTile];
#pragma GCC unroll 2
        for (int p = 0; p < kPanelsOfTile; ++p) of[p] = Dot::load(codes[p] + quad * kPanelRows);
#pragma GCC unroll 12
        for (int r = 0; r < kRows; ++r) {
          const auto input = Dot::input(rows.at(r, quad * Dot::kInputBytes));
#pragma GCC unroll 2
          for (int p = 0; p < kPanelsOfTile; ++p)
            Dot::add(Dot::kQuadsOfRun == 0 ? sums[r][p] : runs[r][p], of[p], input);
        }
      }
      if constexpr (Dot::kQuadsOfRun != 0) {
#pragma GCC unroll 12
        for (int r = 0; r < kRows; ++r) {
          for (int p = 0; p < kPanelsOfTile; ++p) sums[r][p] = Dot::add_run(sums[r][p], runs[r][p]);
        }
      }
    }
  }
  template <int kRows>
  static OCKHAM_INLINE void clear(Ints (&sums)[kRows][kPanelsOfTile]) {
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int p = 0; p < kPanelsOfTile; ++p) sums[r][p] = zero_ints();
    }
  }

  alignas(64) int8_t wide_[Dot::kInputBytes == 2 ? kRowsOfTile * kWide : 1];
};

struct ProductsScope {
  explicit ProductsScope(int64_t /*group*/) {}
};
template <int kPlanes, int kBits>
using Products = VectorProducts<kPlanes, CodeDot<kDotOf<kPlanes, kBits>>>;
