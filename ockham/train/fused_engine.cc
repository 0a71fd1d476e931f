// Forward and backward pass of a LLaMA decoder written out by hand: matrix products through libtorch, everything
// between them in fused kernels, no autograd graph and no allocation per step. The residual stream and its gradient
// stay in float32; what a matrix product reads is rounded to the compute dtype.
#include <algorithm>
#include <numeric>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/tensor/ops.h"
#include "ockham/train/engine.h"
#include "ockham/train/kernels.h"

namespace ockham {
namespace {

constexpr int64_t kRowChunk = 512;  // rows whose norm gradients are summed together: the same on any number of threads
constexpr int64_t kLogitChunk = 512;  // rows of logits that exist at a time: 2 MB at 2,048 tokens in bf16

// What the backward pass needs of one block.
struct Saved {
  at::Tensor input, middle;  // float32 [rows, H]: the residual stream before attention and before the MLP
  at::Tensor input_scale, middle_scale;
  at::Tensor input_normed, middle_normed, qkv, attended, gate_up, activated;
  at::Tensor log_sums;
};

template <typename T>
class FusedEngine final : public TrainEngine {
 public:
  FusedEngine(const ModelConfig& config, int64_t rows)
      : config_(config), layout_(ParameterLayout::of(config)), rows_(rows) {
    const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
    shape_ = {config.heads, config.kv_heads, config.head_dim, rows,
              1.0f / std::sqrt(static_cast<float>(config.head_dim))};
    const auto wide = at::TensorOptions().dtype(at::kFloat);
    const auto narrow = at::TensorOptions().dtype(std::is_same_v<T, float> ? at::kFloat : at::kBFloat16);
    // Attention reads a few rows past the end of a document.
    const auto zeros = [&](int64_t width, const at::TensorOptions& options) {
      return at::zeros({rows + kAttentionSlack, width}, options).narrow(0, 0, rows);
    };
    master_ = at::zeros({layout_.elements}, wide);
    weights_ = at::zeros({layout_.elements}, narrow);
    saved_.resize(static_cast<size_t>(config.blocks));
    for (Saved& s : saved_) {
      s.input = zeros(hidden, wide);
      s.middle = zeros(hidden, wide);
      s.input_scale = at::zeros({rows}, wide);
      s.middle_scale = at::zeros({rows}, wide);
      s.input_normed = zeros(hidden, narrow);
      s.middle_normed = zeros(hidden, narrow);
      s.qkv = zeros(shape_.stride(), narrow);
      s.attended = zeros(shape_.width(), narrow);
      s.gate_up = zeros(2 * inner, narrow);
      s.activated = zeros(inner, narrow);
      s.log_sums = at::zeros({config.heads, rows}, wide);
    }
    last_ = zeros(hidden, wide);
    last_scale_ = at::zeros({rows}, wide);
    last_normed_ = zeros(hidden, narrow);
    update_ = zeros(hidden, narrow);
    grad_residual_ = zeros(hidden, wide);
    grad_output_ = zeros(hidden, narrow);
    grad_normed_ = zeros(hidden, narrow);
    grad_attended_ = zeros(shape_.width(), narrow);
    grad_qkv_ = zeros(shape_.stride(), narrow);
    grad_gate_up_ = zeros(2 * inner, narrow);
    grad_activated_ = zeros(inner, narrow);
    logits_ = at::zeros({std::min(rows, kLogitChunk), config.vocabulary}, narrow);
    norm_parts_.resize(static_cast<size_t>((rows + kRowChunk - 1) / kRowChunk * hidden));
    fill_rotary();
    at::globalContext().setFlushDenormal(true);  // of this thread: tiny gradients are a hundred times slower than zero
  }

  void load_weights(const float* values) override {
    std::copy(values, values + layout_.elements, master_.mutable_data_ptr<float>());
    cast_values(values, data(weights_), layout_.elements);
  }

  double add_gradients(std::span<const PackedBatch> batches, float scale, float* gradients) override {
    double loss = 0;
    for (const PackedBatch& batch : batches) {
      forward(batch);
      loss += head(batch, scale, gradients);
      backward(batch, gradients);
    }
    return loss;
  }

  double loss(const PackedBatch& batch) override {
    forward(batch);
    return head(batch, 0, nullptr);
  }

 private:
  static T* data(const at::Tensor& tensor) { return static_cast<T*>(tensor.data_ptr()); }
  static float* floats(const at::Tensor& tensor) { return tensor.data_ptr<float>(); }
  // `spans` neighbouring matrices, seen as one [sum of rows, columns].
  at::Tensor matrix(const std::string& first, int64_t rows) const {
    const ParameterSpan& span = layout_.find(first);
    return weights_.narrow(0, span.offset, rows * span.columns).view({rows, span.columns});
  }
  const float* vector(const std::string& name) const { return floats(master_) + layout_.find(name).offset; }
  static std::string key(int64_t block, const char* name) {
    return fmt::format("model.layers.{}.{}.weight", block, name);
  }
  const std::string& head_name() const {
    return config_.tied_embeddings ? layout_.spans.front().name : layout_.spans.back().name;
  }

  void fill_rotary() {
    const std::vector<double> frequencies = rope_frequencies(config_.rope, config_.head_dim);
    const int64_t half = config_.head_dim / 2, positions = std::max(config_.context_length, rows_);
    cos_.resize(static_cast<size_t>(positions * half));
    sin_.resize(cos_.size());
    for (int64_t position = 0; position < positions; ++position) {
      for (int64_t i = 0; i < half; ++i) {
        const double angle = static_cast<double>(position) * frequencies[static_cast<size_t>(i)];
        cos_[static_cast<size_t>(position * half + i)] = static_cast<float>(std::cos(angle));
        sin_[static_cast<size_t>(position * half + i)] = static_cast<float>(std::sin(angle));
      }
    }
  }

  template <typename Body>
  void for_rows(const Body& body) const {
    const int64_t chunks = (rows_ + kRowChunk - 1) / kRowChunk;
    parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t chunk = begin; chunk < end; ++chunk) {
        body(chunk, chunk * kRowChunk, std::min(rows_, (chunk + 1) * kRowChunk));
      }
    });
  }

  // sum = x + y (y undefined: x), normed = norm(sum).
  void norm(const at::Tensor& x, const at::Tensor& y, const at::Tensor& sum, const std::string& weight,
            const at::Tensor& normed, const at::Tensor& scale) {
    const int64_t width = config_.hidden_size;
    for_rows([&](int64_t, int64_t begin, int64_t end) {
      const int64_t at = begin * width;
      add_norm(floats(x) + at, y.defined() ? data(y) + at : nullptr, y.defined() ? floats(sum) + at : nullptr,
               vector(weight), data(normed) + at, floats(scale) + begin, end - begin, width,
               static_cast<float>(config_.norm_eps));
    });
  }
  // grad_residual_ += through the norm of x; grad_output_ = its copy.
  void norm_back(const at::Tensor& x, const std::string& weight, const at::Tensor& scale, float* gradients) {
    const int64_t width = config_.hidden_size;
    std::fill(norm_parts_.begin(), norm_parts_.end(), 0.0f);
    for_rows([&](int64_t chunk, int64_t begin, int64_t end) {
      const int64_t at = begin * width;
      norm_backward(floats(x) + at, vector(weight), floats(scale) + begin, data(grad_normed_) + at,
                    floats(grad_residual_) + at, data(grad_output_) + at, norm_parts_.data() + chunk * width,
                    end - begin, width);
    });
    float* to = gradients + layout_.find(weight).offset;
    for (size_t at = 0; at < norm_parts_.size(); at += static_cast<size_t>(width))
      accumulate(norm_parts_.data() + at, to, width);
  }
  // gradients[first ...] += grad^T input, [R, C].
  void add_weight_gradient(const at::Tensor& grad, const at::Tensor& input, const std::string& first,
                           float* gradients) {
    float* to = gradients + layout_.find(first).offset;
    const int64_t elements = grad.size(1) * input.size(1);
    if constexpr (std::is_same_v<T, float>) {
      at::Tensor sum = at::from_blob(to, {grad.size(1), input.size(1)}, at::TensorOptions().dtype(at::kFloat));
      sum.addmm_(grad.t(), input);
    } else {
      if (product_.numel() < elements) product_ = at::empty({elements}, weights_.options());
      at::Tensor product = product_.narrow(0, 0, elements).view({grad.size(1), input.size(1)});
      at::mm_out(product, grad.t(), input);
      accumulate(data(product), to, elements);
    }
  }

  void forward(const PackedBatch& batch) {
    OCKHAM_CHECK(static_cast<int64_t>(batch.ids.size()) == rows_);
    const int64_t hidden = config_.hidden_size, inner = config_.intermediate_size;
    const float* table = vector(layout_.spans.front().name);
    for (int64_t row = 0; row < rows_; ++row) {
      std::copy_n(table + batch.ids[static_cast<size_t>(row)] * hidden, hidden, floats(saved_[0].input) + row * hidden);
    }
    at::Tensor residual, update;
    for (int64_t block = 0; block < config_.blocks; ++block) {
      Saved& s = saved_[static_cast<size_t>(block)];
      norm(block ? residual : s.input, update, s.input, key(block, "input_layernorm"), s.input_normed, s.input_scale);
      at::mm_out(s.qkv, s.input_normed, matrix(key(block, "self_attn.q_proj"), shape_.stride()).t());
      for_rows([&](int64_t, int64_t begin, int64_t end) {
        rotate_heads(data(s.qkv) + begin * shape_.stride(), batch.positions.data() + begin, cos_.data(), sin_.data(),
                     end - begin, shape_.stride(), config_.heads + config_.kv_heads, config_.head_dim, 1.0f);
      });
      attention_forward(shape_, batch.segments, data(s.qkv), data(s.attended), floats(s.log_sums));
      at::mm_out(update_, s.attended, matrix(key(block, "self_attn.o_proj"), hidden).t());
      norm(s.input, update_, s.middle, key(block, "post_attention_layernorm"), s.middle_normed, s.middle_scale);
      at::mm_out(s.gate_up, s.middle_normed, matrix(key(block, "mlp.gate_proj"), 2 * inner).t());
      for_rows([&](int64_t, int64_t begin, int64_t end) {
        swiglu(data(s.gate_up) + begin * 2 * inner, data(s.activated) + begin * inner, end - begin, inner);
      });
      at::mm_out(update_, s.activated, matrix(key(block, "mlp.down_proj"), hidden).t());
      residual = s.middle;
      update = update_;
    }
    norm(residual, update, last_, "model.norm.weight", last_normed_, last_scale_);
  }

  // Loss, and with scale != 0 the gradient of the head and of what enters it (grad_normed_).
  double head(const PackedBatch& batch, float scale, float* gradients) {
    const at::Tensor weight = matrix(head_name(), config_.vocabulary);
    double loss = 0;
    for (int64_t begin = 0; begin < rows_; begin += logits_.size(0)) {
      const int64_t count = std::min(logits_.size(0), rows_ - begin);
      at::Tensor logits = logits_.narrow(0, 0, count), normed = last_normed_.narrow(0, begin, count);
      at::mm_out(logits, normed, weight.t());
      loss += cross_entropy(data(logits), batch.targets.data() + begin, batch.weights.data() + begin, count,
                            config_.vocabulary, scale);
      if (scale == 0) continue;
      at::Tensor grad = grad_normed_.narrow(0, begin, count);
      at::mm_out(grad, logits, weight);
      add_weight_gradient(logits, normed, head_name(), gradients);
    }
    return loss;
  }

  void backward(const PackedBatch& batch, float* gradients) {
    const int64_t hidden = config_.hidden_size, inner = config_.intermediate_size;
    grad_residual_.zero_();
    norm_back(last_, "model.norm.weight", last_scale_, gradients);
    for (int64_t block = config_.blocks - 1; block >= 0; --block) {
      const Saved& s = saved_[static_cast<size_t>(block)];
      at::mm_out(grad_activated_, grad_output_, matrix(key(block, "mlp.down_proj"), hidden));
      add_weight_gradient(grad_output_, s.activated, key(block, "mlp.down_proj"), gradients);
      for_rows([&](int64_t, int64_t begin, int64_t end) {
        swiglu_backward(data(s.gate_up) + begin * 2 * inner, data(grad_activated_) + begin * inner,
                        data(grad_gate_up_) + begin * 2 * inner, end - begin, inner);
      });
      at::mm_out(grad_normed_, grad_gate_up_, matrix(key(block, "mlp.gate_proj"), 2 * inner));
      add_weight_gradient(grad_gate_up_, s.middle_normed, key(block, "mlp.gate_proj"), gradients);
      norm_back(s.middle, key(block, "post_attention_layernorm"), s.middle_scale, gradients);
      at::mm_out(grad_attended_, grad_output_, matrix(key(block, "self_attn.o_proj"), hidden));
      add_weight_gradient(grad_output_, s.attended, key(block, "self_attn.o_proj"), gradients);
      attention_backward(shape_, batch.segments, data(s.qkv), data(s.attended), floats(s.log_sums),
                         data(grad_attended_), data(grad_qkv_));
      std::fill(data(grad_qkv_) + batch.tokens * shape_.stride(), data(grad_qkv_) + rows_ * shape_.stride(), T{});
      for_rows([&](int64_t, int64_t begin, int64_t end) {
        rotate_heads(data(grad_qkv_) + begin * shape_.stride(), batch.positions.data() + begin, cos_.data(),
                     sin_.data(), end - begin, shape_.stride(), config_.heads + config_.kv_heads, config_.head_dim,
                     -1.0f);
      });
      at::mm_out(grad_normed_, grad_qkv_, matrix(key(block, "self_attn.q_proj"), shape_.stride()));
      add_weight_gradient(grad_qkv_, s.input_normed, key(block, "self_attn.q_proj"), gradients);
      norm_back(s.input, key(block, "input_layernorm"), s.input_scale, gradients);
    }
    const float* rows = floats(grad_residual_);
    for (int64_t row = 0; row < batch.tokens; ++row) {
      accumulate(rows + row * hidden, gradients + batch.ids[static_cast<size_t>(row)] * hidden, hidden);
    }
  }

  ModelConfig config_;
  ParameterLayout layout_;
  int64_t rows_;
  AttentionShape shape_;
  at::Tensor master_, weights_;  // float32 and compute dtype, flat
  std::vector<Saved> saved_;
  at::Tensor last_, last_scale_, last_normed_, update_, logits_, product_;
  at::Tensor grad_residual_, grad_output_, grad_normed_, grad_attended_, grad_qkv_, grad_gate_up_, grad_activated_;
  std::vector<float> cos_, sin_, norm_parts_;
};

}  // namespace

std::unique_ptr<TrainEngine> make_fused_engine(const ModelConfig& config, int64_t rows, DType dtype) {
  const bool fits = config.hidden_size % 16 == 0 && config.intermediate_size % 16 == 0 && config.head_dim % 32 == 0 &&
                    config.vocabulary % 16 == 0 && !config.attention_bias && !config.mlp_bias;
  if (!fits || (dtype != DType::kF32 && dtype != DType::kBF16)) {
    throw_error(ErrorKind::kUnsupported,
                "the fused engine takes hidden, intermediate and vocabulary sizes that are multiples of 16, head_dim a "
                "multiple "
                "of 32, no biases, float32 or bfloat16; found {}, {}, {}, {}; use `engine: autograd`",
                config.hidden_size, config.intermediate_size, config.vocabulary, config.head_dim);
  }
  if (dtype == DType::kF32) return std::make_unique<FusedEngine<float>>(config, rows);
  return std::make_unique<FusedEngine<uint16_t>>(config, rows);
}

}  // namespace ockham
