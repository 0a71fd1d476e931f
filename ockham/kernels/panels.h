// Layouts of weights in memory and of the inputs that go with them: plain descriptors with pointers they do not own.
//
// A panel is 16 rows. Its codes stand in vectors of 64 bytes: lane r (4 bytes) of a vector belongs to row r, byte i of
// a lane to column 4q + i, where q counts the panel's "quads" of four columns. Rows beyond the last are zeros. So the
// four inputs of a quad are multiplied with all 16 rows by one instruction, sums need no reduction, and the same order
// is the right operand of tile units.
//
// Codes narrower than 8 bits share bytes (lane by lane as above); a step is as many quads as fill whole vectors:
//   bits  quads  vectors  where the codes of a step are
//    2      4       1     quad q in bits 2q, 2q + 1
//    3      8       3     quads 2v and 2v + 1 in bits 0-2 and 3-5 of vector v; quad 6: its low bits in bits 6-7 of
//                         vector 0, its high bit in bit 6 of vector 2; quad 7: bits 6-7 of vector 1, bit 7 of vector 2
//    4      2       1     quad 0 in bits 0-3, quad 1 in bits 4-7
//    5      8       5     quads 0-4 in bits 0-4 of their vector; quad 5: bits 5-7 of vector 0, 5-6 of vector 3; quad
//                         6: 5-7 of 1, 5-6 of 4; quad 7: 5-7 of 2, bit 7 of 3, bit 7 of 4 (low bits first)
//    6      4       3     quads 0-2 in bits 0-5 of their vector; quad 3 in bits 6-7 of vectors 0, 1, 2
//    8      1       1     the byte
// Beside the codes every group of columns has a record of 16 scales and, unless the zero is the same for all, 16 zeros
// (a byte each) or 16 minima (as wide as scales). Bytes per weight with f16 or bf16 scales: bits / 8 + 2 / group,
// + 1 / group with zeros, + 2 / group with minima (nested: 1 / group, and 2 / 256 more, for scales as for minima);
// so 4.19 bits for 4 bits in groups of 128 with zeros.
#pragma once

#include <cstdint>
#include <variant>

#include "ockham/core/dtype.h"

namespace ockham {

constexpr int64_t kPanelRows = 16;
constexpr int64_t kUnitsOfPrefill = 4;    // panels that kernels for many tokens take at once, at most
constexpr int64_t kMostGroup = 512;       // columns of one step size of integers' inputs, at most: sums stay exact
constexpr int64_t kTokensOfProduct = 32;  // inputs for them are padded to a multiple of so many tokens

// What a layout needs to find in its inputs.
struct InputForm {
  bool is_rounded = false;         // to integers; else float32
  bool is_paired = false;          // floats: of 32 columns the even ones first, then the odd ones
  bool is_turnable = false;        // floats: may be turned where tokens are many and the target has kernels for that
  int64_t columns = 0;             // as stored, with padding
  int64_t group = 0;               // columns of one step size, if rounded
  const int32_t* order = nullptr;  // [columns]: the input of each stored column, -1: none; null: as they are
  bool operator==(const InputForm&) const = default;
};

// Inputs of T tokens. x = scale * n, n = 128 high + low, or n = high where `low` is null. |high| <= 127, |low| <= 64.
struct PreparedInput {
  InputForm form;
  int64_t groups = 0;
  int64_t stride = 0;       // from one token to the next
  float* values = nullptr;  // [T, columns] if not rounded
  bool is_turned = false;   // values are [T / 16, columns, 16 tokens]
  // Instead of the values, for many tokens with bf16 weights: bf16 [planes, T / 16, columns / 2, 16 tokens, 2]; x is
  // the sum of one plane (rounded) or of three (exact).
  uint16_t* words = nullptr;
  int64_t planes = 1, plane_words = 0;
  int8_t *high = nullptr, *low = nullptr;  // [T, columns]
  float* scales = nullptr;                 // [T, groups]
  float* sums = nullptr;                   // [T, groups]: sum of scale * n
  int32_t* code_sums = nullptr;            // [T, groups]: sum of n
};

// What all layouts have.
struct LayoutShape {
  int64_t rows = 0;
  int64_t bytes = 0;  // that a product with one token reads
  InputForm form;
};

// Row by row, as in a checkpoint.
struct DenseRows : LayoutShape {
  DType type = DType::kF32;             // kF32, kF16, kBF16
  int64_t columns = 0, row_stride = 0;  // the stride in elements
  const uint8_t* values = nullptr;
};

// kNested: an integer of 8 bits times an f16 that groups of 256 columns share, as in the K types of GGUF.
enum class ScaleKind : uint8_t { kF32, kF16, kBF16, kNested };
enum class ZeroKind : uint8_t { kSame, kCodes, kMinima };

// The records of groups, panel by panel: group g of the inputs has record g / inputs_per_record.
struct GroupRecords {
  ScaleKind scale = ScaleKind::kF32;
  ZeroKind zero = ZeroKind::kSame;
  float same_zero = 0;
  int64_t inputs_per_record = 1;
  int64_t record_bytes = 0, panel_bytes = 0;
  const uint8_t* records = nullptr;
  // kNested: for each records_of_outer records 16 factors of the scales, and of the minima where there are any.
  int64_t records_of_outer = 1, outer_bytes = 0, outer_panel_bytes = 0;
  const uint8_t* outers = nullptr;
};
constexpr int64_t kOuterColumns = 256;

// form.columns: a multiple of 32; form.group: a multiple of 16 (with 3 and 5 bits of 32, or 16).
struct IntegerPanels : LayoutShape {
  int bits = 4;  // 2, 3, 4, 5, 6 or 8
  GroupRecords groups;
  const uint8_t* codes = nullptr;  // [panels, columns * 2 * bits]
};

// Bitmaps: for every 64 places of a panel a mask (bit i: place i holds a value), and what they hold one after another.
// starts[p] is where the values of panel p begin, in bytes.
//
// Integers: the places are those of a quad; without a value stands the code of zero. Values are bytes, or nibbles:
// those of a quad in the low halves of bytes, those of the quad after it in the high halves of the same bytes, of which
// there are as many as the longer of the two has values. Bits per weight: 1 + bits * density, with 4 bits a little
// more, beside the records.
struct SparseIntegerPanels : LayoutShape {
  int bits = 4;  // 4 or 8
  GroupRecords groups;
  const uint64_t* masks = nullptr;  // [panels, columns / 4]
  const int64_t* starts = nullptr;  // [panels]
  const uint8_t* values = nullptr;
};
// Floats: 64 places are four columns of 16 rows each (kF32), or two pairs of columns, row by row within a pair (kBF16).
struct SparseFloatPanels : LayoutShape {
  DType type = DType::kF32;         // kF32 or kBF16
  const uint64_t* masks = nullptr;  // [panels, columns / 4]
  const int64_t* starts = nullptr;  // [panels]
  const uint8_t* values = nullptr;
};
// Few non-zeros: lane r steps from one column of its row to the next that is not zero. Entry e of a panel is 16 steps
// and 16 values; steps too long for their bits pass by entries of value 0. 64 bytes hold the steps of 32 / step_bits
// entries: byte 4r + i that of lane r to entry i, or in its low half that to entry i and in its high half that to entry
// i + 4. Values of two entries of bf16 stand side by side, lane by lane. Rows are sorted by their number of non-zeros.
struct StepPanels : LayoutShape {
  DType type = DType::kF32;         // kF32 or kBF16
  int step_bits = 8;                // 4 or 8
  const int64_t* starts = nullptr;  // [panels + 1], in entries, multiples of 32 / step_bits
  const uint8_t* steps = nullptr;   // [entries, 16 * step_bits / 8]
  const uint8_t* values = nullptr;  // [entries, 16]
};
// Whole groups of columns kept or dropped row by row. For each group of columns a mask of the rows that keep it, and
// for each 16 columns of it, of these rows only, the lanes of quads 0 and 1, then of quads 2 and 3 (4 bits: the first
// in bits 0-3), or of one quad after the other (8 bits). Scales alike, in four bytes with the zero in the first and the
// scale in the two upper ones, or, if scales are f32, the scale; then zeros are bytes of their own. Bits per weight at
// 4 bits in groups of 16: 1/16 + density * (4 + 32/16).
struct GroupSparsePanels : LayoutShape {
  int bits = 4;                                                         // 4 or 8
  ScaleKind scale = ScaleKind::kF32;                                    // not kNested
  const uint16_t* masks = nullptr;                                      // [panels, groups]
  const int64_t* starts = nullptr;                                      // [panels], in kept groups
  const uint8_t *codes = nullptr, *scales = nullptr, *zeros = nullptr;  // of each kept group
};

using MatrixLayout =
    std::variant<DenseRows, IntegerPanels, SparseIntegerPanels, SparseFloatPanels, StepPanels, GroupSparsePanels>;

constexpr int64_t panels_of(int64_t rows) {
  return (rows + kPanelRows - 1) / kPanelRows;
}
inline const LayoutShape& shape_of(const MatrixLayout& layout) {
  return std::visit([](const auto& one) -> const LayoutShape& { return one; }, layout);
}

}  // namespace ockham
