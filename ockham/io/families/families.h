// The model families as data: where a family keeps its tensors, how config.json spells its settings, and which of the
// decoder's variants it has. From this and a config follow the linears and the other tensors of every block.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ockham/io/families/config.h"

namespace ockham {

// What a linear does in its block; in a gated block without mixture also its place in Block::linears.
enum LinearRole : size_t { kQuery, kKey, kValue, kOutput, kGate, kUp, kDown, kLinearRoles };
// Linear::expert of linears that belong to no expert, and of those of an expert that sees every token.
inline constexpr int64_t kNoExpert = -1, kSharedExpert = -2;

// Where config.json leaves open which blocks have the sliding window.
enum class WindowRule { kNone, kAll, kFromLayer, kAlternating, kPattern };

struct Family {
  std::string_view model_type, architecture;  // as config.json spells them
  // Tensor names without ".weight"; empty: the family has no such tensor.
  std::string_view embedding = "model.embed_tokens", final_norm = "model.norm", head = "lm_head", positions = {};
  std::string_view project_in = {}, project_out = {};  // between embedding and hidden size, where these differ
  std::string_view block = "model.layers.{}.";  // prefix of block N, "{}" standing for N; the following are below it
  std::array<std::string_view, kLinearRoles> linears = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                                        "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                                        "mlp.down_proj"};
  std::string_view input_norm = "input_layernorm", post_attention_norm = "post_attention_layernorm";
  std::string_view attention_output_norm = {}, mlp_output_norm = {};
  // Stored as one tensor, in memory as its parts: q, k, v and gate, up. Rows of all parts one part after another, or
  // (per head) head by head.
  std::string_view fused_attention = {}, fused_mlp = {};
  bool is_fused_per_head = false;
  bool is_transposed = false;  // matrices lie [C, R] (gpt2)
  // Mixtures of experts: "{}" stands for the expert; names of gate, up and down below that.
  std::string_view router = {}, expert = {}, shared_expert = {}, shared_gate = {};
  std::array<std::string_view, 3> expert_linears = {"gate_proj", "up_proj", "down_proj"};

  // Spellings in config.json that differ from llama's.
  std::vector<std::pair<std::string_view, std::string_view>> spelled = {};
  // Llama's keys that this family does not have: never written.
  std::vector<std::string_view> foreign = {};
  std::vector<std::string_view> refused = {};  // config keys that must be absent, null or false
  double default_eps = 1e-6;
  int64_t default_head_dim = 0;  // 0: hidden_size / heads
  std::string_view default_activation = "silu";
  bool default_tied = false, default_attention_bias = false, default_mlp_bias = false;
  int64_t default_widening = 0;  // intermediate_size, as a multiple of hidden_size, where the config has none
  double default_partial = 1, default_theta = 10000;
  WindowRule window_rule = WindowRule::kNone;
  int64_t default_window = 0;  // where the config does not mention it

  bool output_bias = true, has_qk_norm = false, is_layer_norm = false, has_output_norms = false, is_gated = true;
  bool has_rope = true, has_local_rope = false;
  double norm_offset = 0;
  int64_t position_offset = 0;
  bool scales_embedding = false;  // by sqrt(hidden_size)
};

const std::vector<Family>& families();
// Null for an unknown model_type.
const Family* find_family(std::string_view model_type);
// How the family's config.json spells a key of llama.
std::string config_key(const Family& family, std::string_view key);
// "model.layers.3." for a family and 3.
std::string block_prefix(const Family& family, int64_t index);

// One linear of a block: in memory always a matrix [rows, columns] of its own.
struct LinearSpec {
  std::string name;  // below the block's prefix, without ".weight"
  LinearRole role = kQuery;
  int64_t expert = kNoExpert;
  int64_t rows = 0, columns = 0;
  bool has_bias = false;
  std::string stored;  // what holds it in a dense checkpoint: `name`, or the name of a fused tensor
  bool is_transposed = false;
  // Of a fused tensor: its rows, where this part begins, and the number of heads whose rows alternate (0: none).
  int64_t stored_rows = 0, first_row = 0, interleaved_heads = 0;

  bool is_fused() const { return stored != name; }
};
// In the order of Block::linears: q, k, v, o, then [gate], up, down of the MLP or of every expert and the shared one.
std::vector<LinearSpec> block_linears(const ModelConfig& config, int64_t index);
// The modules beside the blocks' linears that hold a matrix and stay as they are: head, projections, routers.
std::vector<std::string> plain_modules(const ModelConfig& config);

// The other tensors of a block, with what they are in it.
enum class BlockTensorRole {
  kInputNorm,
  kInputNormBias,
  kPostAttentionNorm,
  kPostAttentionNormBias,
  kAttentionOutputNorm,
  kMlpOutputNorm,
  kQueryNorm,
  kKeyNorm,
  kRouter,
  kSharedGate
};
// And of those outside the blocks.
enum class FrameTensorRole { kEmbedding, kFinalNorm, kFinalNormBias, kHead, kPositions, kProjectIn, kProjectOut };
template <typename Role>
struct TensorSpec {
  std::string name;  // with ".weight" or ".bias"; a block's below its prefix
  Role role;
  std::vector<int64_t> shape;
};
std::vector<TensorSpec<BlockTensorRole>> block_tensor_specs(const ModelConfig& config, int64_t index);
std::vector<TensorSpec<FrameTensorRole>> frame_tensor_specs(const ModelConfig& config);
// Numbers in all tensors of a model of this config.
int64_t parameter_count(const ModelConfig& config);

}  // namespace ockham
