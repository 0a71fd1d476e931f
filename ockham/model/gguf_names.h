// Names of llama-like tensors and architectures in GGUF; private to model.
#pragma once

#include <optional>
#include <string>
#include <utility>

namespace ockham {

inline constexpr std::pair<const char*, const char*> kGgufFrame[] = {
    {"model.embed_tokens", "token_embd"}, {"model.norm", "output_norm"}, {"lm_head", "output"}};
inline constexpr std::pair<const char*, const char*> kGgufBlock[] = {
    {"input_layernorm", "attn_norm"},    {"post_attention_layernorm", "ffn_norm"},
    {"self_attn.q_proj", "attn_q"},      {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},      {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"}, {"self_attn.k_norm", "attn_k_norm"},
    {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"}};
// {model_type, architecture}: the first of an architecture is what it is read as. A family needs more than a row where
// it has tensors beyond those above.
inline constexpr std::pair<const char*, const char*> kGgufArchitectures[] = {{"llama", "llama"}, {"mistral", "llama"}};

// "model.layers.3.mlp.up_proj.weight" to "blk.3.ffn_up.weight" and back; nothing for other names.
std::optional<std::string> to_gguf_name(const std::string& name);
std::optional<std::string> from_gguf_name(const std::string& name);

}  // namespace ockham
