// Weight formats in memory. A method chooses values; packing, storing and multiplying belong to the format.
// Shapes by letters: R out-features, C in-features, G groups per row, T tokens.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "ockham/tensor/tensor.h"

namespace ockham {

struct DenseWeight {
  Tensor values;  // [R, C], floating point
};

// Group-wise integers: w = scale * (q - zero); q in [0, 2^bits).
struct GroupIntWeight {
  int64_t bits = 4;          // 2..8
  int64_t group_size = 0;    // C for one group per row
  bool is_symmetric = true;  // then zero = 2^(bits-1) everywhere and is not stored
  Tensor codes;              // uint8 [R, C], one code each (packed on disk only)
  Tensor scales;             // floating point [R, G]
  Tensor zeros;              // uint8 [R, G]
  Tensor mask;  // bool [R, C], or undefined: positions that were zero before quantization stay exactly zero
  // int64 [C], the group of each column, where groups are not consecutive columns (GPTQ with act_order); or undefined.
  Tensor group_index;
};

// Bitmap-sparse: one bit per weight and the non-zeros of each row in order.
struct SparseWeight {
  int64_t rows = 0, columns = 0;
  Tensor values;  // floating point [non-zeros], row by row
  Tensor mask;    // bool [R, C], true where a value is stored
};

using Weight = std::variant<DenseWeight, GroupIntWeight, SparseWeight>;

// The matrix [R, C] in `type`; differentiable with respect to the format's floating-point tensors.
Tensor weight_to_dense(const Weight& weight, at::ScalarType type);
int64_t weight_rows(const Weight& weight);
int64_t weight_columns(const Weight& weight);
// Bytes on disk in Ockham's container, side data included (docs/formats.md).
int64_t weight_bytes(const Weight& weight);
// A dense weight with enough zeros as bitmap-sparse, when that takes fewer bytes; any other weight as it is.
Weight pack_if_smaller(const Weight& weight);
// "dense", "group-int", "bitmap-sparse".
std::string weight_format(const Weight& weight);

}  // namespace ockham
