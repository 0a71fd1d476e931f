// Linears that other tools compressed (ockham/io/formats/foreign_layout.h) as rows for the kernels: integers keep their
// codes, bitmasks their zeros, 8-bit floats become `float8_type`. Private to runtime.
#pragma once

#include <functional>
#include <string>

#include "ockham/io/formats/foreign_layout.h"
#include "ockham/runtime/readers/matrix_rows.h"

namespace ockham {

// A tensor as it is stored; the layout's check has seen it.
using LoadStored = std::function<StoredTensor(const std::string& name)>;

struct ForeignSource {
  std::string name;  // of the linear
  const ForeignLinear& linear;
  LoadStored load;
  DType float8_type = DType::kBF16;
};
// Error(kInput) names the tensor whose contents do not fit. `used_zeros` gets what GPTQ's zero points turned out to be.
MatrixRows foreign_rows(const ForeignSource& source, GptqZeros& used_zeros);

}  // namespace ockham
