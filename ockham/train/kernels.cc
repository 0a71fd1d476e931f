// Elementwise kernels of a training step; see kernels.h. Each public function is compiled for three instruction sets
// and chosen when the program starts.
#include "ockham/train/kernels.h"

#include "ockham/train/lanes.h"

namespace ockham {
namespace {

template <typename T>
OCKHAM_INLINE void add_norm_body(const float* x, const T* y, float* sum, const float* weight, T* out, float* scale,
                                 int64_t rows, int64_t width, float eps) {
  for (int64_t row = 0; row < rows; ++row, x += width, out += width) {
    Lanes squares = {};
    const float* source = x;
    if (y) {
      for (int64_t i = 0; i < width; i += kLanes) {
        const Lanes v = load_lanes(x + i) + load_lanes(y + i);
        store_lanes(sum + i, v);
        squares += v * v;
      }
      source = sum;
      y += width;
      sum += width;
    } else {
      for (int64_t i = 0; i < width; i += kLanes) {
        const Lanes v = load_lanes(x + i);
        squares += v * v;
      }
    }
    const float r = 1.0f / std::sqrt(sum_lanes(squares) / static_cast<float>(width) + eps);
    scale[row] = r;
    for (int64_t i = 0; i < width; i += kLanes)
      store_lanes(out + i, load_lanes(source + i) * r * load_lanes(weight + i));
  }
}

template <typename T>
OCKHAM_INLINE void norm_backward_body(const float* x, const float* weight, const float* scale, const T* grad_out,
                                      float* grad_x, T* copy, float* grad_weight, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row, x += width, grad_out += width, grad_x += width) {
    const float r = scale[row];
    Lanes dot = {};
    for (int64_t i = 0; i < width; i += kLanes) {
      const Lanes g = load_lanes(grad_out + i), normed = load_lanes(x + i) * r;
      dot += g * load_lanes(weight + i) * normed;
      store_lanes(grad_weight + i, load_lanes(grad_weight + i) + g * normed);
    }
    const float mean = sum_lanes(dot) / static_cast<float>(width);
    for (int64_t i = 0; i < width; i += kLanes) {
      const Lanes normed = load_lanes(x + i) * r;
      const Lanes g = load_lanes(grad_x + i) + r * (load_lanes(grad_out + i) * load_lanes(weight + i) - normed * mean);
      store_lanes(grad_x + i, g);
      if (copy) store_lanes(copy + i, g);
    }
    if (copy) copy += width;
  }
}

template <typename T>
OCKHAM_INLINE void rotate_body(T* data, const int32_t* positions, const float* cos, const float* sin, int64_t rows,
                               int64_t stride, int64_t heads, int64_t head_dim, float direction) {
  const int64_t half = head_dim / 2;
  for (int64_t row = 0; row < rows; ++row, data += stride) {
    const float* c = cos + positions[row] * half;
    const float* s = sin + positions[row] * half;
    for (int64_t i = 0; i < half; i += kLanes) {
      const Lanes co = load_lanes(c + i), si = load_lanes(s + i) * direction;
      for (int64_t head = 0; head < heads; ++head) {
        T* low = data + head * head_dim + i;
        const Lanes a = load_lanes(low), b = load_lanes(low + half);
        store_lanes(low, a * co - b * si);
        store_lanes(low + half, b * co + a * si);
      }
    }
  }
}

OCKHAM_INLINE Lanes sigmoid(const Lanes& x) {
  // e^-x would overflow beyond 88.
  return 1.0f / (1.0f + exp_lanes(-x < 87.0f ? -x : spread(87.0f)));
}

template <typename T>
OCKHAM_INLINE void swiglu_body(const T* gate_up, T* out, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row, gate_up += 2 * width, out += width) {
    for (int64_t i = 0; i < width; i += kLanes) {
      const Lanes g = load_lanes(gate_up + i);
      store_lanes(out + i, g * sigmoid(g) * load_lanes(gate_up + width + i));
    }
  }
}

template <typename T>
OCKHAM_INLINE void swiglu_backward_body(const T* gate_up, const T* grad_out, T* grad, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row, gate_up += 2 * width, grad += 2 * width, grad_out += width) {
    for (int64_t i = 0; i < width; i += kLanes) {
      const Lanes g = load_lanes(gate_up + i), up = load_lanes(gate_up + width + i), d = load_lanes(grad_out + i);
      const Lanes s = sigmoid(g);
      store_lanes(grad + i, d * up * s * (1.0f + g * (1.0f - s)));
      store_lanes(grad + width + i, d * g * s);
    }
  }
}

template <typename T>
OCKHAM_INLINE double cross_entropy_body(T* logits, const int32_t* targets, const float* weights, int64_t rows,
                                        int64_t width, float scale) {
  double loss = 0;
  for (int64_t row = 0; row < rows; ++row, logits += width) {
    const int32_t target = targets[row];
    if (target < 0) {
      if (scale != 0) std::memset(logits, 0, static_cast<size_t>(width) * sizeof(T));
      continue;
    }
    Lanes highest = load_lanes(logits);
    for (int64_t i = kLanes; i < width; i += kLanes) highest = max_lanes(highest, load_lanes(logits + i));
    float top = highest[0];
    for (int lane = 1; lane < kLanes; ++lane) top = highest[lane] > top ? highest[lane] : top;
    Lanes target_lanes = load_lanes(logits + target / kLanes * kLanes);
    const float target_logit = target_lanes[target % kLanes];
    Lanes total = {};
    for (int64_t i = 0; i < width; i += kLanes) total += exp_lanes(load_lanes(logits + i) - top);
    const float sum = sum_lanes(total);
    loss += weights[row] * (std::log(static_cast<double>(sum)) + top - target_logit);
    if (scale == 0) continue;
    const float share = scale * weights[row], factor = share / sum;
    for (int64_t i = 0; i < width; i += kLanes) {
      Lanes g = exp_lanes(load_lanes(logits + i) - top) * factor;
      if (i == target / kLanes * kLanes) g[target % kLanes] -= share;
      store_lanes(logits + i, g);
    }
  }
  return loss;
}

}  // namespace

OCKHAM_CLONES void add_norm(const float* x, const float* y, float* sum, const float* weight, float* out, float* scale,
                            int64_t rows, int64_t width, float eps) {
  add_norm_body(x, y, sum, weight, out, scale, rows, width, eps);
}
OCKHAM_CLONES void add_norm(const float* x, const uint16_t* y, float* sum, const float* weight, uint16_t* out,
                            float* scale, int64_t rows, int64_t width, float eps) {
  add_norm_body(x, y, sum, weight, out, scale, rows, width, eps);
}
OCKHAM_CLONES void norm_backward(const float* x, const float* weight, const float* scale, const float* grad_out,
                                 float* grad_x, float* copy, float* grad_weight, int64_t rows, int64_t width) {
  norm_backward_body(x, weight, scale, grad_out, grad_x, copy, grad_weight, rows, width);
}
OCKHAM_CLONES void norm_backward(const float* x, const float* weight, const float* scale, const uint16_t* grad_out,
                                 float* grad_x, uint16_t* copy, float* grad_weight, int64_t rows, int64_t width) {
  norm_backward_body(x, weight, scale, grad_out, grad_x, copy, grad_weight, rows, width);
}
OCKHAM_CLONES void rotate_heads(float* data, const int32_t* positions, const float* cos, const float* sin, int64_t rows,
                                int64_t stride, int64_t heads, int64_t head_dim, float direction) {
  rotate_body(data, positions, cos, sin, rows, stride, heads, head_dim, direction);
}
OCKHAM_CLONES void rotate_heads(uint16_t* data, const int32_t* positions, const float* cos, const float* sin,
                                int64_t rows, int64_t stride, int64_t heads, int64_t head_dim, float direction) {
  rotate_body(data, positions, cos, sin, rows, stride, heads, head_dim, direction);
}
OCKHAM_CLONES void swiglu(const float* gate_up, float* out, int64_t rows, int64_t width) {
  swiglu_body(gate_up, out, rows, width);
}
OCKHAM_CLONES void swiglu(const uint16_t* gate_up, uint16_t* out, int64_t rows, int64_t width) {
  swiglu_body(gate_up, out, rows, width);
}
OCKHAM_CLONES void swiglu_backward(const float* gate_up, const float* grad_out, float* grad_gate_up, int64_t rows,
                                   int64_t width) {
  swiglu_backward_body(gate_up, grad_out, grad_gate_up, rows, width);
}
OCKHAM_CLONES void swiglu_backward(const uint16_t* gate_up, const uint16_t* grad_out, uint16_t* grad_gate_up,
                                   int64_t rows, int64_t width) {
  swiglu_backward_body(gate_up, grad_out, grad_gate_up, rows, width);
}
OCKHAM_CLONES double cross_entropy(float* logits, const int32_t* targets, const float* weights, int64_t rows,
                                   int64_t width, float scale) {
  return cross_entropy_body(logits, targets, weights, rows, width, scale);
}
OCKHAM_CLONES double cross_entropy(uint16_t* logits, const int32_t* targets, const float* weights, int64_t rows,
                                   int64_t width, float scale) {
  return cross_entropy_body(logits, targets, weights, rows, width, scale);
}

OCKHAM_CLONES void accumulate(const float* from, float* to, int64_t n) {
  for (int64_t i = 0; i + kLanes <= n; i += kLanes) store_lanes(to + i, load_lanes(to + i) + load_lanes(from + i));
  for (int64_t i = n / kLanes * kLanes; i < n; ++i) to[i] += from[i];
}
OCKHAM_CLONES void accumulate(const uint16_t* from, float* to, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) store_lanes(to + i, load_lanes(to + i) + load_lanes(from + i));
}
OCKHAM_CLONES void cast_values(const float* from, float* to, int64_t n) {
  std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
}
OCKHAM_CLONES void cast_values(const float* from, uint16_t* to, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) store_lanes(to + i, load_lanes(from + i));
}

OCKHAM_CLONES double sum_of_squares(const float* values, int64_t n) {
  double total = 0;
  int64_t i = 0;
  while (i + kLanes <= n) {
    // Short float sums, added up in double: exact enough for millions of values.
    Lanes part = {};
    for (int64_t end = i + 64 * kLanes; i + kLanes <= n && i < end; i += kLanes) {
      part += load_lanes(values + i) * load_lanes(values + i);
    }
    total += sum_lanes(part);
  }
  for (; i < n; ++i) total += static_cast<double>(values[i]) * values[i];
  return total;
}

OCKHAM_CLONES void adam_step(float* value, float* first, float* second, const float* gradient, int64_t n,
                             const AdamStep& s) {
  const float keep = 1.0f - s.rate * s.decay;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Lanes g = load_lanes(gradient + i) * s.gradient_scale;
    const Lanes m = load_lanes(first + i) * s.beta1 + g * (1.0f - s.beta1);
    const Lanes v = load_lanes(second + i) * s.beta2 + g * g * (1.0f - s.beta2);
    store_lanes(first + i, m);
    store_lanes(second + i, v);
    Lanes root = v * s.correction2;
    for (int lane = 0; lane < kLanes; ++lane) root[lane] = __builtin_sqrtf(root[lane]);
    store_lanes(value + i, load_lanes(value + i) * keep - s.rate * (m * s.correction1) / (root + s.epsilon));
  }
  for (; i < n; ++i) {
    const float g = gradient[i] * s.gradient_scale;
    first[i] = first[i] * s.beta1 + g * (1.0f - s.beta1);
    second[i] = second[i] * s.beta2 + g * g * (1.0f - s.beta2);
    value[i] =
        value[i] * keep - s.rate * (first[i] * s.correction1) / (std::sqrt(second[i] * s.correction2) + s.epsilon);
  }
}

}  // namespace ockham
