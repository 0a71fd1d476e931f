// The table of families and what follows from it.
#include "ockham/io/families/families.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "ockham/core/error.h"

namespace ockham {
namespace {

// What the mixtures of Qwen share.
Family qwen_mixture(std::string_view model_type, std::string_view architecture) {
  Family family{.model_type = model_type, .architecture = architecture};
  family.router = "mlp.gate";
  family.expert = "mlp.experts.{}.";
  family.foreign = {"mlp_bias"};
  return family;
}

Family gemma(std::string_view model_type, std::string_view architecture) {
  return {.model_type = model_type,
          .architecture = architecture,
          .post_attention_norm = "pre_feedforward_layernorm",
          .attention_output_norm = "post_attention_layernorm",
          .mlp_output_norm = "post_feedforward_layernorm",
          .spelled = {{"hidden_act", "hidden_activation"}},
          .foreign = {"mlp_bias"},
          .refused = {"use_bidirectional_attention"},
          .default_head_dim = 256,
          .default_activation = "gelu_pytorch_tanh",
          .default_tied = true,
          .window_rule = WindowRule::kPattern,
          .default_window = 4096,
          .has_output_norms = true,
          .norm_offset = 1,
          .scales_embedding = true};
}

std::vector<Family> make_families() {
  std::vector<Family> table;
  table.push_back({.model_type = "llama", .architecture = "LlamaForCausalLM"});
  table.push_back({.model_type = "mistral",
                   .architecture = "MistralForCausalLM",
                   .window_rule = WindowRule::kAll,
                   .default_window = 4096});
  table.push_back({.model_type = "qwen2",
                   .architecture = "Qwen2ForCausalLM",
                   .foreign = {"attention_bias", "mlp_bias"},
                   .default_attention_bias = true,
                   .window_rule = WindowRule::kFromLayer,
                   .default_window = 4096,
                   .output_bias = false});
  table.push_back({.model_type = "qwen3",
                   .architecture = "Qwen3ForCausalLM",
                   .foreign = {"mlp_bias"},
                   .default_head_dim = 128,
                   .window_rule = WindowRule::kFromLayer,
                   .default_window = 4096,
                   .has_qk_norm = true});
  table.push_back({.model_type = "phi3",
                   .architecture = "Phi3ForCausalLM",
                   .fused_attention = "self_attn.qkv_proj",
                   .fused_mlp = "mlp.gate_up_proj",
                   .foreign = {"attention_bias", "mlp_bias"},
                   .default_eps = 1e-5,
                   .window_rule = WindowRule::kAll});
  table.push_back(gemma("gemma2", "Gemma2ForCausalLM"));
  table.push_back(gemma("gemma3_text", "Gemma3ForCausalLM"));
  table.back().has_qk_norm = true;
  table.back().has_local_rope = true;
  table.back().default_theta = 1e6;
  table.push_back({.model_type = "nemotron",
                   .architecture = "NemotronForCausalLM",
                   .linears = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "",
                               "mlp.up_proj", "mlp.down_proj"},
                   .spelled = {{"rms_norm_eps", "norm_eps"}},
                   .default_eps = 1e-5,
                   .default_activation = "relu2",
                   .default_partial = 0.5,
                   .is_layer_norm = true,
                   .is_gated = false,
                   .norm_offset = 1});
  table.push_back(
      {.model_type = "opt",
       .architecture = "OPTForCausalLM",
       .embedding = "model.decoder.embed_tokens",
       .final_norm = "model.decoder.final_layer_norm",
       .positions = "model.decoder.embed_positions",
       .project_in = "model.decoder.project_in",
       .project_out = "model.decoder.project_out",
       .block = "model.decoder.layers.{}.",
       .linears = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "", "fc1", "fc2"},
       .input_norm = "self_attn_layer_norm",
       .post_attention_norm = "final_layer_norm",
       .spelled = {{"intermediate_size", "ffn_dim"},
                   {"hidden_act", "activation_function"},
                   {"attention_bias", "enable_bias"},
                   {"mlp_bias", "enable_bias"}},
       .foreign = {"num_key_value_heads", "head_dim", "rms_norm_eps"},
       .refused = {"_remove_final_layer_norm"},
       .default_eps = 1e-5,
       .default_activation = "relu",
       .default_tied = true,
       .default_attention_bias = true,
       .default_mlp_bias = true,
       .is_layer_norm = true,
       .is_gated = false,
       .has_rope = false,
       .position_offset = 2});
  table.push_back({.model_type = "gpt_neox",
                   .architecture = "GPTNeoXForCausalLM",
                   .embedding = "gpt_neox.embed_in",
                   .final_norm = "gpt_neox.final_layer_norm",
                   .head = "embed_out",
                   .block = "gpt_neox.layers.{}.",
                   .linears = {"attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.dense", "",
                               "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"},
                   .fused_attention = "attention.query_key_value",
                   .is_fused_per_head = true,
                   .spelled = {{"rms_norm_eps", "layer_norm_eps"}},
                   .foreign = {"num_key_value_heads", "head_dim", "mlp_bias"},
                   .default_eps = 1e-5,
                   .default_activation = "gelu",
                   .default_attention_bias = true,
                   .default_mlp_bias = true,
                   .default_partial = 0.25,
                   .is_layer_norm = true,
                   .is_gated = false});
  table.push_back(
      {.model_type = "gpt2",
       .architecture = "GPT2LMHeadModel",
       .embedding = "transformer.wte",
       .final_norm = "transformer.ln_f",
       .positions = "transformer.wpe",
       .block = "transformer.h.{}.",
       .linears = {"attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.c_proj", "", "mlp.c_fc", "mlp.c_proj"},
       .input_norm = "ln_1",
       .post_attention_norm = "ln_2",
       .fused_attention = "attn.c_attn",
       .is_transposed = true,
       .spelled = {{"hidden_size", "n_embd"},
                   {"intermediate_size", "n_inner"},
                   {"num_hidden_layers", "n_layer"},
                   {"num_attention_heads", "n_head"},
                   {"max_position_embeddings", "n_positions"},
                   {"rms_norm_eps", "layer_norm_epsilon"},
                   {"hidden_act", "activation_function"}},
       .foreign = {"num_key_value_heads", "head_dim", "attention_bias", "mlp_bias"},
       .refused = {"scale_attn_by_inverse_layer_idx", "add_cross_attention"},
       .default_eps = 1e-5,
       .default_activation = "gelu_new",
       .default_tied = true,
       .default_attention_bias = true,
       .default_mlp_bias = true,
       .default_widening = 4,
       .is_layer_norm = true,
       .is_gated = false,
       .has_rope = false});
  table.push_back({.model_type = "mixtral",
                   .architecture = "MixtralForCausalLM",
                   .router = "block_sparse_moe.gate",
                   .expert = "block_sparse_moe.experts.{}.",
                   .expert_linears = {"w1", "w3", "w2"},
                   .foreign = {"attention_bias", "mlp_bias"},
                   .default_eps = 1e-5,
                   .window_rule = WindowRule::kAll});
  table.push_back(qwen_mixture("qwen2_moe", "Qwen2MoeForCausalLM"));
  table.back().shared_expert = "mlp.shared_expert.";
  table.back().shared_gate = "mlp.shared_expert_gate";
  table.back().spelled = {{"attention_bias", "qkv_bias"}};
  table.back().default_attention_bias = true;
  table.back().output_bias = false;
  table.back().window_rule = WindowRule::kAlternating;
  table.back().default_window = 4096;
  table.push_back(qwen_mixture("qwen3_moe", "Qwen3MoeForCausalLM"));
  table.back().has_qk_norm = true;
  table.back().window_rule = WindowRule::kAll;
  table.back().default_window = 4096;
  return table;
}

const Family& family_of(const ModelConfig& config) {
  const Family* family = find_family(config.family);
  OCKHAM_CHECK(family != nullptr);
  return *family;
}

std::string with_number(std::string_view pattern, int64_t number) {
  return fmt::format(fmt::runtime(pattern), number);
}

// The places of fused neighbours in the tensor that holds them.
void fuse(std::vector<LinearSpec>& specs, size_t begin, size_t end, std::string_view name, int64_t interleaved_heads) {
  int64_t rows = 0;
  for (size_t i = begin; i < end; ++i) {
    specs[i].stored = name;
    specs[i].first_row = rows;
    specs[i].interleaved_heads = interleaved_heads;
    rows += specs[i].rows;
  }
  for (size_t i = begin; i < end; ++i) specs[i].stored_rows = rows;
}

}  // namespace

const std::vector<Family>& families() {
  static const std::vector<Family> kTable = make_families();
  return kTable;
}

const Family* find_family(std::string_view model_type) {
  for (const Family& family : families()) {
    if (family.model_type == model_type) return &family;
  }
  return nullptr;
}

std::string config_key(const Family& family, std::string_view key) {
  for (const auto& [ours, theirs] : family.spelled) {
    if (ours == key) return std::string(theirs);
  }
  return std::string(key);
}

std::string block_prefix(const Family& family, int64_t index) {
  return with_number(family.block, index);
}

std::vector<LinearSpec> block_linears(const ModelConfig& config, int64_t index) {
  const Family& family = family_of(config);
  const int64_t hidden = config.hidden_size, queries = config.heads * config.head_dim,
                keys = config.kv_heads * config.head_dim;
  std::vector<LinearSpec> specs;
  const auto add = [&](std::string name, LinearRole role, int64_t expert, int64_t rows, int64_t columns, bool bias) {
    LinearSpec spec;
    spec.name = spec.stored = std::move(name);
    spec.role = role;
    spec.expert = expert;
    spec.rows = spec.stored_rows = rows;
    spec.columns = columns;
    spec.has_bias = bias;
    spec.is_transposed = family.is_transposed;
    specs.push_back(std::move(spec));
  };
  const auto attention = [&](LinearRole role, int64_t rows, int64_t columns, bool bias) {
    add(std::string(family.linears[role]), role, kNoExpert, rows, columns, bias);
  };
  attention(kQuery, queries, hidden, config.attention_bias);
  attention(kKey, keys, hidden, config.attention_bias);
  attention(kValue, keys, hidden, config.attention_bias);
  attention(kOutput, hidden, queries, config.attention_bias && config.output_bias);
  if (!family.fused_attention.empty())
    fuse(specs, kQuery, kOutput, family.fused_attention, family.is_fused_per_head ? config.heads : 0);

  const auto mlp = [&](const std::array<std::string, 3>& names, int64_t expert, int64_t size) {
    if (config.is_gated) add(names[0], kGate, expert, size, hidden, config.mlp_bias);
    add(names[1], kUp, expert, size, hidden, config.mlp_bias);
    add(names[2], kDown, expert, hidden, size, config.mlp_bias);
  };
  const auto expert_names = [&](const std::string& prefix) {
    std::array<std::string, 3> names;
    for (size_t i = 0; i < 3; ++i) names[i] = prefix + std::string(family.expert_linears[i]);
    return names;
  };
  if (config.is_mixture(index)) {
    for (int64_t expert = 0; expert < config.experts; ++expert)
      mlp(expert_names(with_number(family.expert, expert)), expert, config.expert_size);
    if (config.shared_expert_size > 0)
      mlp(expert_names(std::string(family.shared_expert)), kSharedExpert, config.shared_expert_size);
    return specs;
  }
  mlp({std::string(family.linears[kGate]), std::string(family.linears[kUp]), std::string(family.linears[kDown])},
      kNoExpert, config.intermediate_size);
  if (!family.fused_mlp.empty()) fuse(specs, specs.size() - 3, specs.size() - 1, family.fused_mlp, 0);
  return specs;
}

std::vector<std::string> plain_modules(const ModelConfig& config) {
  const Family& family = family_of(config);
  std::vector<std::string> names = {std::string(family.head)};
  if (family.head != "lm_head") names.emplace_back("lm_head");  // what transformers 5 calls every head
  if (config.embedding_size > 0 && config.embedding_size != config.hidden_size)
    for (const std::string_view name : {family.project_in, family.project_out}) names.emplace_back(name);
  for (int64_t i = 0; i < config.blocks; ++i) {
    if (!config.is_mixture(i)) continue;
    names.push_back(block_prefix(family, i) + std::string(family.router));
    if (config.shared_expert_size > 0) names.push_back(block_prefix(family, i) + std::string(family.shared_gate));
  }
  return names;
}

std::vector<TensorSpec<BlockTensorRole>> block_tensor_specs(const ModelConfig& config, int64_t index) {
  using Role = BlockTensorRole;
  const Family& family = family_of(config);
  const std::vector<int64_t> hidden = {config.hidden_size}, head = {config.head_dim};
  std::vector<TensorSpec<Role>> result;
  const auto norm = [&](std::string_view name, Role weight, Role bias) {
    result.push_back({std::string(name) + ".weight", weight, hidden});
    if (config.is_layer_norm) result.push_back({std::string(name) + ".bias", bias, hidden});
  };
  norm(family.input_norm, Role::kInputNorm, Role::kInputNormBias);
  norm(family.post_attention_norm, Role::kPostAttentionNorm, Role::kPostAttentionNormBias);
  if (config.has_output_norms) {
    result.push_back({std::string(family.attention_output_norm) + ".weight", Role::kAttentionOutputNorm, hidden});
    result.push_back({std::string(family.mlp_output_norm) + ".weight", Role::kMlpOutputNorm, hidden});
  }
  if (config.has_qk_norm) {
    result.push_back({"self_attn.q_norm.weight", Role::kQueryNorm, head});
    result.push_back({"self_attn.k_norm.weight", Role::kKeyNorm, head});
  }
  if (config.is_mixture(index)) {
    result.push_back({std::string(family.router) + ".weight", Role::kRouter, {config.experts, config.hidden_size}});
    if (config.shared_expert_size > 0)
      result.push_back({std::string(family.shared_gate) + ".weight", Role::kSharedGate, {1, config.hidden_size}});
  }
  return result;
}

std::vector<TensorSpec<FrameTensorRole>> frame_tensor_specs(const ModelConfig& config) {
  using Role = FrameTensorRole;
  const Family& family = family_of(config);
  const int64_t hidden = config.hidden_size, width = config.embedding_size > 0 ? config.embedding_size : hidden;
  std::vector<TensorSpec<Role>> result;
  const auto add = [&](std::string_view name, std::string_view suffix, Role role, std::vector<int64_t> shape) {
    result.push_back({std::string(name) + std::string(suffix), role, std::move(shape)});
  };
  add(family.embedding, ".weight", Role::kEmbedding, {config.vocabulary, width});
  if (config.is_norm_first) {
    add(family.final_norm, ".weight", Role::kFinalNorm, {hidden});
    if (config.is_layer_norm) add(family.final_norm, ".bias", Role::kFinalNormBias, {hidden});
  }
  if (!config.tied_embeddings) add(family.head, ".weight", Role::kHead, {config.vocabulary, width});
  if (!config.has_rope)
    add(family.positions, ".weight", Role::kPositions, {config.context_length + config.position_offset, hidden});
  if (width != hidden) {
    add(family.project_in, ".weight", Role::kProjectIn, {hidden, width});
    add(family.project_out, ".weight", Role::kProjectOut, {width, hidden});
  }
  return result;
}

int64_t parameter_count(const ModelConfig& config) {
  const auto numbers = [](const std::vector<int64_t>& shape) {
    return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  };
  int64_t count = 0;
  for (const auto& tensor : frame_tensor_specs(config)) count += numbers(tensor.shape);
  for (int64_t block = 0; block < config.blocks; ++block) {
    for (const auto& tensor : block_tensor_specs(config, block)) count += numbers(tensor.shape);
    for (const LinearSpec& linear : block_linears(config, block))
      count += linear.rows * linear.columns + (linear.has_bias ? linear.rows : 0);
  }
  return count;
}

}  // namespace ockham
