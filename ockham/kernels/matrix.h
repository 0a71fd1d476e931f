// Weight matrices as the native engine multiplies them, and the product itself.
//
//   KernelMatrix w = pack_integers(source);                  // once, when the model is loaded
//   KernelInput input;                                       // one for each caller, kept between calls
//   input.reserve(w, tokens, InputRounding::kFine);
//   input.fill(w, x, x_stride, 0, tokens);                   // rounds and reorders inputs; may be split by tokens
//   multiply(w, input, 0, w.units(), y, y_stride);           // may be split by units: each writes outputs of its own
//
// Letters: R rows (outputs), C columns (inputs), T tokens, G groups of a row. A panel is 16 rows that are stored
// together, lane by lane; a unit is what one call of a kernel does: one panel, or 16 rows of a matrix stored by rows.
// Products are y[t, r] = sum over c of w[r, c] x[t, c]. Nothing here allocates or starts threads but the packers and
// KernelInput::reserve.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ockham/core/dtype.h"
#include "ockham/kernels/buffer.h"
#include "ockham/kernels/panels.h"

namespace ockham {

// What may happen to inputs before they are multiplied.
enum class InputRounding {
  // Floating-point weights: inputs stay float32. Integer weights: 16256 steps of the largest magnitude in each group,
  // so that every input is off by at most 1/32512 of it; decoding is as fast as with kFast, prefill half as fast.
  kFine,
  // Integer weights: 127 steps of the largest magnitude in each group (off by at most 1/254 of it). Floating-point
  // weights: float32; bf16 weights with more than kFewTokens tokens on a machine with tiles: bf16.
  kFast,
  // Integer weights: as kFine. Floating-point weights: nothing of an input is lost, and bf16 weights with more than
  // kFewTokens tokens on a machine with tiles are multiplied with three bf16 numbers that add up to each input (the 24
  // bits of a float32), several times faster than in float32; only the order of the sums differs from kFine.
  kExact,
  // As kFast with one step for a whole token: what int8 weights of LLM.int8() and of compressed-tensors ask for.
  kToken,
};
constexpr int64_t kFewTokens = 8;  // up to here kernels are bound by memory and decode, above by arithmetic

// One part of a matrix: a layout with pointers into memory that somebody else owns.
struct MatrixPart {
  MatrixLayout layout;
  std::vector<int32_t> outputs;   // row of y for each row of the part, -1: none; empty: the part's rows are y's
  std::optional<DenseRows> left;  // rows of the left low-rank factor, those of the part
};

class KernelInput;

class KernelMatrix {
 public:
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  // Pieces that multiply() can be split into, in order.
  int64_t units() const;
  // Bytes of weights that a product with one token reads.
  int64_t bytes() const;
  // What it became and why: "int4 group 128", "dense bf16 (62 % zeros would not pay as bitmap)".
  const std::string& description() const { return description_; }

  std::span<const MatrixPart> parts() const { return parts_; }
  int64_t rank() const { return rank_; }

 private:
  friend class MatrixBuilder;
  friend class KernelInput;
  int64_t rows_ = 0, columns_ = 0, rank_ = 0;
  std::vector<MatrixPart> parts_;
  std::vector<std::unique_ptr<Buffer>> memory_;
  std::unique_ptr<KernelMatrix> right_;  // the right low-rank factor [rank, C]
  std::string description_;
};

// Floating-point weights where they lie, row by row: nothing is copied, `values` (in a mapped file, say, of any
// alignment) must outlive the matrix. type: kF32, kF16 or kBF16; row_stride in elements, 0 for `columns`.
KernelMatrix view_dense(const void* values, DType type, int64_t rows, int64_t columns, int64_t row_stride = 0);

// Writes the values of one row; called once or twice for each row, from several threads.
using ReadFloats = std::function<void(int64_t row, float* values)>;
// A copy in `type`, rounded to nearest even.
KernelMatrix pack_dense(const ReadFloats& read, DType type, int64_t rows, int64_t columns);
// Stores what is not zero, in `type` (kF32, kBF16; kF16 becomes dense), as bitmap or, where few are left, as steps from
// column to column; dense where neither pays. The description says which.
KernelMatrix pack_sparse(const ReadFloats& read, DType type, int64_t rows, int64_t columns);

// Integers in groups: w[r, c] = scale * (code - zero), or scale * code + minimum.
struct IntegerRow {
  uint8_t* codes;    // [C], 0 to 2^bits - 1; int8 weights: code + 128
  float* scales;     // [G]
  uint8_t* zeros;    // [G], preset to 2^(bits-1)
  float* minima;     // [G], read where has_minima, instead of the zeros
  uint8_t* is_kept;  // [C], read where has_mask: 0 for a weight that is exactly zero whatever its code; preset to 1
};
struct IntegerSource {
  int64_t rows = 0, columns = 0;
  int64_t bits = 4;        // 2 to 8; 7 is stored as 8
  int64_t group_size = 0;  // columns of one scale, 0: the whole row; G = ceil(C / group_size)
  bool has_minima = false, has_mask = false;
  std::span<const int32_t> group_index;  // [C], group of each column where groups are not consecutive; or empty
  std::function<void(int64_t row, IntegerRow&)> read;  // called once or twice for each row, from several threads
};
// Scales and minima are kept in the narrowest of bf16, f16, 8-bit multiples of an f16 for 256 columns (as GGUF's K
// types have them) and f32 that holds all of them exactly. With a mask (not with minima) 4 and 8 bits become a bitmap
// where that pays.
KernelMatrix pack_integers(const IntegerSource& source);

// Groups of consecutive columns that are kept or dropped row by row: w = scale * (code - zero), or 0.
struct GroupSparseRow {
  uint8_t* is_kept;  // [G], preset to 0
  uint8_t* codes;    // [C]; those of kept groups count
  float* scales;     // [G]
  uint8_t* zeros;    // [G], preset to 2^(bits-1)
};
struct GroupSparseSource {
  int64_t rows = 0, columns = 0;
  int64_t bits = 4, group_size = 16;                       // 2 to 8 bits, stored as 4 or 8; G = ceil(C / group_size)
  std::function<void(int64_t row, GroupSparseRow&)> read;  // called once for each row, from several threads
};
KernelMatrix pack_group_sparse(const GroupSparseSource& source);

// Rows of several matrices as one: rows_of[p][i] is the row of the whole that row i of parts[p] is; every row of the
// whole is named once. For rows of 4 beside rows of 8 bits, for instance.
KernelMatrix join_rows(std::vector<KernelMatrix> parts, const std::vector<std::vector<int32_t>>& rows_of);
// w + left right, copied in `type`: `left` writes row r of [R, rank], `right` row k of [rank, C]. Inputs stay float32
// here. After join_rows, not before; once.
KernelMatrix add_low_rank(KernelMatrix matrix, int64_t rank, const ReadFloats& left, const ReadFloats& right,
                          DType type);

struct FillRange;

// Inputs of one product, prepared for a matrix. Memory grows and is kept.
class KernelInput {
 public:
  // Allocates; call before fill().
  void reserve(const KernelMatrix& matrix, int64_t tokens, InputRounding rounding);
  // Tokens [begin, end) of x [T, C], rows x_stride floats apart. Different tokens may be filled from different threads.
  // Inputs must be finite.
  void fill(const KernelMatrix& matrix, const float* x, int64_t x_stride, int64_t begin, int64_t end);
  int64_t tokens() const { return tokens_; }
  int64_t bytes() const;

  // For kernels: the inputs of each part, and those of the left low-rank factor.
  std::span<const PreparedInput> prepared() const { return prepared_; }
  const PreparedInput& prepared_left() const { return left_; }

 private:
  void reserve_low_rank(const KernelMatrix& matrix, int64_t tokens);
  void fill_low_rank(const KernelMatrix& matrix, const FillRange& range);
  int64_t tokens_ = 0;
  InputRounding rounding_ = InputRounding::kFine;
  std::vector<PreparedInput> prepared_;  // one for each part
  std::vector<Buffer> memory_;
  std::unique_ptr<KernelInput> right_;  // for the right low-rank factor
  PreparedInput left_;                  // for the left one: right x
  Buffer left_memory_, ranks_;          // ranks_: right x as floats [T, rank]
};

// Whether an input prepared for `a` can be used with `b`: one fill for query, key and value, for instance.
bool same_input(const KernelMatrix& a, const KernelMatrix& b);

// Writes y[t, r] for the rows of units [first, last) and all tokens of the input; rows of y are y_stride floats apart.
void multiply(const KernelMatrix& matrix, const KernelInput& input, int64_t first, int64_t last, float* y,
              int64_t y_stride);

}  // namespace ockham
