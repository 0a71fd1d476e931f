#include "ockham/kernels/pack_sparse.h"
#include "tests/kernels/kernel_case.h"

namespace ockham {
namespace {

// Random codes of `bits` in groups of 32, without a reference of their own.
KernelMatrix integers(Rng& rng, int64_t bits, int64_t rows, int64_t columns, std::vector<double>& weights) {
  std::vector<uint8_t> codes(static_cast<size_t>(rows * columns));
  for (uint8_t& code : codes) code = static_cast<uint8_t>(rng.below(uint64_t{1} << bits));
  IntegerSource source;
  source.rows = rows;
  source.columns = columns;
  source.bits = bits;
  source.group_size = 32;
  source.read = [&](int64_t row, IntegerRow& out) {
    std::copy_n(codes.begin() + row * columns, columns, out.codes);
    std::fill_n(out.scales, (columns + 31) / 32, 0.5F);
  };
  for (const uint8_t code : codes) weights.push_back(0.5 * (code - (1 << (bits - 1))));
  return pack_integers(source, BitmapLimits());
}

// Rows of 4 and of 8 bits in one matrix; `bits` of row r is 8 where r % 3 is 0.
KernelCase mixed_widths(Rng& rng, int64_t rows, int64_t columns) {
  std::vector<std::vector<int32_t>> rows_of(2);
  for (int64_t r = 0; r < rows; ++r) rows_of[r % 3 == 0 ? 1 : 0].push_back(static_cast<int32_t>(r));
  std::vector<KernelMatrix> parts;
  KernelCase c;
  c.reference.rows = rows;
  c.reference.columns = columns;
  c.reference.weights.resize(static_cast<size_t>(rows * columns));
  for (size_t p = 0; p < 2; ++p) {
    std::vector<double> weights;
    parts.push_back(integers(rng, p == 0 ? 4 : 8, static_cast<int64_t>(rows_of[p].size()), columns, weights));
    for (size_t i = 0; i < rows_of[p].size(); ++i)
      std::copy_n(weights.begin() + static_cast<int64_t>(i) * columns, columns,
                  c.reference.weights.begin() + rows_of[p][i] * columns);
  }
  c.matrix = join_rows(std::move(parts), rows_of);
  for (size_t i = 0; i < c.reference.weights.size(); ++i)
    c.reference.magnitudes.push_back(std::fabs(c.reference.weights[i]) + 0.5 * 128);
  return c;
}

TEST(JoinedRows, RowsOfTwoWidthsMatchTheReference) {
  Rng rng(1);
  for (const int64_t rows : {3, 16, 47, 100}) {
    expect_products(mixed_widths(rng, rows, 160), 2);
    if (HasFatalFailure()) return;
  }
}

TEST(JoinedRows, EveryRowIsNamedOnce) {
  Rng rng(3);
  std::vector<double> weights;
  const auto join = [&](const std::vector<int32_t>& rows) {
    std::vector<KernelMatrix> parts;
    parts.push_back(integers(rng, 4, 3, 32, weights));
    return join_rows(std::move(parts), {rows});
  };
  EXPECT_NO_THROW(join({2, 0, 1}));
  EXPECT_THROW(join({0, 0, 1}), Error);
  EXPECT_THROW(join({0, 1, 3}), Error);
  EXPECT_THROW(join({0, 1}), Error);
}

// The low-rank part is added exactly, to rows of one or of two widths.
TEST(LowRank, FactorsAreAdded) {
  Rng rng(5);
  for (const int64_t rank : {1, 8, 37}) {
    for (const int64_t rows : {5, 32, 47}) {
      const int64_t columns = 96;
      KernelCase c = mixed_widths(rng, rows, columns);
      std::vector<float> left(static_cast<size_t>(rows * rank)), right(static_cast<size_t>(rank * columns));
      for (float& value : left) value = static_cast<float>(static_cast<int>(rng.below(9)) - 4);
      for (float& value : right) value = static_cast<float>(static_cast<int>(rng.below(9)) - 4);
      for (int64_t i = 0; i < rows * columns; ++i) {
        double sum = 0, size = 0;
        for (int64_t k = 0; k < rank; ++k) {
          const double term = double{left[static_cast<size_t>(i / columns * rank + k)]} *
                              right[static_cast<size_t>(k * columns + i % columns)];
          sum += term;
          size += std::fabs(term);
        }
        c.reference.weights[static_cast<size_t>(i)] += sum;
        c.reference.magnitudes[static_cast<size_t>(i)] += size;
      }
      c.matrix = add_low_rank(
          std::move(c.matrix), rank,
          [&](int64_t row, float* values) { std::copy_n(left.begin() + row * rank, rank, values); },
          [&](int64_t row, float* values) { std::copy_n(right.begin() + row * columns, columns, values); },
          DType::kBF16);
      EXPECT_EQ(c.matrix.rank(), rank);
      expect_products(c, 6);
      if (HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace ockham
