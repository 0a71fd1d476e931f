// A small matrix product whose sums stay in registers. Included once for each instruction set, inside a namespace and a
// target of its own (#pragma GCC target): a template takes the target under which it is written, not that under which
// it is used. Before it stand kLanes, the numbers of a register, and kHeight, the rows of a tile, at most 8.

constexpr int64_t kWidth = int64_t{2} * kLanes;  // of a tile
using Vector = float __attribute__((vector_size(kLanes * sizeof(float))));

template <typename V>
OCKHAM_INLINE V load(const void* from) {
  V value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}
template <typename V>
OCKHAM_INLINE void store(void* to, const V& value) {
  std::memcpy(to, &value, sizeof(value));
}

// c [Rows, kWidth] = or += a [Rows, depth] b [depth, kWidth].
template <int Rows>
OCKHAM_INLINE void tile(const float* a, int64_t a_row, const float* b, int64_t b_row, int64_t depth, float* c,
                        int64_t c_row, bool adds) {
  Vector low[Rows], high[Rows];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
    low[i] = adds ? load<Vector>(c + i * c_row) : Vector{};
    high[i] = adds ? load<Vector>(c + i * c_row + kLanes) : Vector{};
  }
  for (int64_t k = 0; k < depth; ++k) {
    const Vector b_low = load<Vector>(b + k * b_row), b_high = load<Vector>(b + k * b_row + kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      const float value = a[i * a_row + k];
      low[i] += value * b_low;
      high[i] += value * b_high;
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
    store(c + i * c_row, low[i]);
    store(c + i * c_row + kLanes, high[i]);
  }
}
OCKHAM_INLINE void tile(int64_t rows, const float* a, int64_t a_row, const float* b, int64_t b_row, int64_t depth,
                        float* c, int64_t c_row, bool adds) {
  if (rows == kHeight) return tile<kHeight>(a, a_row, b, b_row, depth, c, c_row, adds);
  int64_t row = 0;
  for (; row + 2 <= rows; row += 2) tile<2>(a + row * a_row, a_row, b, b_row, depth, c + row * c_row, c_row, adds);
  if (row < rows) tile<1>(a + row * a_row, a_row, b, b_row, depth, c + row * c_row, c_row, adds);
}
