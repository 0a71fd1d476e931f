// What config.json says about a model, in Ockham's own terms; both spellings of transformers 4 and 5 are read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/core/dtype.h"
#include "ockham/io/json.h"

namespace ockham {

struct RopeConfig {
  std::string type = "default";  // default, linear, llama3
  double theta = 10000;
  double factor = 1, low_freq_factor = 1, high_freq_factor = 4;
  int64_t original_max_position_embeddings = 0;
};

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

  // Error(kInput/kUnsupported) names `where` (the file), the key, what was found and what is expected.
  static ModelConfig parse(const Json& config, const std::string& where);
  // `raw` with the fields above written into it; a whole config.json also where `raw` is empty.
  Json to_json() const;
};

// Inverse frequencies [head_dim / 2] of the rotary embedding (formulas of the llama3 and linear scalings:
// transformers).
std::vector<double> rope_frequencies(const RopeConfig& rope, int64_t head_dim);

}  // namespace ockham
