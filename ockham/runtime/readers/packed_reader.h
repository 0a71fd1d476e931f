// Linears in Ockham's container (ockham/io/formats/packed_records.h) as rows for the kernels. Private to runtime and
// search.
//   bitmap-sparse            sparse
//   group-int, int8          integers; masks and orders of columns are kept
//   nested-int               integers with minima; with a mask as sparse float32
//   group-sparse             groups that are kept
//   float8                   floating point in `float8_type`, rounded where it does not hold the product with the scale
//   low-rank                 its base, or zeros, and the factors
#pragma once

#include <functional>

#include "ockham/io/formats/packed_records.h"
#include "ockham/runtime/model_files.h"
#include "ockham/runtime/readers/matrix_rows.h"

namespace ockham {

// A part of the record, its shape and type checked.
using FindPart = std::function<StoredTensor(const PackedPart&)>;

// Error(kInput) names the record and the part that does not fit the rest.
MatrixRows packed_rows(const PackedRecord& record, const FindPart& find, DType float8_type);
InputRule packed_input_rule(const PackedRecord& record, const FindPart& find);

}  // namespace ockham
