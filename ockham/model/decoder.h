// A decoder-only transformer in memory: blocks of linears and norms, rotary attention with grouped queries, tied or own
// head. One implementation serves calibration, evaluation and training; every operation is differentiable.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ockham/model/config.h"
#include "ockham/model/weight.h"
#include "ockham/tensor/tensor.h"

namespace ockham {

// Keys and values of earlier tokens, per block [B, kv_heads, capacity, head_dim]; rows of a batch may have different
// lengths.
struct KvCache {
  std::vector<Tensor> keys, values;
  int64_t length = 0;  // tokens stored so far (the longest row; shorter rows are padded on the left)
  Tensor padding;      // bool [B, capacity], true where a row has no token; undefined: no padding
};

struct Linear {
  std::string name;  // full tensor name without ".weight": "model.layers.0.self_attn.q_proj"
  Weight weight;
  Tensor bias;                                // [R] or undefined
  Tensor forward(const Tensor& input) const;  // [..., C] -> [..., R]
};

// Called with the input [tokens, C] of a linear, for calibration.
class LinearObserver {
 public:
  virtual ~LinearObserver() = default;
  virtual void observe(const Linear& linear, const Tensor& input) = 0;
};

struct BlockContext {
  Tensor cos, sin;  // [T, head_dim] or [B, T, head_dim]
  Tensor mask;      // bool [B or 1, 1, T, S], true = may attend; undefined: causal
  KvCache* cache = nullptr;
  int64_t index = 0;  // of the block, for the cache
  LinearObserver* observer = nullptr;
};

class Block {
 public:
  std::vector<Linear> linears;             // q, k, v, o, gate, up, down
  Tensor input_norm, post_attention_norm;  // [H]
  // hidden [B, T, H] -> [B, T, H]
  Tensor forward(const Tensor& hidden, const BlockContext& context) const;
  // Its two halves, without norm and residual: normed [B, T, H] -> [B, T, H].
  Tensor attention(const Tensor& normed, const BlockContext& context) const;
  Tensor mlp(const Tensor& normed, const BlockContext& context) const;
  void to(at::ScalarType dtype, const at::Device& device);
  const ModelConfig* config = nullptr;

 private:
  Tensor apply(size_t role, const Tensor& input, const BlockContext& context) const;
};

class Decoder {
 public:
  // Random weights: normal with `std` 0.02 (o and down scaled by 1/sqrt(2 * blocks)), norms 1.
  static std::unique_ptr<Decoder> random(const ModelConfig& config, uint64_t seed, DType dtype);

  ModelConfig config;
  Tensor embedding;   // [V, H]
  Tensor final_norm;  // [H]
  Tensor head;        // [V, H]; undefined when tied
  std::vector<Block> blocks;

  Tensor embed(const Tensor& ids) const;  // int64 [B, T] -> [B, T, H]
  // ids int64 [B, T] -> final hidden states [B, T, H], normed. `padding` bool [B, T], true at left padding, or
  // undefined.
  Tensor forward(const Tensor& ids, KvCache* cache = nullptr, const Tensor& padding = {}) const;
  Tensor logits(const Tensor& hidden) const;  // [..., H] -> [..., V]
  BlockContext make_context(int64_t batch, int64_t tokens, KvCache* cache, const Tensor& padding) const;

  // Trainable tensors by checkpoint name, dense weights only; the tensors share storage with the model.
  std::vector<std::pair<std::string, Tensor>> parameters() const;
  void to(at::ScalarType dtype, const at::Device& device);
  // Unpacks every weight once, for repeated forwards without gradients through the formats.
  void make_dense();
  at::ScalarType dtype() const;
  at::Device device() const;

 private:
  void extend_rope_tables(int64_t length) const;
  mutable Tensor rope_cos_, rope_sin_;  // [positions, head_dim] in the model's dtype; a forward is not thread-safe
};

// x * rsqrt(mean(x^2) + eps) in float32, cast back, times weight (llama order).
Tensor rms_norm(const Tensor& input, const Tensor& weight, double eps);
// Half-split rotary embedding; x [B, heads, T, D].
Tensor apply_rope(const Tensor& x, const Tensor& cos, const Tensor& sin);

}  // namespace ockham
