// Matrices of 8-bit floats (E4M3) with scales for tiles of rows and columns. Private to runtime.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ockham/io/families/weight_files.h"
#include "ockham/runtime/readers/matrix_rows.h"

namespace ockham {

struct Float8Matrix {
  StoredTensor codes;                                // one byte each, [R, C]
  std::shared_ptr<const std::vector<float>> scales;  // [ceil(R / tile_rows) or more, scale_columns]
  int64_t tile_rows = 1, tile_columns = 1;
  int64_t scale_columns = 1;  // ceil(C / tile_columns), or more
};
// Floating point, rounded to `type` (the products with the scales are exact in none). Error(kInput) for codes that are
// no numbers.
MatrixRows float8_rows(const Float8Matrix& matrix, DType type);

}  // namespace ockham
