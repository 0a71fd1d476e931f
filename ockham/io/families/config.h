// What config.json says about a model, in Ockham's own terms; both spellings of transformers 4 and 5 are read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ockham/core/dtype.h"
#include "ockham/core/kv_policy.h"
#include "ockham/io/json.h"

namespace ockham {

struct RopeConfig {
  std::string type = "default";  // default, linear, dynamic, llama3, yarn, longrope
  double theta = 10000;
  double factor = 1, low_freq_factor = 1, high_freq_factor = 4;
  int64_t original_max_position_embeddings = 0;
  double partial = 1;                               // share of head_dim that is rotated, from the front
  double attention_factor = 1;                      // cos and sin are multiplied by it (yarn, longrope)
  double beta_fast = 32, beta_slow = 1;             // yarn: turns over the original context that bound the ramp
  bool truncates = true;                            // yarn: the ramp's ends are whole dimensions
  std::vector<double> short_factors, long_factors;  // longrope, one per frequency
  int64_t context_length = 0;                       // dynamic: where stretching begins

  // Frequencies follow from the length of the whole sequence.
  bool depends_on_length() const { return type == "dynamic" || type == "longrope"; }
};

constexpr int64_t kMostBlocks = 65536;

enum class Activation { kSilu, kGelu, kGeluTanh, kRelu, kSquaredRelu };

struct ModelConfig {
  std::string family;  // model_type: "llama"
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t blocks = 0;               // num_hidden_layers
  int64_t heads = 0, kv_heads = 0;  // grouped queries: heads % kv_heads == 0
  int64_t head_dim = 0;
  int64_t vocabulary = 0;
  int64_t context_length = 0;  // max_position_embeddings
  double norm_eps = 1e-6;
  RopeConfig rope;
  bool tied_embeddings = false;
  bool attention_bias = false, mlp_bias = false;
  DType dtype = DType::kF32;  // of the checkpoint
  Json raw;                   // config.json as read, written back to outputs

  // What other families than llama add; the defaults are llama's.
  bool output_bias = true;        // with attention_bias, o has a bias as q, k and v have
  bool has_qk_norm = false;       // RMS norm of each head's query and key before the rotation
  bool is_layer_norm = false;     // mean and bias instead of RMS
  double norm_offset = 0;         // norms multiply by offset + weight
  bool is_norm_first = true;      // false: norms follow the residual sums (opt-350m)
  bool has_output_norms = false;  // attention and MLP are normed behind, too (gemma)
  bool is_parallel = false;       // attention and MLP read the same residual state
  bool is_gated = true;           // MLP: activation(gate) * up, otherwise activation(up)
  Activation activation = Activation::kSilu;
  bool has_rope = true;         // otherwise learned positions
  int64_t position_offset = 0;  // first row of the learned positions
  int64_t embedding_size = 0;   // of the token embedding; 0: hidden_size
  double embedding_scale = 1;
  double attention_scale = 0;                       // 0: head_dim^-0.5
  double attention_softcap = 0, logit_softcap = 0;  // 0: none
  int64_t window = 0;                               // a token sees this many, itself included, in sliding blocks
  std::vector<bool> sliding;                        // by block; empty: none
  bool has_local_rope = false;                      // sliding blocks rotate with local_rope
  RopeConfig local_rope;
  int64_t experts = 0, experts_per_token = 0;  // mixtures; the weights of the chosen experts sum to 1 where normalized
  bool is_routing_normalized = true;
  int64_t expert_size = 0, shared_expert_size = 0;  // intermediate sizes; 0: no shared expert
  std::vector<bool> mixtures;                       // by block; empty: none
  // What the model's cache keeps where nobody says otherwise: "ockham_kv_cache": {"policy": NAME, parameters...}.
  std::optional<KvPolicy> kv_cache;

  bool is_sliding(int64_t block) const { return !sliding.empty() && sliding.at(static_cast<size_t>(block)); }
  bool is_mixture(int64_t block) const { return !mixtures.empty() && mixtures.at(static_cast<size_t>(block)); }

  // Error(kInput/kUnsupported) names `where` (the file), the key, what was found and what is expected.
  static ModelConfig parse(const Json& config, const std::string& where);
  // `raw` with the fields above written into it; a whole config.json also where `raw` is empty (llama).
  Json to_json() const;
};

// Inverse frequencies [rotated dimensions / 2] of the rotary embedding (formulas of the scalings: transformers) for
// sequences of `length` tokens, which matters for dynamic and longrope only.
std::vector<double> rope_frequencies(const RopeConfig& rope, int64_t head_dim, int64_t length = 0);

}  // namespace ockham
