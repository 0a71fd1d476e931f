// Many tokens with integers in panels. Codes of up to four panels are unpacked to bytes that stay in the second cache
// while all tokens of a pass go by; a target's products take one group of two panels with a few tokens at a time.

// Sums of the tokens of a pass with the panels.
struct PassSums {
  alignas(64) float at[kTokensOfPass][kLanesOfPass], minima[kTokensOfPass][kLanesOfPass];

  void clear(int64_t tokens) {
    std::memset(at, 0, static_cast<size_t>(tokens) * sizeof at[0]);
    std::memset(minima, 0, static_cast<size_t>(tokens) * sizeof minima[0]);
  }
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

// The tokens of a pass with a block of codes. `Of`: the target's products,
//   kTokens              that they take at a time
//   kTokensOfTurn        of which inputs stay in the first cache with the codes of one group
//   add(pair, sums)      multiplies, and adds the products to the sums now or later
//   finish()             adds what is left
template <int kPlanes, typename Of>
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
    const int64_t tokens = input_.form.group > 256 ? 2 * Of::kTokensOfTurn : Of::kTokensOfTurn;
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
  static constexpr int64_t kTokens = Of::kTokens;

  OCKHAM_INLINE void add(int64_t token, int64_t g, int64_t pair) {
    const InputForm& form = input_.form;
    const int64_t column = (block_.first + g) * form.group, at = token * input_.stride + column;
    PanelPair of;
    of.high = input_.high + at;
    of.low = kPlanes == 2 ? input_.low + at : nullptr;
    of.stride = input_.stride;
    of.left = block_.codes[2 * pair] + g * form.group * kPanelRows;
    of.right = block_.codes[2 * pair + 1] + g * form.group * kPanelRows;
    of.steps = column + form.group <= form.columns ? steps_ : last_steps_;
    of.columns = step_;
    const int64_t lanes = 2 * pair * kPanelRows, record = token * input_.groups + block_.first + g;
    PairSums to;
    to.sums = sums_.at[token - begin_] + lanes;
    to.scales = block_.scales[g] + lanes;
    to.zeros = block_.zeros[g] + lanes;
    to.input_scales = input_.scales + record;
    to.code_sums = input_.code_sums + record;
    to.groups = input_.groups;
    to.count = std::min(kTokens, end_ - token);
    to.has_zeros = block_.has_zeros;
    products_.add(of, to);
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
  Of products_;
};

template <int kBits>
void multiply_block(const PreparedInput& input, const CodeBlock& block, PassSums& sums, const TokenPass& pass) {
  if (input.low != nullptr) {
    BlockProduct<2, Products<2, kBits>>(input, block, sums, pass).run();
  } else {
    BlockProduct<1, Products<1, kBits>>(input, block, sums, pass).run();
  }
}

template <typename Reader, typename Layout>
bool prefill_integers(const Layout& layout, const PreparedInput& input, const UnitRange& units, int64_t begin,
                      int64_t end, const UnitOutput& out) {
  if (input.form.group % Reader::kStepColumns != 0) return false;
  const ProductsScope scope(input.form.group);
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
      multiply_block<Reader::kBitsOfCode>(input, block, sums, {t, last, units.count, out});
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

inline bool prefill_panels(const IntegerPanels& panels, const PreparedInput& input, const UnitRange& units,
                           int64_t begin, int64_t end, const UnitOutput& out) {
  switch (panels.bits) {
    case 2:
      return prefill_integers<IntegerReader<2>>(panels, input, units, begin, end, out);
    case 3:
      return prefill_integers<IntegerReader<3>>(panels, input, units, begin, end, out);
    case 4:
      return prefill_integers<IntegerReader<4>>(panels, input, units, begin, end, out);
    case 5:
      return prefill_integers<IntegerReader<5>>(panels, input, units, begin, end, out);
    case 6:
      return prefill_integers<IntegerReader<6>>(panels, input, units, begin, end, out);
    default:
      return prefill_integers<IntegerReader<8>>(panels, input, units, begin, end, out);
  }
}
inline bool prefill_bitmap(const SparseIntegerPanels& panels, const PreparedInput& input, const UnitRange& units,
                           int64_t begin, int64_t end, const UnitOutput& out) {
  if (panels.bits == 4) return prefill_integers<SparseReader<4>>(panels, input, units, begin, end, out);
  return prefill_integers<SparseReader<8>>(panels, input, units, begin, end, out);
}
inline bool prefill_groups(const GroupSparsePanels& panels, const PreparedInput& input, const UnitRange& units,
                           int64_t begin, int64_t end, const UnitOutput& out) {
  if (panels.bits == 4) return prefill_integers<GroupSparseReader<4>>(panels, input, units, begin, end, out);
  return prefill_integers<GroupSparseReader<8>>(panels, input, units, begin, end, out);
}
inline KernelSet with_prefill(KernelSet set) {
  set.prefill_integer = prefill_panels;
  set.prefill_sparse_integer = prefill_bitmap;
  set.prefill_group_sparse = prefill_groups;
  return set;
}
