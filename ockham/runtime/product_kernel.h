// Products of a few rows of floats with whatever loads as floats; part of vector_kernel.h, which has the registers.

// What a product asks memory for meanwhile: `step` bytes with each row of b, one after another, for each panel of its
// columns. A few at a time: a processor waits for 16 lines or so, and more asked for at once hold up everything else.
struct Ahead {
  const char* from = nullptr;  // null: nothing
  int64_t step = 0;
};

// c [Rows, Columns registers] = or += a [Rows, depth] b [depth, Columns registers].
template <int kRows, int kColumns, typename Element>
OCKHAM_INLINE void tile(const float* a, int64_t a_row, const Element* b, int64_t b_row, int64_t depth, float* c,
                        int64_t c_row, bool adds, const Ahead& ahead) {
  Vector sums[kRows][kColumns];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kColumns; ++j) sums[i][j] = adds ? load<Vector>(c + i * c_row + j * kLanes) : Vector{};
  }
  constexpr int64_t kLine = 64;
  const char* next = ahead.from;
  for (int64_t k = 0; k < depth; ++k) {
    if (next != nullptr) {
      OCKHAM_PREFETCH(next);  // mostly all of it; a loop costs more than it asks for
      if (ahead.step > kLine) fetch(next + kLine, ahead.step - kLine);
      next += ahead.step;
    }
    Vector right[kColumns];
#pragma GCC unroll 4
    for (int j = 0; j < kColumns; ++j) right[j] = load_floats(b + k * b_row + j * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const float left = a[i * a_row + k];
#pragma GCC unroll 4
      for (int j = 0; j < kColumns; ++j) sums[i][j] += left * right[j];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kColumns; ++j) store(c + i * c_row + j * kLanes, sums[i][j]);
  }
}
template <int kColumns, typename Element>
OCKHAM_INLINE void tile_rows(int64_t rows, const float* a, int64_t a_row, const Element* b, int64_t b_row,
                             int64_t depth, float* c, int64_t c_row, bool adds, Ahead ahead) {
  int64_t r = 0;
  for (; r + kHeight <= rows; r += kHeight, ahead = {})
    tile<kHeight, kColumns>(a + r * a_row, a_row, b, b_row, depth, c + r * c_row, c_row, adds, ahead);
  for (; r + 2 <= rows; r += 2, ahead = {})
    tile<2, kColumns>(a + r * a_row, a_row, b, b_row, depth, c + r * c_row, c_row, adds, ahead);
  if (r < rows) tile<1, kColumns>(a + r * a_row, a_row, b, b_row, depth, c + r * c_row, c_row, adds, ahead);
}
// `columns`: a multiple of 16.
template <typename Element>
OCKHAM_INLINE void product(int64_t rows, const float* a, int64_t a_row, const Element* b, int64_t b_row, int64_t depth,
                           int64_t columns, float* c, int64_t c_row, bool adds, Ahead ahead = {}) {
  const int64_t panel = ahead.step * depth;
  int64_t at = 0;
  for (; at + 2 * kLanes <= columns; at += 2 * kLanes) {
    tile_rows<2>(rows, a, a_row, b + at, b_row, depth, c + at, c_row, adds, ahead);
    if (ahead.from != nullptr) ahead.from += panel;
  }
  for (; at < columns; at += kLanes) {
    tile_rows<1>(rows, a, a_row, b + at, b_row, depth, c + at, c_row, adds, ahead);
    if (ahead.from != nullptr) ahead.from += panel;
  }
}

void multiply(int64_t rows, int64_t depth, int64_t columns, const float* a, const float* b, float* c) {
  product(rows, a, depth, b, columns, depth, columns, c, columns, false);
}
