// Causal attention over packed documents: the portable loops, and the choice between them and AMX tiles.
#include "ockham/train/attention.h"

#include <algorithm>
#include <array>
#include <atomic>

#include "ockham/core/parallel.h"
#include "ockham/tensor/ops.h"
#include "ockham/train/lanes.h"

namespace ockham {
namespace {

std::atomic<bool> g_amx_enabled{true};

template <typename T>
OCKHAM_INLINE float dot(const T* a, const T* b, int64_t n) {
  Lanes total = {};
  for (int64_t i = 0; i < n; i += kLanes) total += load_lanes(a + i) * load_lanes(b + i);
  return sum_lanes(total);
}
// to += factor * from
template <typename T>
OCKHAM_INLINE void add_scaled(float* to, const T* from, float factor, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) store_lanes(to + i, load_lanes(to + i) + load_lanes(from + i) * factor);
}

// One document and one key-value head with the query heads that share it. `scratch` holds length + head_dim floats.
template <typename T>
OCKHAM_INLINE void forward_body(const AttentionShape& shape, const Segment& segment, int64_t kv_head, const T* qkv,
                                T* out, float* log_sums, float* scratch) {
  const int64_t d = shape.head_dim, stride = shape.stride(), group = shape.heads / shape.kv_heads;
  const T* keys = qkv + segment.begin * stride + (shape.heads + kv_head) * d;
  const T* values = keys + shape.kv_heads * d;
  float* scores = scratch + d;
  for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (int64_t q = 0; q < segment.length; ++q) {
      const int64_t row = segment.begin + q;
      float top = -INFINITY;
      for (int64_t k = 0; k <= q; ++k) {
        scores[k] = dot(qkv + row * stride + head * d, keys + k * stride, d) * shape.scale;
        top = scores[k] > top ? scores[k] : top;
      }
      for (int64_t i = 0; i < d; ++i) scratch[i] = 0;
      float sum = 0;
      for (int64_t k = 0; k <= q; ++k) {
        const float p = std::exp(scores[k] - top);
        sum += p;
        add_scaled(scratch, values + k * stride, p, d);
      }
      log_sums[head * shape.rows + row] = top + std::log(sum);
      for (int64_t i = 0; i < d; i += kLanes) {
        store_lanes(out + row * shape.width() + head * d + i, load_lanes(scratch + i) * (1.0f / sum));
      }
    }
  }
}

// scratch: (2 * length + 1) * head_dim floats, zero.
template <typename T>
OCKHAM_INLINE void backward_body(const AttentionShape& shape, const Segment& segment, int64_t kv_head, const T* qkv,
                                 const T* out, const float* log_sums, const T* grad_out, T* grad_qkv, float* scratch) {
  const int64_t d = shape.head_dim, stride = shape.stride(), group = shape.heads / shape.kv_heads;
  const T* keys = qkv + segment.begin * stride + (shape.heads + kv_head) * d;
  const T* values = keys + shape.kv_heads * d;
  float* grad_query = scratch;
  float* grad_keys = scratch + d;
  float* grad_values = grad_keys + segment.length * d;
  for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (int64_t q = 0; q < segment.length; ++q) {
      const int64_t row = segment.begin + q;
      const T* query = qkv + row * stride + head * d;
      const T* grad = grad_out + row * shape.width() + head * d;
      const float delta = dot(grad, out + row * shape.width() + head * d, d);
      const float log_sum = log_sums[head * shape.rows + row];
      for (int64_t i = 0; i < d; ++i) grad_query[i] = 0;
      for (int64_t k = 0; k <= q; ++k) {
        const float p = std::exp(dot(query, keys + k * stride, d) * shape.scale - log_sum);
        const float ds = p * (dot(grad, values + k * stride, d) - delta) * shape.scale;
        add_scaled(grad_values + k * d, grad, p, d);
        add_scaled(grad_keys + k * d, query, ds, d);
        add_scaled(grad_query, keys + k * stride, ds, d);
      }
      for (int64_t i = 0; i < d; i += kLanes) {
        store_lanes(grad_qkv + row * stride + head * d + i, load_lanes(grad_query + i));
      }
    }
  }
  for (int64_t k = 0; k < segment.length; ++k) {
    T* to = grad_qkv + (segment.begin + k) * stride + (shape.heads + kv_head) * d;
    for (int64_t i = 0; i < d; i += kLanes) {
      store_lanes(to + i, load_lanes(grad_keys + k * d + i));
      store_lanes(to + shape.kv_heads * d + i, load_lanes(grad_values + k * d + i));
    }
  }
}

// Scores of `rows` queries, the first of them at position `first`, in place: probabilities, 0 beyond the diagonal.
OCKHAM_CLONES void softmax_rows(float* scores, int64_t rows, int64_t first, float scale, float* log_sums) {
  const int64_t stride = first + rows;
  for (int64_t r = 0; r < rows; ++r, scores += stride) {
    const int64_t count = first + r + 1;
    float top = scores[0];
    for (int64_t k = 1; k < count; ++k) top = scores[k] > top ? scores[k] : top;
    int64_t k = 0;
    Lanes total = {};
    for (; k + kLanes <= count; k += kLanes) {
      const Lanes p = exp_lanes((load_lanes(scores + k) - top) * scale);
      total += p;
      store_lanes(scores + k, p);
    }
    float sum = sum_lanes(total);
    for (; k < count; ++k) sum += scores[k] = std::exp((scores[k] - top) * scale);
    for (int64_t i = 0; i < count; ++i) scores[i] /= sum;
    for (int64_t i = count; i < stride; ++i) scores[i] = 0;
    log_sums[r] = top * scale + std::log(sum);
  }
}

// scores -> probabilities, as above with known log-sums; grads of probabilities -> grads of scores.
OCKHAM_CLONES void softmax_backward_rows(float* scores, float* grads, int64_t rows, int64_t first, float scale,
                                         const float* log_sums, const float* deltas) {
  const int64_t stride = first + rows;
  for (int64_t r = 0; r < rows; ++r, scores += stride, grads += stride) {
    const int64_t count = first + r + 1;
    int64_t k = 0;
    for (; k + kLanes <= count; k += kLanes) {
      const Lanes p = exp_lanes(load_lanes(scores + k) * scale - log_sums[r]);
      store_lanes(grads + k, p * (load_lanes(grads + k) - deltas[r]) * scale);
      store_lanes(scores + k, p);
    }
    for (; k < count; ++k) {
      scores[k] = std::exp(scores[k] * scale - log_sums[r]);
      grads[k] = scores[k] * (grads[k] - deltas[r]) * scale;
    }
    for (; k < stride; ++k) scores[k] = grads[k] = 0;
  }
}

constexpr int64_t kQueryBlock = 64;

at::Tensor rows_of(const float* data, int64_t rows, int64_t columns, int64_t stride) {
  return at::from_blob(const_cast<float*>(data), {rows, columns}, {stride, 1}, at::TensorOptions().dtype(at::kFloat));
}

// In float32: matrix products over blocks of queries, which libtorch does faster than loops over pairs.
void forward_loops(const AttentionShape& shape, const Segment& segment, int64_t kv_head, const float* qkv, float* out,
                   float* log_sums, float* scratch) {
  const int64_t d = shape.head_dim, stride = shape.stride(), group = shape.heads / shape.kv_heads;
  const float* keys = qkv + segment.begin * stride + (shape.heads + kv_head) * d;
  for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (int64_t first = 0; first < segment.length; first += kQueryBlock) {
      const int64_t rows = std::min(kQueryBlock, segment.length - first), count = first + rows;
      const int64_t row = segment.begin + first;
      at::Tensor scores = rows_of(scratch, rows, count, count);
      at::mm_out(scores, rows_of(qkv + row * stride + head * d, rows, d, stride), rows_of(keys, count, d, stride).t());
      softmax_rows(scratch, rows, first, shape.scale, log_sums + head * shape.rows + row);
      at::Tensor result = rows_of(out + row * shape.width() + head * d, rows, d, shape.width());
      at::mm_out(result, scores, rows_of(keys + shape.kv_heads * d, count, d, stride));
    }
  }
}
void backward_loops(const AttentionShape& shape, const Segment& segment, int64_t kv_head, const float* qkv,
                    const float* out, const float* log_sums, const float* grad_out, float* grad_qkv, float* scratch) {
  const int64_t d = shape.head_dim, stride = shape.stride(), group = shape.heads / shape.kv_heads;
  const int64_t key_at = segment.begin * stride + (shape.heads + kv_head) * d, value_at = key_at + shape.kv_heads * d;
  float* grads = scratch + kQueryBlock * segment.length;
  rows_of(grad_qkv + key_at, segment.length, d, stride).zero_();
  rows_of(grad_qkv + value_at, segment.length, d, stride).zero_();
  std::array<float, kQueryBlock> deltas{};
  for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (int64_t first = 0; first < segment.length; first += kQueryBlock) {
      const int64_t rows = std::min(kQueryBlock, segment.length - first), count = first + rows;
      const int64_t row = segment.begin + first, width = shape.width();
      const float* grad = grad_out + row * width + head * d;
      for (int64_t r = 0; r < rows; ++r) {
        deltas[static_cast<size_t>(r)] = dot(grad + r * width, out + (row + r) * width + head * d, d);
      }
      const at::Tensor query = rows_of(qkv + row * stride + head * d, rows, d, stride);
      const at::Tensor key = rows_of(qkv + key_at, count, d, stride), upper = rows_of(grad, rows, d, width);
      at::Tensor scores = rows_of(scratch, rows, count, count), slopes = rows_of(grads, rows, count, count);
      at::mm_out(scores, query, key.t());
      at::mm_out(slopes, upper, rows_of(qkv + value_at, count, d, stride).t());
      softmax_backward_rows(scratch, grads, rows, first, shape.scale, log_sums + head * shape.rows + row,
                            deltas.data());
      rows_of(grad_qkv + value_at, count, d, stride).addmm_(scores.t(), upper);
      rows_of(grad_qkv + key_at, count, d, stride).addmm_(slopes.t(), query);
      at::Tensor result = rows_of(grad_qkv + row * stride + head * d, rows, d, stride);
      at::mm_out(result, slopes, key);
    }
  }
}
OCKHAM_CLONES void forward_loops(const AttentionShape& shape, const Segment& segment, int64_t kv_head,
                                 const uint16_t* qkv, uint16_t* out, float* log_sums, float* scratch) {
  forward_body(shape, segment, kv_head, qkv, out, log_sums, scratch);
}
OCKHAM_CLONES void backward_loops(const AttentionShape& shape, const Segment& segment, int64_t kv_head,
                                  const uint16_t* qkv, const uint16_t* out, const float* log_sums,
                                  const uint16_t* grad_out, uint16_t* grad_qkv, float* scratch) {
  backward_body(shape, segment, kv_head, qkv, out, log_sums, grad_out, grad_qkv, scratch);
}

bool use_amx(const AttentionShape& shape, const uint16_t*) {
  return g_amx_enabled && shape.head_dim == 32 && amx_available();
}
bool use_amx(const AttentionShape&, const float*) {
  return false;
}
// Never called: tiles multiply bf16 only.
void attention_forward_amx(const AttentionShape&, const Segment&, int64_t, const float*, float*, float*) {}
void attention_backward_amx(const AttentionShape&, const Segment&, int64_t, const float*, const float*, const float*,
                            const float*, float*) {}

template <typename T>
void forward_all(const AttentionShape& shape, const std::vector<Segment>& segments, const T* qkv, T* out,
                 float* log_sums) {
  const bool amx = use_amx(shape, qkv);
  const auto jobs = static_cast<int64_t>(segments.size()) * shape.kv_heads;
  parallel_for(jobs, 4, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch;
    for (int64_t job = begin; job < end; ++job) {
      const Segment& segment = segments[static_cast<size_t>(job / shape.kv_heads)];
      const int64_t kv_head = job % shape.kv_heads;
      if (amx) {
        attention_forward_amx(shape, segment, kv_head, qkv, out, log_sums);
        continue;
      }
      scratch.resize(static_cast<size_t>((kQueryBlock + 1) * segment.length + shape.head_dim));
      forward_loops(shape, segment, kv_head, qkv, out, log_sums, scratch.data());
    }
  });
}

template <typename T>
void backward_all(const AttentionShape& shape, const std::vector<Segment>& segments, const T* qkv, const T* out,
                  const float* log_sums, const T* grad_out, T* grad_qkv) {
  const bool amx = use_amx(shape, qkv);
  const auto jobs = static_cast<int64_t>(segments.size()) * shape.kv_heads;
  parallel_for(jobs, 4, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch;
    for (int64_t job = begin; job < end; ++job) {
      const Segment& segment = segments[static_cast<size_t>(job / shape.kv_heads)];
      const int64_t kv_head = job % shape.kv_heads;
      if (amx) {
        attention_backward_amx(shape, segment, kv_head, qkv, out, log_sums, grad_out, grad_qkv);
        continue;
      }
      const int64_t size = std::max(2 * kQueryBlock * segment.length, (2 * segment.length + 1) * shape.head_dim);
      scratch.assign(static_cast<size_t>(size), 0.0f);
      backward_loops(shape, segment, kv_head, qkv, out, log_sums, grad_out, grad_qkv, scratch.data());
    }
  });
}

}  // namespace

void set_amx_enabled(bool enabled) {
  g_amx_enabled = enabled;
}

void attention_forward(const AttentionShape& shape, const std::vector<Segment>& segments, const float* qkv, float* out,
                       float* log_sums) {
  forward_all(shape, segments, qkv, out, log_sums);
}
void attention_forward(const AttentionShape& shape, const std::vector<Segment>& segments, const uint16_t* qkv,
                       uint16_t* out, float* log_sums) {
  forward_all(shape, segments, qkv, out, log_sums);
}
void attention_backward(const AttentionShape& shape, const std::vector<Segment>& segments, const float* qkv,
                        const float* out, const float* log_sums, const float* grad_out, float* grad_qkv) {
  backward_all(shape, segments, qkv, out, log_sums, grad_out, grad_qkv);
}
void attention_backward(const AttentionShape& shape, const std::vector<Segment>& segments, const uint16_t* qkv,
                        const uint16_t* out, const float* log_sums, const uint16_t* grad_out, uint16_t* grad_qkv) {
  backward_all(shape, segments, qkv, out, log_sums, grad_out, grad_qkv);
}

}  // namespace ockham
