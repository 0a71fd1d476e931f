// A decoder-only transformer in memory: blocks of linears and norms, rotary or learned positions, grouped queries,
// plain MLPs or mixtures of experts, tied or own head; ModelConfig says which of its variants a family has. One
// implementation serves calibration, evaluation and training; every operation is differentiable.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ockham/io/families/families.h"
#include "ockham/model/weight.h"
#include "ockham/tensor/prepared.h"
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
  Tensor bias;  // [R] or undefined
  LinearRole role = kQuery;
  int64_t expert = kNoExpert;
  std::shared_ptr<const PreparedMatrix> prepared;  // the weight again, for products without gradients
  Tensor forward(const Tensor& input) const;       // [..., C] -> [..., R]
  void set_zero();                                 // weight and bias, in new storage
};

// Called with the input [tokens, C] of a linear, for calibration.
class LinearObserver {
 public:
  virtual ~LinearObserver() = default;
  virtual void observe(const Linear& linear, const Tensor& input) = 0;
};

struct BlockContext {
  Tensor cos, sin;              // [T, rotated dimensions] or [B, T, rotated dimensions]; undefined: no rotation
  Tensor local_cos, local_sin;  // the same for sliding blocks, where these rotate differently
  Tensor positions;             // int64 [T] or [B, T], for learned positions; undefined: 0 to T-1
  Tensor mask;                  // bool [B or 1, 1, T, S], true = may attend; undefined: causal
  Tensor window_mask;           // the same for sliding blocks; undefined: `mask`
  // In place of a mask, on CUDA and in training alone: int32 [n + 1], where each document begins in the tokens of all
  // rows behind one another, and at last their number. A token sees its own document, backwards. Windows, a scale or a
  // softcap of the model's own are not heard: only llama is trained.
  Tensor documents;
  int64_t longest_document = 0;
  KvCache* cache = nullptr;
  int64_t index = 0;  // of the block, for the cache
  LinearObserver* observer = nullptr;
};

class Block {
 public:
  std::vector<Linear> linears;  // q, k, v, o, then [gate], up, down of the MLP, or of each expert and the shared one
  Tensor input_norm, post_attention_norm;            // [H], before attention and before the MLP
  Tensor input_norm_bias, post_attention_norm_bias;  // [H], layer norms only
  Tensor attention_output_norm, mlp_output_norm;     // [H], behind both, where the family has them
  Tensor query_norm, key_norm;                       // [head_dim], where the family has them
  Tensor router, shared_gate;                        // [experts, H] and [1, H] of a mixture
  // hidden [B, T, H] -> [B, T, H]
  Tensor forward(const Tensor& hidden, const BlockContext& context) const;
  // The same in two steps where has_halves(): behind attention, and from there to the end, both [B, T, H].
  bool has_halves() const;
  Tensor first_half(const Tensor& hidden, const BlockContext& context) const;
  Tensor second_half(const Tensor& middle, const BlockContext& context) const;
  // Its two halves, without norm and residual: normed [B, T, H] -> [B, T, H]. An observer of a mixture sees every token
  // at every expert, so that all are calibrated; the result is the routed one all the same.
  Tensor attention(const Tensor& normed, const BlockContext& context) const;
  Tensor mlp(const Tensor& normed, const BlockContext& context) const;
  // The place in `linears`, or linears.size() where the block has no such linear.
  size_t find(LinearRole role, int64_t expert = kNoExpert) const;
  bool is_mixture() const { return router.defined(); }
  // Every defined tensor beside the linears.
  std::vector<Tensor*> tensors();
  void to(at::ScalarType dtype, const at::Device& device);
  const ModelConfig* config = nullptr;
  int64_t index = 0;  // among the decoder's blocks

 private:
  Tensor apply(size_t place, const Tensor& input, const BlockContext& context) const;
  // The MLP whose linears begin at `first`.
  Tensor mlp_at(size_t first, const Tensor& normed, const BlockContext& context) const;
  Tensor mixture(const Tensor& normed, const BlockContext& context) const;
};

class Decoder {
 public:
  // Random weights: normal with `std` 0.02 (o and down scaled by 1/sqrt(2 * blocks)), norms 1.
  static std::unique_ptr<Decoder> random(const ModelConfig& config, uint64_t seed, DType dtype);

  ModelConfig config;
  Tensor embedding;                    // [V, H] (opt-350m: [V, embedding_size])
  Tensor final_norm, final_norm_bias;  // [H]; undefined where the family has none
  Tensor head;                         // [V, H]; undefined when tied
  Tensor position_embedding;           // [context_length + position_offset, H], learned positions only
  Tensor project_in, project_out;      // [H, embedding_size] and its inverse's shape, where the two sizes differ
  std::vector<Block> blocks;

  // int64 [B, T] -> [B, T, H]; `positions` as in BlockContext. Error(kInput) for positions beyond the learned ones.
  Tensor embed(const Tensor& ids, const Tensor& positions = {}) const;
  // ids int64 [B, T] -> final hidden states [B, T, H], normed. `padding` bool [B, T], true at left padding, or
  // undefined.
  Tensor forward(const Tensor& ids, KvCache* cache = nullptr, const Tensor& padding = {}) const;
  Tensor finish(const Tensor& hidden) const;  // the last block's output, normed
  Tensor logits(const Tensor& hidden) const;  // [..., H] -> [..., V]
  // Where frequencies depend on the length of the sequence, that length is what the cache and these tokens make.
  BlockContext make_context(int64_t batch, int64_t tokens, KvCache* cache, const Tensor& padding) const;
  // Rotation and learned positions of tokens at `positions`, int64 [B, T], in sequences of `length` tokens in all.
  void place(BlockContext& context, const Tensor& positions, int64_t length) const;

  // Trainable tensors by checkpoint name, dense weights only; the tensors share storage with the model.
  std::vector<std::pair<std::string, Tensor>> parameters() const;
  // Every defined tensor outside the blocks.
  std::vector<Tensor*> tensors();
  void to(at::ScalarType dtype, const at::Device& device);
  // Unpacks every weight once, for repeated forwards without gradients through the formats; weights that round their
  // inputs go on doing so.
  void make_dense();
  // Lays small float32 weights out for products without gradients; after this the weights must not change.
  void make_panels();
  at::ScalarType dtype() const;
  at::Device device() const;

 private:
  struct RopeTable {
    Tensor cos, sin;  // [positions, rotated dimensions] in the model's dtype
  };
  // cos and sin of float32 angles.
  RopeTable rope_table(const RopeConfig& rope, const Tensor& positions, int64_t length) const;
  void extend(RopeTable& table, const RopeConfig& rope, int64_t length) const;
  std::shared_ptr<const PreparedMatrix> prepared_head_;
  mutable RopeTable rope_, local_rope_;  // a forward is not thread-safe
};

// x * rsqrt(mean(x^2) + eps) in float32, cast back, times weight (llama order); with an offset, times offset + weight
// before the cast (gemma order).
Tensor rms_norm(const Tensor& input, const Tensor& weight, double eps, double offset = 0);
// The family's norm: RMS or layer norm; `bias` is undefined for RMS.
Tensor apply_norm(const Tensor& input, const Tensor& weight, const Tensor& bias, const ModelConfig& config);
// Half-split rotary embedding of the first dimensions, as many as cos has; x [B, heads, T, D].
Tensor apply_rope(const Tensor& x, const Tensor& cos, const Tensor& sin);

}  // namespace ockham
