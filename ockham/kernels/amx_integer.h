// Many tokens with integers in panels. Codes of some groups of two panels are unpacked to bytes, which stay in the
// first cache while all tokens pass. Two left tiles are 32 tokens, or the high and the low halves of 16; two right
// tiles the two panels. Groups shorter than a tile would leave most of it empty: they take the kernels for few tokens.

constexpr int64_t kBlockColumns = 512, kTokensOfPass = 512, kTileColumns = 64, kShortestGroup = 64;
constexpr int64_t kGroupsOfBlock = kBlockColumns / kTileColumns;

template <int kBits>
class IntegerReader {
 public:
  IntegerReader(const IntegerPanels& panels, int64_t unit)
      : records_(panels.groups, unit), codes_(panels.codes + unit * panels.form.columns * 2 * kBits) {}
  GroupScales scales(int64_t g) const { return records_.load(g); }
  // The next columns, of group g.
  void read(int64_t, int64_t columns, uint8_t* to) {
    using S = Step<kBits>;
    Bytes step[S::kQuads];
    for (int64_t c = 0; c < columns; c += 4 * S::kQuads) {
      S::unpack(codes_, step);
      codes_ += 64 * S::kVectors;
#pragma GCC unroll 8
      for (int q = 0; q < S::kQuads; ++q, to += 64) _mm512_store_si512(to, step[q]);
    }
  }

 private:
  RecordReader records_;
  const uint8_t* codes_;
};

template <int kBits>
class SparseReader {
 public:
  SparseReader(const SparseIntegerPanels& panels, int64_t unit)
      : records_(panels.groups, unit),
        masks_(panels.masks + unit * (panels.form.columns / 4)),
        values_(panels.values + panels.starts[unit]) {}
  GroupScales scales(int64_t g) const { return records_.load(g); }
  void read(int64_t g, int64_t columns, uint8_t* to) {
    using S = SparseStep<kBits>;
    const Bytes fill = records_.zero_codes(g);
    Bytes step[S::kQuads];
    for (int64_t c = 0; c < columns; c += 4 * S::kQuads) {
      S::unpack(masks_, fill, values_, step);
      masks_ += S::kQuads;
#pragma GCC unroll 4
      for (int q = 0; q < S::kQuads; ++q, to += 64) _mm512_store_si512(to, step[q]);
    }
  }

 private:
  RecordReader records_;
  const uint64_t* masks_;
  const uint8_t* values_;
};

// Codes and scales of some groups of the panels.
template <int kPanels>
struct CodeBlock {
  alignas(64) uint8_t codes[kPanels][kBlockColumns * kPanelRows];
  alignas(64) float scales[kPanels][kGroupsOfBlock][kPanelRows], zeros[kPanels][kGroupsOfBlock][kPanelRows];
  int64_t first = 0, count = 0;  // groups
  int64_t column = 0;            // of the first group
  int64_t width = 0;             // columns of a group with zeros up to whole tiles

  template <typename Reader>
  void read(std::array<Reader, kPanels>& readers, const InputForm& form, int64_t group, int64_t groups) {
    width = (form.group + kTileColumns - 1) / kTileColumns * kTileColumns;
    first = group;
    count = std::min(kBlockColumns / width, groups - group);
    column = group * form.group;
    for (int p = 0; p < kPanels; ++p) {
      for (int64_t g = 0; g < count; ++g) {
        uint8_t* to = codes[p] + g * width * kPanelRows;
        const int64_t columns = std::min(form.group, form.columns - (first + g) * form.group);
        readers[p].read(first + g, columns, to);
        std::memset(to + columns * kPanelRows, 0, static_cast<size_t>((width - columns) * kPanelRows));
        const GroupScales loaded = readers[p].scales(first + g);
        store_floats(scales[p][g], loaded.scale);
        store_floats(zeros[p][g], loaded.scaled_zero);
      }
    }
  }
};

// Sums of all tokens of a pass with the panels.
template <int kPanels>
struct PassSums {
  alignas(64) float at[kPanels][kTokensOfPass][kPanelRows];
};

// Adds one group's product of two left tiles to the sums of their tokens.
template <int kPanels, int kPlanes>
class GroupProduct {
 public:
  GroupProduct(const PreparedInput& input, const CodeBlock<kPanels>& block, PassSums<kPanels>& sums, int64_t begin)
      : input_(input), block_(block), sums_(sums), begin_(begin) {}

  // Tokens from `token` on, at most 32 of 8 bits or 16 of 15, with group g of the block. What the tiles compute is
  // added to the sums while they compute the next, so the last needs a finish().
  void add(int64_t token, int64_t count, int64_t g) {
    const int64_t stride = input_.stride, column = block_.column + g * input_.form.group;
    const int8_t* first = input_.high + token * stride + column;
    const int8_t* second = kPlanes == 2        ? input_.low + token * stride + column
                           : count > kTileRows ? first + kTileRows * stride
                                               : first;
    const Pending next = {token, count, g, 1 - pending_.slot};
    multiply(first, second, g, next.slot);
    pending_ = next;
  }
  void finish() {
    finish_tiles(0, kTiles);
    pending_.count = 0;
  }

 private:
  static constexpr int64_t kTiles = kPlanes == 1 ? 2 * kPanels : kPanels;
  struct Pending {
    int64_t token = 0, count = 0, g = 0;
    int slot = 0;
  };

  OCKHAM_INLINE void multiply(const int8_t* first, const int8_t* second, int64_t g, int slot) {
    const uint8_t* left = block_.codes[0] + g * block_.width * kPanelRows;
    const uint8_t* right = block_.codes[kPanels - 1] + g * block_.width * kPanelRows;
    auto& products = products_[slot];
    zero_sums();
    const int64_t steps = block_.width / kTileColumns;
    for (int64_t c = 0, step = 0; step < steps; c += kTileColumns, ++step) {
      load_tile<kLeftTile>(first + c, input_.stride);
      load_tile<kRightTile>(left + c * kPanelRows, 64);
      multiply_int8<0, kLeftTile, kRightTile>();
      load_tile<kLeftTile + 1>(second + c, input_.stride);
      multiply_int8<2, kLeftTile + 1, kRightTile>();
      if constexpr (kPanels == 2) {
        load_tile<kRightTile + 1>(right + c * kPanelRows, 64);
        multiply_int8<1, kLeftTile, kRightTile + 1>();
        multiply_int8<3, kLeftTile + 1, kRightTile + 1>();
      }
      finish_tiles(kTiles * step / steps, kTiles * (step + 1) / steps);
    }
    store_tile<0>(products[0][0], 64);
    store_tile<2>(products[1][0], 64);
    if constexpr (kPanels == 2) {
      store_tile<1>(products[0][1], 64);
      store_tile<3>(products[1][1], 64);
    }
  }
  // Some of the pending products: those of 16 tokens with one panel each.
  OCKHAM_INLINE void finish_tiles(int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t p = i % kPanels, left = i / kPanels, token = pending_.token + left * kTileRows, g = pending_.g;
      const int64_t count = std::min(pending_.count - left * kTileRows, kTileRows);
      if (count <= 0) continue;
      const auto& products = products_[pending_.slot];
      const GroupScales group = {load_floats(block_.scales[p][g]), load_floats(block_.zeros[p][g])};
      finish_tile(products[left][p], products[1][p], group, token * input_.groups + block_.first + g, count,
                  sums_.at[p][token - begin_]);
    }
  }
  // Tokens of one left tile, whose scales begin at `from`; `low` holds the products of the low halves.
  OCKHAM_INLINE void finish_tile(const int32_t* high, const int32_t* low, const GroupScales& group, int64_t from,
                                 int64_t count, float* to) {
    const float *scales = input_.scales + from, *zero_sums = input_.sums + from;
    const int64_t step = input_.groups;
#pragma GCC unroll 4
    for (int64_t i = 0; i < count; ++i) {
      Ints product = _mm512_load_si512(high + 16 * i);
      if constexpr (kPlanes == 2) product = add_ints(shift_ints_left<7>(product), _mm512_load_si512(low + 16 * i));
      const Floats scale = multiply_floats(group.scale, fill_floats(*scales));
      Floats sum = multiply_add(scale, to_floats(product), load_floats(to + 16 * i));
      sum = multiply_subtract(group.scaled_zero, fill_floats(*zero_sums), sum);
      store_floats(to + 16 * i, sum);
      scales += step;
      zero_sums += step;
    }
  }

  const PreparedInput& input_;
  const CodeBlock<kPanels>& block_;
  PassSums<kPanels>& sums_;
  int64_t begin_;
  Pending pending_;
  alignas(64) int32_t products_[2][2][2][kTileWords];  // [slot][left tile][panel]
};

template <typename Reader, int kPanels, typename Layout>
std::array<Reader, kPanels> make_readers(const Layout& layout, int64_t unit) {
  if constexpr (kPanels == 1) return {Reader(layout, unit)};
  if constexpr (kPanels == 2) return {Reader(layout, unit), Reader(layout, unit + 1)};
}

template <typename Reader, int kPanels, int kPlanes, typename Layout>
void multiply_pass(const Layout& layout, const PreparedInput& input, int64_t unit, int64_t begin, int64_t end,
                   const UnitOutput& out) {
  constexpr int64_t kTokens = 2 * kTileRows / kPlanes;
  auto readers = make_readers<Reader, kPanels>(layout, unit);
  CodeBlock<kPanels> block;
  PassSums<kPanels> sums;
  std::memset(sums.at, 0, sizeof sums.at);
  GroupProduct<kPanels, kPlanes> product(input, block, sums, begin);
  for (int64_t g = 0; g < input.groups; g += block.count) {
    block.read(readers, input.form, g, input.groups);
    for (int64_t t = begin; t < end; t += kTokens) {
      for (int64_t i = 0; i < block.count; ++i) product.add(t, std::min(kTokens, end - t), i);
    }
    product.finish();
  }
  for (int p = 0; p < kPanels; ++p) {
    for (int64_t t = begin; t < end; ++t)
      store_floats(out.at + t * out.stride + p * kPanelRows, load_floats(sums.at[p][t - begin]));
  }
}

template <typename Reader, typename Layout>
bool prefill_integers(const Layout& layout, const PreparedInput& input, const UnitRange& units, int64_t begin,
                      int64_t end, const UnitOutput& out) {
  if (input.form.group < kShortestGroup) return false;
  const Tiles tiles;
  for (int64_t t = begin; t < end; t += kTokensOfPass) {
    const int64_t last = std::min(t + kTokensOfPass, end);
    if (units.count == 2 && input.low != nullptr) {
      multiply_pass<Reader, 2, 2>(layout, input, units.first, t, last, out);
    } else if (units.count == 2) {
      multiply_pass<Reader, 2, 1>(layout, input, units.first, t, last, out);
    } else if (input.low != nullptr) {
      multiply_pass<Reader, 1, 2>(layout, input, units.first, t, last, out);
    } else {
      multiply_pass<Reader, 1, 1>(layout, input, units.first, t, last, out);
    }
  }
  return true;
}
