// Scaled dot-product attention for inference on the CPU. ATen's own hands every block of scores to a BLAS library,
// which lays both operands out anew each time; with heads of 32 to 128 numbers that costs more than the products.
#pragma once

#include "ockham/tensor/simd.h"
#include "ockham/tensor/tensor.h"

namespace ockham {

// True where fused_attention takes q [B, H, T, D], k [B, G, S, D] and mask (bool, or none) and is the faster way:
// float32 on a CPU with AVX2, D a multiple of 16 up to 256, four queries or more for each head of keys, no gradients
// being recorded. (With bf16 instructions ATen's own is faster from heads of 64 on.)
bool suits_fused_attention(const Tensor& q, const Tensor& k, const Tensor& mask);

// softmax(q k^T * scale + mask) v for q [B, H, T, D] and k, v [B, G, S, D], where H is a multiple of G and head h reads
// keys h / (H / G): [B, T, H * D]. `mask`, bool [B or 1, 1, T, S], marks the keys that each query sees, at least one;
// values of the others must be numbers, for they are multiplied by 0. Where it is undefined and `is_causal`, S is T and
// query t sees the keys up to t. Sums are float32; keys are visited in blocks under a running maximum (Milakov and
// Gimelshein 2018); a query's result does not depend on the other queries.
// `simd`: the instructions to use, at most what the processor has.
Tensor fused_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, bool is_causal,
                       double scale, Simd simd = best_simd());

}  // namespace ockham
