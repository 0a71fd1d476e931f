// Weight formats in memory. A method chooses values; packing, storing and multiplying belong to the format.
// Shapes by letters: R out-features, C in-features, G groups per row, T tokens.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
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
  // bool [R], or undefined: rows whose codes are all below 2^narrow_bits and take so many bits on disk. Only without a
  // mask.
  Tensor narrow;
  int64_t narrow_bits = 0;  // less than `bits`
};

// Bitmap-sparse: one bit per weight and the non-zeros of each row in order.
struct SparseWeight {
  int64_t rows = 0, columns = 0;
  Tensor values;  // floating point [non-zeros], row by row
  Tensor mask;    // bool [R, C], true where a value is stored
};

// Vector-wise 8-bit integers: w = scale_r * code. The inputs are rounded too when the weight is multiplied, each token
// to 127 steps of its own maximum, and the products are summed as integers (Dettmers et al., LLM.int8(), 2022).
struct Int8Weight {
  Tensor codes;   // int8 [R, C], -127..127; floating point with the same values once unpacked
  Tensor scales;  // floating point [R]
  // Columns of a call's inputs with any |x| >= threshold are multiplied in floating point; infinite: none are.
  double threshold = std::numeric_limits<double>::infinity();
  Tensor kept;         // int64 [K]: columns that always are, with weights of their own; undefined: none
  Tensor kept_values;  // floating point [R, K]
};

// 8-bit floats (E4M3 without infinities, largest 448) with one scale per tile: w = scale * value(code).
struct Float8Weight {
  int64_t tile_rows = 1, tile_columns = 0;  // 1 x C: one scale per output row
  Tensor codes;                             // uint8 [R, C], the bits of the floats
  Tensor scales;                            // float32 [ceil(R / tile_rows), ceil(C / tile_columns)]
};

// Integers whose leading bits are integers of fewer bits on the same range (Matryoshka quantization): with d = 8 -
// bits, w = low + scale * (code * 2^d + (2^d - 1) / 2), the middle of what the 8-bit code may be.
struct NestedIntWeight {
  int64_t bits = 8;        // 2..8
  int64_t group_size = 0;  // C for one group per row
  Tensor codes;            // uint8 [R, C]
  Tensor scales, lows;     // floating point [R, G]: step of the 8-bit grid, value of its lowest code
  Tensor mask;             // bool [R, C], or undefined: exactly zero
};

// Whole groups of consecutive inputs are either zero or on a grid of their own: w = scale * (code - zero).
struct GroupSparseWeight {
  int64_t rows = 0, columns = 0;
  int64_t bits = 4, group_size = 16;  // group_size divides columns
  Tensor kept;                        // bool [R, G]
  Tensor codes;                       // uint8 [kept groups, group_size], row by row
  Tensor scales;                      // floating point [kept groups]
  Tensor zeros;                       // uint8 [kept groups]
};

struct WeightBox;
// W = base + left right.
struct LowRankWeight {
  std::shared_ptr<const WeightBox> base;  // null: the factors are all there is
  Tensor left, right;                     // floating point [R, rank], [rank, C]
};

using Weight = std::variant<DenseWeight, GroupIntWeight, SparseWeight, Int8Weight, Float8Weight, NestedIntWeight,
                            GroupSparseWeight, LowRankWeight>;
struct WeightBox {
  Weight weight;
};

// The matrix [R, C] in `type`; differentiable with respect to the format's floating-point tensors.
Tensor weight_to_dense(const Weight& weight, at::ScalarType type);
// The matrix [R, C] in the type of its values, float32 where there are only codes; of a dense weight no copy.
Tensor weight_values(const Weight& weight);
// input [..., C] -> [..., R] in the input's type; the format decides whether inputs are rounded.
Tensor weight_product(const Weight& weight, const Tensor& input);
// For repeated products: dense, or, where inputs are rounded, the same format with codes that need no conversion.
Weight weight_unpacked(const Weight& weight, at::ScalarType type);
// Values of dense, sparse and low-rank weights in `type`; scales keep theirs. Without a device it stays where it is.
Weight weight_to(const Weight& weight, at::ScalarType type, std::optional<at::Device> device = {});
// Element type of the values, or of the scales where there are only codes.
at::ScalarType weight_type(const Weight& weight);
// Zeros among the stored values; those of the base where there are low-rank factors beside it.
int64_t weight_zeros(const Weight& weight);
int64_t weight_rows(const Weight& weight);
int64_t weight_columns(const Weight& weight);
// Bytes on disk in Ockham's container, side data included (docs/formats.md).
int64_t weight_bytes(const Weight& weight);
// A dense weight with enough zeros as bitmap-sparse, when that takes fewer bytes; any other weight as it is.
Weight pack_if_smaller(const Weight& weight);
// As the container names it: "dense", "group-int", "bitmap-sparse", "int8", "float8", "nested-int", "group-sparse",
// "low-rank".
std::string weight_format(const Weight& weight);

}  // namespace ockham
