// Row-wise operations of a decoder in one pass over memory, for inference on the CPU in bf16 and float32. ATen's own
// take three to ten passes each, which costs as much as the matrix products of a block. Nothing here records gradients.
#pragma once

#include "ockham/tensor/tensor.h"

namespace ockham {

// True where the functions below may be used on such a tensor: CPU, bf16 or float32, no gradients being recorded.
bool can_fuse(const Tensor& tensor);

// x [..., n] contiguous: (x * rsqrt(mean(x^2) + eps)) rounded to x's type, times weight [n].
Tensor fused_rms_norm(const Tensor& x, const Tensor& weight, double eps);
// Rotates x [B, heads, T, D] in place; the last dimension is dense. cos, sin [T, D] or [B, T, D] in x's type.
void fused_rope(Tensor& x, const Tensor& cos, const Tensor& sin);
// gate = silu(gate) * up, in place; both contiguous.
void fused_silu_multiply(Tensor& gate, const Tensor& up);
// Sums of squares of the columns of x [T, C] contiguous, in float32 per part of the rows and float64 over the parts:
// [C].
Tensor fused_column_squares(const Tensor& x);

}  // namespace ockham
