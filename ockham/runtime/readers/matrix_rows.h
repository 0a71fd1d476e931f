// A matrix in the form that its file has, read row by row: what stands between a format and the kernels. Nothing is
// read before a row is asked for, so that packing needs no second copy of the weights.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ockham/io/families/families.h"
#include "ockham/io/families/weight_files.h"
#include "ockham/kernels/matrix.h"

namespace ockham {

struct MatrixRows {
  int64_t rows = 0, columns = 0;  // [R, C]
  // Floating point, in the type that the kernels are to keep.
  DType type = DType::kF32;
  const std::byte* values = nullptr;  // of that type, where rows lie one after another in a file; else null
  ReadFloats floats;                  // in any case
  bool is_sparse = false;             // stored without its zeros
  // Integers, instead of `floats`; group_index owns what the source points to.
  std::optional<IntegerSource> integers;
  std::shared_ptr<const std::vector<int32_t>> group_index;
  // Rows, one byte each, that are kept in `narrow_bits` bits: 1. Null: all take those of `integers`. Not of a fused
  // matrix.
  std::shared_ptr<const std::vector<uint8_t>> narrow;
  int64_t narrow_bits = 0;
  std::optional<GroupSparseSource> kept_groups;  // instead of `floats`, too
  // Low-rank factors, added to the above, which may be absent.
  int64_t rank = 0;
  DType factor_type = DType::kF32;
  ReadFloats left, right;
};

// Rows of a tensor [R, C], or of its transpose (then the tensor is [C, R]); the tensor is checked to be finite.
MatrixRows dense_rows(const StoredTensor& tensor, bool is_transposed = false);
// The rows of a fused matrix that are one linear's.
MatrixRows take_part(MatrixRows whole, const LinearSpec& part);
KernelMatrix pack_rows(const MatrixRows& rows);
// One row as numbers [C]; the matrix is floating point or integers, without low-rank factors.
void read_row(const MatrixRows& rows, int64_t row, float* values);

// Which row of the fused tensor row `row` of the part is.
int64_t fused_row(const LinearSpec& part, int64_t row);

// Numbers of F32, F16 or BF16, wherever they lie.
void read_floats(DType type, const std::byte* from, int64_t count, float* values);
// All numbers of a tensor; Error(kInput) where one is not finite.
std::vector<float> read_floats(const StoredTensor& tensor);
// Error(kInput) names the first element that is not a finite number, and how many there are.
void expect_finite(const StoredTensor& tensor);

}  // namespace ockham
