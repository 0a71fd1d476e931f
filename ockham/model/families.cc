// The table of families. A family with llama's mathematics is one more row.
#include "ockham/model/families.h"

#include <fmt/format.h>

namespace ockham {
namespace {

constexpr std::array<std::string_view, kLinearRoles> kLlamaLinears = {
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};

}  // namespace

const std::vector<Family>& families() {
  static const std::vector<Family> table = {
      {"llama",
       "LlamaForCausalLM",
       "model.embed_tokens",
       "model.norm",
       "lm_head",
       "model.layers.{}.",
       kLlamaLinears,
       "input_layernorm",
       "post_attention_layernorm",
       {}},
      {"mistral",
       "MistralForCausalLM",
       "model.embed_tokens",
       "model.norm",
       "lm_head",
       "model.layers.{}.",
       kLlamaLinears,
       "input_layernorm",
       "post_attention_layernorm",
       {"sliding_window"}},
  };
  return table;
}

const Family* find_family(std::string_view model_type) {
  for (const Family& family : families()) {
    if (family.model_type == model_type) return &family;
  }
  return nullptr;
}

std::string block_prefix(const Family& family, int64_t index) {
  return fmt::format(fmt::runtime(family.block), index);
}

std::pair<int64_t, int64_t> linear_shape(const ModelConfig& config, LinearRole role) {
  const int64_t queries = config.heads * config.head_dim, keys = config.kv_heads * config.head_dim;
  switch (role) {
    case kQuery:
      return {queries, config.hidden_size};
    case kKey:
    case kValue:
      return {keys, config.hidden_size};
    case kOutput:
      return {config.hidden_size, queries};
    case kDown:
      return {config.hidden_size, config.intermediate_size};
    default:
      return {config.intermediate_size, config.hidden_size};
  }
}

bool linear_has_bias(const ModelConfig& config, LinearRole role) {
  return role < kGate ? config.attention_bias : config.mlp_bias;
}

}  // namespace ockham
