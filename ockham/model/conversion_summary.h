// What a conversion did to the linears.
#pragma once

#include <cstdint>
#include <string>

#include "ockham/tensor/tensor.h"

namespace ockham {

struct ConversionSummary {
  int64_t exact = 0;       // linears whose values are the same
  int64_t rescaled = 0;    // codes kept, scales rounded to a shorter type
  int64_t rounded = 0;     // values rounded (again, where they had been rounded before)
  int64_t dense = 0;       // left in a plain type, since their shape does not fit the layout
  double worst_error = 0;  // relative Frobenius norm against the source
  std::string worst_linear;

  // Counts one linear; both float32 of one shape.
  void account(const std::string& linear, const Tensor& source, const Tensor& written, bool keeps_codes);
};

}  // namespace ockham
