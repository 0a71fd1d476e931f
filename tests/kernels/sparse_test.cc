#include "ockham/core/half.h"
#include "ockham/kernels/pack_sparse.h"
#include "tests/kernels/kernel_case.h"

namespace ockham {
namespace {

// Values that `type` holds, a share `density` of them not zero; row 1 empty, row 2 full.
KernelCase sparse_floats(Rng& rng, DType type, int64_t rows, int64_t columns, double density,
                         const StepLimits& limits = {0.06, 1}) {
  KernelCase c;
  c.reference.rows = rows;
  c.reference.columns = columns;
  for (int64_t i = 0; i < rows * columns; ++i) {
    const float value = bfloat16_to_float(float_to_bfloat16(static_cast<float>(1 + rng.uniform())));
    const int64_t row = i / columns;
    const bool is_kept = row != 1 && (row == 2 || rng.chance(density));
    c.reference.weights.push_back(is_kept ? value : 0);
    c.reference.magnitudes.push_back(is_kept ? value : 0);
  }
  const auto read = [&](int64_t row, float* values) {
    for (int64_t i = 0; i < columns; ++i)
      values[i] = static_cast<float>(c.reference.weights[static_cast<size_t>(row * columns + i)]);
  };
  c.matrix = pack_sparse(read, type, rows, columns, {limits});
  return c;
}

bool says(const KernelCase& c, const char* words) {
  return c.matrix.description().find(words) != std::string::npos;
}

TEST(SparseKernel, BitmapsOfFloatsMatchTheReference) {
  Rng rng(1);
  for (const DType type : {DType::kF32, DType::kBF16}) {
    for (const int64_t columns : {1, 3, 31, 32, 33, 64, 130, 515}) {
      for (const int64_t rows : {4, 16, 35}) {
        for (const double density : {0.0, 0.1, 0.5}) {
          expect_products(sparse_floats(rng, type, rows, columns, density), 2);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
  EXPECT_TRUE(says(sparse_floats(rng, DType::kBF16, 64, 256, 0.5), "in a bitmap"));
}

TEST(SparseKernel, FewNonZerosMatchTheReference) {
  Rng rng(3);
  for (const DType type : {DType::kF32, DType::kBF16}) {
    for (const int64_t columns : {300, 2000}) {
      for (const int64_t rows : {70, 81}) {
        const KernelCase c = sparse_floats(rng, type, rows, columns, 0.02);
        EXPECT_TRUE(says(c, "as column steps")) << c.matrix.description();
        expect_products(c, 4);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Steps of 4 bits and of 8, some passed by entries without a value, with one, few and many tokens.
TEST(SparseKernel, ColumnStepsOfBothWidthsMatchTheReference) {
  Rng rng(11);
  for (const DType type : {DType::kF32, DType::kBF16}) {
    for (const auto& [density, words] : {std::pair(0.25, "steps of 4 bits"), std::pair(0.03, "steps of 8 bits")}) {
      for (const int64_t columns : {31, 600}) {
        const KernelCase c = sparse_floats(rng, type, 101, columns, density, {0.9, 100});
        if (columns == 600) {
          EXPECT_TRUE(says(c, words)) << c.matrix.description();
        }
        expect_products(c, 12);
        expect_same_bits_alone(c.matrix, 37, InputRounding::kFine, 13);
        expect_same_bits_alone(c.matrix, 7, InputRounding::kFine, 14);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// What fills rows of few non-zeros may take more than a bitmap.
TEST(SparseKernel, SmallMatricesTakeBitmapsWhereStepsAreLarger) {
  Rng rng(19);
  EXPECT_TRUE(says(sparse_floats(rng, DType::kF32, 16, 64, 0.1, {0.5, 1.15}), "in a bitmap"));
}

// A bitmap pays where it saves bytes, and where dense weights do not come from memory before it is expanded.
TEST(SparseKernel, BitmapsPayWhereTheyAreFaster) {
  EXPECT_TRUE(bitmap_pays({0.875, 0}, 8, 8, 0.5));
  EXPECT_FALSE(bitmap_pays({0.875, 0}, 8, 8, 0.8));
  EXPECT_TRUE(bitmap_pays({0.875, 7.9}, 8, 8, 0.5));
  EXPECT_FALSE(bitmap_pays({0.875, 8.1}, 8, 8, 0.1));
  EXPECT_GT(thread_read_rate(), 1e7);
  Rng rng(23);
  std::vector<float> row(256);
  for (float& value : row) value = rng.chance(0.5) ? 1.5F : 0;
  const auto read = [&](int64_t, float* values) { std::copy(row.begin(), row.end(), values); };
  const SparseLimits fast = {{0.06, 1}, {}}, slow = {{0.06, 1}, {0.875, 17}};
  const auto says_of = [&](const SparseLimits& limits) {
    return pack_sparse(read, DType::kBF16, 64, 256, limits).description();
  };
  EXPECT_NE(says_of(fast).find("in a bitmap"), std::string::npos) << says_of(fast);
  EXPECT_NE(says_of(slow).find("would not pay as bitmap"), std::string::npos) << says_of(slow);
}

// Steps beyond 255 columns, and a row whose only weight is the last.
TEST(SparseKernel, LongStepsReachTheirColumn) {
  constexpr int64_t kRows = 17, kColumns = 1500;
  KernelCase c;
  c.reference.rows = kRows;
  c.reference.columns = kColumns;
  c.reference.weights.resize(kRows * kColumns);
  for (size_t r = 0; r < kRows; ++r) c.reference.weights[r * kColumns + (r * 97 + 700) % kColumns] = 1.5;
  c.reference.weights[kColumns - 1] = -2;
  for (const double weight : c.reference.weights) c.reference.magnitudes.push_back(std::fabs(weight));
  const auto read = [&](int64_t row, float* values) {
    for (int64_t i = 0; i < kColumns; ++i)
      values[i] = static_cast<float>(c.reference.weights[static_cast<size_t>(row * kColumns + i)]);
  };
  c.matrix = pack_sparse(read, DType::kF32, kRows, kColumns);
  EXPECT_TRUE(says(c, "as column steps"));
  expect_products(c, 5);
}

TEST(SparseKernel, StaysDenseWhereABitmapWouldNotPay) {
  Rng rng(7);
  const KernelCase c = sparse_floats(rng, DType::kBF16, 32, 64, 0.95);
  EXPECT_TRUE(says(c, "would not pay")) << c.matrix.description();
  expect_products(c, 8);
}

// 2 of 4 weights in every four columns.
TEST(SparseKernel, TwoOfFourTakesNoMoreThanItsBits) {
  constexpr int64_t kRows = 32, kColumns = 256;
  const auto read = [](int64_t row, float* values) {
    for (int64_t i = 0; i < kColumns; ++i) values[i] = (i + row) % 4 < 2 ? 1.0F : 0.0F;
  };
  EXPECT_EQ(pack_sparse(read, DType::kBF16, kRows, kColumns).bytes() * 8, kRows * kColumns * 9);
}

// Random groups; row 1 keeps none, row 2 all.
KernelCase sparse_groups(Rng& rng, int64_t bits, int64_t group, int64_t rows, int64_t columns,
                         DType scale_type = DType::kBF16) {
  const int64_t groups = (columns + group - 1) / group;
  const auto count = static_cast<size_t>(rows * groups);
  std::vector<uint8_t> kept(count), zeros(count), codes(static_cast<size_t>(rows * columns));
  std::vector<float> scales(count);
  const uint64_t levels = uint64_t{1} << bits;
  for (size_t i = 0; i < count; ++i) {
    const int64_t row = static_cast<int64_t>(i) / groups;
    kept[i] = row != 1 && (row == 2 || rng.chance(0.5));
    zeros[i] = static_cast<uint8_t>(rng.below(levels));
    scales[i] = static_cast<float>(rng.chance(0.1) ? -1e-6 : 0.1 + rng.uniform());
    if (scale_type == DType::kBF16) scales[i] = bfloat16_to_float(float_to_bfloat16(scales[i]));
    if (scale_type == DType::kF16) scales[i] = half_to_float(float_to_half(scales[i]));
  }
  KernelCase c;
  c.reference.rows = rows;
  c.reference.columns = columns;
  for (int64_t i = 0; i < rows * columns; ++i) {
    const auto g = static_cast<size_t>(i / columns * groups + i % columns / group);
    const auto code = static_cast<uint8_t>(rng.below(levels));
    codes[static_cast<size_t>(i)] = code;
    c.reference.weights.push_back(kept[g] != 0 ? scales[g] * (double{1} * code - zeros[g]) : 0);
    c.reference.magnitudes.push_back(kept[g] != 0 ? std::fabs(scales[g]) * (double{1} * code + zeros[g]) : 0);
  }
  GroupSparseSource source;
  source.rows = rows;
  source.columns = columns;
  source.bits = bits;
  source.group_size = group;
  source.read = [&](int64_t row, GroupSparseRow& out) {
    std::copy_n(kept.begin() + row * groups, groups, out.is_kept);
    std::copy_n(zeros.begin() + row * groups, groups, out.zeros);
    std::copy_n(scales.begin() + row * groups, groups, out.scales);
    std::copy_n(codes.begin() + row * columns, columns, out.codes);
  };
  c.matrix = pack_group_sparse(source);
  return c;
}

// Small and negative scales are among them.
TEST(GroupSparseKernel, ScalesOfEveryTypeMatchTheReference) {
  Rng rng(15);
  for (const DType type : {DType::kBF16, DType::kF16, DType::kF32}) {
    for (const int64_t group : {16, 32}) {
      const KernelCase c = sparse_groups(rng, 4, group, 37, 200, type);
      expect_products(c, 16);
      expect_same_bits_alone(c.matrix, 19, InputRounding::kFine, 17);
      expect_same_bits_alone(c.matrix, 19, InputRounding::kFast, 18);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(GroupSparseKernel, WholeGroupsMatchTheReference) {
  Rng rng(9);
  for (const int64_t bits : {2, 4, 8}) {
    for (const int64_t group : {8, 16, 32, 48}) {
      for (const int64_t columns : {1, 16, 17, 64, 200, 512}) {
        for (const int64_t rows : {3, 16, 37}) {
          expect_products(sparse_groups(rng, bits, group, rows, columns), 10);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

}  // namespace
}  // namespace ockham
