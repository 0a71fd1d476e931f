// The settings of a model as keys of GGUF, both ways.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ockham/io/families/config.h"
#include "ockham/io/families/gguf_layout.h"
#include "ockham/io/json.h"

namespace ockham {

// The keys "general.*" (without file type) and "ARCHITECTURE.*". Error(kUnsupported) names what llama.cpp would compute
// differently; sliding windows that it does not compute are a warning. `where` is the model.
Json gguf_keys(const ModelConfig& config, const std::string& where);
// Tensors that hold no weights: divisors of the rotary frequencies, by name.
std::map<std::string, std::vector<float>> gguf_rope_tensors(const ModelConfig& config);

// What a file holds beside its keys.
struct GgufFacts {
  bool has_head = false, has_attention_bias = false, has_mlp_bias = false;
  int64_t vocabulary = 0;                                       // rows of the embedding
  std::map<std::string, std::vector<float>> rope_tensors = {};  // as above
};
// config.json in Hugging Face's spelling.
Json config_from_gguf(const Json& keys, const GgufFacts& facts, const std::string& where);

}  // namespace ockham
