// What a target multiplies at a time when tokens are many.

// Some tokens with one group of two panels.
struct PanelPair {
  const int8_t *high, *low;  // inputs of the first token; low: null if there is one plane
  int64_t stride;            // from one token to the next
  const uint8_t *left, *right;
  int64_t steps, columns;  // steps of tile_columns(), columns of one
};
alignas(64) constexpr float kNoScales[2 * kPanelRows] = {};
// Where its products go.
struct PairSums {
  float* sums = nullptr;  // of the first token
  const float *input_scales = nullptr, *scales = kNoScales;
  const int32_t *code_sums = nullptr, *zeros = nullptr;
  int64_t groups = 0;  // from the scale of one token to the next
  int64_t count = 0;   // tokens
  bool has_zeros = false;
};
// Adds the products of one token with one panel to its sums. Other kernels do the same operations in the same order.
template <bool kHasZeros>
OCKHAM_INLINE void add_products(const PairSums& to, int64_t token, int64_t panel, Floats scales, Ints whole) {
  const int64_t lanes = panel * kPanelRows, record = token * to.groups;
  float* sums = to.sums + token * kLanesOfPass + lanes;
  if constexpr (kHasZeros)
    whole = multiply_subtract_ints(load_bytes(to.zeros + lanes), fill_ints(to.code_sums[record]), whole);
  const Floats scale = multiply_floats(scales, fill_floats(to.input_scales[record]));
  store_floats(sums, multiply_add(scale, to_floats(whole), load_floats(sums)));
}
