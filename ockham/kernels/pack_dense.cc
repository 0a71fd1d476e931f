// Floating-point matrices: where they lie, or copied.
#include <cstring>
#include <memory>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/core/half.h"
#include "ockham/kernels/builder.h"
#include "ockham/kernels/float_values.h"

namespace ockham {

void expect_float_type(DType type) {
  if (type == DType::kF32 || type == DType::kF16 || type == DType::kBF16) return;
  throw_error(ErrorKind::kUnsupported, "weights of type {}; kernels take F32, F16 and BF16", dtype_name(type));
}

void store_values(const float* values, int64_t count, DType type, uint8_t* to) {
  if (type == DType::kF32) {
    std::memcpy(to, values, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t bits = type == DType::kF16 ? float_to_half(values[i]) : float_to_bfloat16(values[i]);
    std::memcpy(to + 2 * i, &bits, sizeof bits);
  }
}

namespace {

void set_shape(DenseRows& dense) {
  dense.bytes = dense.rows * dense.columns * dtype_size(dense.type);
  dense.form.is_paired = dense.type == DType::kBF16;
  dense.form.columns = round_up(dense.columns, 32);
}

}  // namespace

KernelMatrix view_dense(const void* values, DType type, int64_t rows, int64_t columns, int64_t row_stride) {
  expect_float_type(type);
  OCKHAM_CHECK(values != nullptr && (row_stride == 0 || row_stride >= columns));
  MatrixBuilder builder(rows, columns);
  DenseRows dense;
  dense.type = type;
  dense.rows = rows;
  dense.columns = columns;
  dense.row_stride = row_stride == 0 ? columns : row_stride;
  dense.values = static_cast<const uint8_t*>(values);
  set_shape(dense);
  builder.add_part(dense);
  return builder.finish(fmt::format("dense {}", dtype_config_name(type)));
}

namespace {

// A copy whose rows have no rest: zeros up to a multiple of 32 columns.
DenseRows copy_rows(const ReadFloats& read, DType type, int64_t rows, int64_t columns, MatrixBuilder& builder) {
  expect_float_type(type);
  DenseRows dense;
  dense.type = type;
  dense.rows = rows;
  dense.columns = dense.row_stride = round_up(columns, 32);
  const int64_t row_bytes = dense.row_stride * dtype_size(type);
  uint8_t* to = builder.allocate(rows * row_bytes);
  for_each_panel(rows, [&](int64_t panel) {
    std::vector<float> values(static_cast<size_t>(columns));
    for (int64_t row = panel * kPanelRows; row < std::min(rows, (panel + 1) * kPanelRows); ++row) {
      read(row, values.data());
      store_values(values.data(), columns, type, to + row * row_bytes);
    }
  });
  dense.values = to;
  set_shape(dense);
  return dense;
}

}  // namespace

KernelMatrix pack_dense(const ReadFloats& read, DType type, int64_t rows, int64_t columns) {
  MatrixBuilder builder(rows, columns);
  builder.add_part(copy_rows(read, type, rows, columns, builder));
  return builder.finish(fmt::format("dense {}", dtype_config_name(type)));
}

KernelMatrix add_low_rank(KernelMatrix matrix, int64_t rank, const ReadFloats& left, const ReadFloats& right,
                          DType type) {
  OCKHAM_CHECK(rank > 0 && matrix.rank() == 0);
  const int64_t columns = matrix.columns();
  const std::string description = fmt::format("{} + rank {} {}", matrix.description(), rank, dtype_config_name(type));
  MatrixBuilder builder(std::move(matrix));
  builder.set_right(pack_dense(right, type, rank, columns));
  builder.set_left([&](const MatrixPart& part, MatrixBuilder& memory) {
    const auto read = [&](int64_t row, float* values) {
      const int64_t output = part.outputs.empty() ? row : part.outputs[static_cast<size_t>(row)];
      if (output >= 0) left(output, values);
    };
    return copy_rows(read, type, shape_of(part.layout).rows, rank, memory);
  });
  return builder.finish(description);
}

}  // namespace ockham
