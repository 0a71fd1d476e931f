// The elementwise half of a training step on the CPU, forward and backward, on raw pointers. Rows are tokens; every
// width is a multiple of 16. T is float or uint16_t (bf16). Nothing here allocates; each function says what it adds to.
#pragma once

#include <cstdint>

namespace ockham {

// sum = x + y (y may be null: sum is not written), out = sum * rsqrt(mean(sum^2) + eps) * weight, scale[row] = the
// rsqrt.
void add_norm(const float* x, const float* y, float* sum, const float* weight, float* out, float* scale, int64_t rows,
              int64_t width, float eps);
void add_norm(const float* x, const uint16_t* y, float* sum, const float* weight, uint16_t* out, float* scale,
              int64_t rows, int64_t width, float eps);
// grad_x += the gradient through the norm; copy = grad_x in T (null: not wanted); grad_weight +=.
void norm_backward(const float* x, const float* weight, const float* scale, const float* grad_out, float* grad_x,
                   float* copy, float* grad_weight, int64_t rows, int64_t width);
void norm_backward(const float* x, const float* weight, const float* scale, const uint16_t* grad_out, float* grad_x,
                   uint16_t* copy, float* grad_weight, int64_t rows, int64_t width);

// In place on the first `heads` heads of each row of `stride` elements; cos and sin [positions, head_dim / 2];
// direction -1 undoes the rotation (the backward pass). head_dim is a multiple of 32.
void rotate_heads(float* data, const int32_t* positions, const float* cos, const float* sin, int64_t rows,
                  int64_t stride, int64_t heads, int64_t head_dim, float direction);
void rotate_heads(uint16_t* data, const int32_t* positions, const float* cos, const float* sin, int64_t rows,
                  int64_t stride, int64_t heads, int64_t head_dim, float direction);

// gate_up [rows, 2 * width] -> out [rows, width] = silu(gate) * up; and back.
void swiglu(const float* gate_up, float* out, int64_t rows, int64_t width);
void swiglu(const uint16_t* gate_up, uint16_t* out, int64_t rows, int64_t width);
void swiglu_backward(const float* gate_up, const float* grad_out, float* grad_gate_up, int64_t rows, int64_t width);
void swiglu_backward(const uint16_t* gate_up, const uint16_t* grad_out, uint16_t* grad_gate_up, int64_t rows,
                     int64_t width);

// Sum over rows of -weight * log softmax(logits)[target], in nats; rows with target < 0 count nothing. With scale != 0
// the logits are replaced by their gradient times `scale`.
double cross_entropy(float* logits, const int32_t* targets, const float* weights, int64_t rows, int64_t width,
                     float scale);
double cross_entropy(uint16_t* logits, const int32_t* targets, const float* weights, int64_t rows, int64_t width,
                     float scale);

// to += from; to = from in T.
void accumulate(const float* from, float* to, int64_t n);
void accumulate(const uint16_t* from, float* to, int64_t n);
void cast_values(const float* from, float* to, int64_t n);
void cast_values(const float* from, uint16_t* to, int64_t n);
double sum_of_squares(const float* values, int64_t n);

struct AdamStep {
  float rate = 0, beta1 = 0, beta2 = 0, epsilon = 0;
  float decay = 0;                         // decoupled weight decay (Loshchilov, Hutter 2019)
  float correction1 = 1, correction2 = 1;  // 1 / (1 - beta^t)
  float gradient_scale = 1;                // of clipping
};
// One AdamW step on n values; n need not be a multiple of 16.
void adam_step(float* value, float* first, float* second, const float* gradient, int64_t n, const AdamStep& step);

}  // namespace ockham
