#include <cstring>

#include "ockham/core/half.h"
#include "tests/kernels/kernel_case.h"

namespace ockham {
namespace {

float as_type(float value, DType type) {
  if (type == DType::kF16) return half_to_float(float_to_half(value));
  return type == DType::kBF16 ? bfloat16_to_float(float_to_bfloat16(value)) : value;
}

// Row 1 is zero; values are those that `type` can hold.
ReferenceMatrix random_matrix(Rng& rng, DType type, int64_t rows, int64_t columns) {
  ReferenceMatrix matrix;
  matrix.rows = rows;
  matrix.columns = columns;
  for (int64_t i = 0; i < rows * columns; ++i) {
    const double value = as_type(static_cast<float>(rng.normal()), type) * (i / columns == 1 ? 0 : 1);
    matrix.weights.push_back(value);
    matrix.magnitudes.push_back(std::fabs(value));
  }
  return matrix;
}

constexpr DType kTypes[] = {DType::kF32, DType::kF16, DType::kBF16};
constexpr int64_t kSomeColumns[] = {1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 200, 515};

TEST(DenseKernel, CopiedRowsMatchTheReference) {
  Rng rng(1);
  for (const DType type : kTypes) {
    for (const int64_t columns : kSomeColumns) {
      for (const int64_t rows : {1, 6, 16, 35}) {
        KernelCase c{{}, random_matrix(rng, type, rows, columns)};
        const auto read = [&](int64_t row, float* values) {
          for (int64_t i = 0; i < columns; ++i)
            values[i] = static_cast<float>(c.reference.weights[static_cast<size_t>(row * columns + i)]);
        };
        c.matrix = pack_dense(read, type, rows, columns);
        expect_products(c, 2);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Rows lie at an odd address, one byte apart from each other, and end where the memory does.
TEST(DenseKernel, ViewsOfUnalignedRowsMatchTheReference) {
  Rng rng(3);
  for (const DType type : kTypes) {
    for (const int64_t columns : kSomeColumns) {
      const int64_t rows = 18, size = dtype_size(type), stride = columns + 1;
      KernelCase c{{}, random_matrix(rng, type, rows, columns)};
      std::vector<uint8_t> bytes(static_cast<size_t>((rows - 1) * stride * size + columns * size + 1), 0xff);
      for (int64_t i = 0; i < rows * columns; ++i) {
        const auto value = static_cast<float>(c.reference.weights[static_cast<size_t>(i)]);
        const uint16_t bits = type == DType::kF16 ? float_to_half(value) : float_to_bfloat16(value);
        uint8_t* to = bytes.data() + 1 + (i / columns * stride + i % columns) * size;
        if (type == DType::kF32) std::memcpy(to, &value, sizeof value);
        if (type != DType::kF32) std::memcpy(to, &bits, sizeof bits);
      }
      c.matrix = view_dense(bytes.data() + 1, type, rows, columns, stride);
      EXPECT_EQ(c.matrix.bytes(), rows * columns * size);
      expect_products(c, 4);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(DenseKernel, RefusesOtherTypes) {
  const double value = 1;
  EXPECT_ANY_THROW(view_dense(&value, DType::kF64, 1, 1));
}

}  // namespace
}  // namespace ockham
