// Rounding of rows to 8-bit integers.
#include "ockham/methods/quantization/int8.h"

#include "ockham/methods/quantization/grid.h"
#include "ockham/tensor/ops.h"

namespace ockham {

Int8Weight round_to_int8(const Tensor& weights, at::ScalarType scale_type) {
  Tensor scales = weights.abs().amax(1) / 127;
  scales = scales.masked_fill(scales == 0, 1);
  // A subnormal float16 scale would have lost digits.
  const bool is_small = scales.min().item<double>() < kSmallestHalf || scales.max().item<double>() > 65504;
  Int8Weight result;
  result.scales = scales.to(scale_type == at::kHalf && is_small ? at::kFloat : scale_type);
  const Tensor codes = at::round(weights / result.scales.to(at::kFloat).unsqueeze(1));
  result.codes = codes.clamp(-127, 127).to(at::kChar);
  return result;
}

}  // namespace ockham
