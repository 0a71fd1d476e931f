// The table of architectures and the names of their tensors.
#include "ockham/io/families/gguf_layout.h"

#include <fmt/format.h>

#include "ockham/core/error.h"

namespace ockham {
namespace {

constexpr std::string_view kRoles[kLinearRoles] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                                   "ffn_gate", "ffn_up", "ffn_down"};

std::vector<GgufArchitecture> make_architectures() {
  const std::vector<std::string_view> plain = {"default", "linear"}, stretched = {"default", "linear", "yarn"};
  const GgufArchitecture llama = {.model_type = "llama",
                                  .name = "llama",
                                  .rope_types = {"default", "linear", "yarn", "llama3", "longrope"},
                                  .is_permuted = true};
  std::vector<GgufArchitecture> table = {llama, llama, llama};
  table[1].model_type = "mistral";
  table[2].model_type = "mixtral";
  table.push_back({.model_type = "qwen2", .name = "qwen2", .rope_types = stretched, .is_square = true});
  table.push_back({.model_type = "qwen3", .name = "qwen3", .rope_types = stretched});
  table.push_back({.model_type = "phi3",
                   .name = "phi3",
                   .rope_types = {"default", "linear", "longrope"},
                   .is_square = true,
                   .rotates_whole_heads = false});
  table.push_back({.model_type = "gemma2",
                   .name = "gemma2",
                   .rope_types = plain,
                   .is_always_tied = true,
                   .window_period = 2,
                   .wide_blocks = 46});
  table.push_back(
      {.model_type = "gemma3_text", .name = "gemma3", .rope_types = plain, .window_period = 6, .wide_blocks = 62});
  table.push_back({.model_type = "nemotron",
                   .name = "nemotron",
                   .rope_types = plain,
                   .needs_head = true,
                   .rotates_whole_heads = false});
  table.push_back({.model_type = "gpt2", .name = "gpt2", .rope_types = {"default"}, .is_square = true});
  table.push_back({.model_type = "gpt_neox",
                   .name = "gptneox",
                   .rope_types = stretched,
                   .needs_head = true,
                   .is_square = true,
                   .rotates_whole_heads = false});
  table.push_back(
      {.model_type = "qwen2_moe", .name = "qwen2moe", .rope_types = stretched, .needs_head = true, .is_square = true});
  table.push_back({.model_type = "qwen3_moe", .name = "qwen3moe", .rope_types = stretched});
  return table;
}

GgufEntry make_entry(std::string name, GgufEntry::Kind kind, std::string ours, std::vector<int64_t> shape) {
  GgufEntry entry;
  entry.name = std::move(name);
  entry.kind = kind;
  entry.shape = shape;
  entry.parts.push_back({std::move(ours), std::move(shape)});
  return entry;
}

std::string_view suffix_of(std::string_view name) {
  return name.ends_with(".bias") ? ".bias" : ".weight";
}

std::string_view frame_name(FrameTensorRole role) {
  if (role == FrameTensorRole::kEmbedding) return "token_embd";
  if (role == FrameTensorRole::kHead) return "output";
  if (role == FrameTensorRole::kPositions) return "position_embd";
  OCKHAM_CHECK(role == FrameTensorRole::kFinalNorm || role == FrameTensorRole::kFinalNormBias);
  return "output_norm";
}

std::string_view block_name(BlockTensorRole role) {
  switch (role) {
    case BlockTensorRole::kInputNorm:
    case BlockTensorRole::kInputNormBias:
      return "attn_norm";
    case BlockTensorRole::kPostAttentionNorm:
    case BlockTensorRole::kPostAttentionNormBias:
      return "ffn_norm";
    case BlockTensorRole::kAttentionOutputNorm:
      return "post_attention_norm";
    case BlockTensorRole::kMlpOutputNorm:
      return "post_ffw_norm";
    case BlockTensorRole::kQueryNorm:
      return "attn_q_norm";
    case BlockTensorRole::kKeyNorm:
      return "attn_k_norm";
    case BlockTensorRole::kRouter:
      return "ffn_gate_inp";
    case BlockTensorRole::kSharedGate:
      return "ffn_gate_inp_shexp";
  }
  OCKHAM_CHECK(false);
}

// The entries of linears that lie in one tensor, weight and bias.
void add_linears(std::vector<GgufEntry>& entries, const std::string& name, const std::string& prefix,
                 const std::vector<LinearSpec>& specs, const std::vector<size_t>& places, bool is_stacked,
                 int64_t heads) {
  const auto add = [&](const char* suffix, bool is_bias) {
    GgufEntry entry;
    entry.name = name + suffix;
    entry.kind = is_bias ? GgufEntry::Kind::kFloat : GgufEntry::Kind::kWeight;
    entry.heads = heads;
    entry.linears = places;
    entry.is_bias = is_bias;
    int64_t rows = 0;
    for (const size_t place : places) {
      const LinearSpec& spec = specs[place];
      rows += spec.rows;
      entry.parts.push_back({prefix + spec.name + suffix, is_bias ? std::vector<int64_t>{spec.rows}
                                                                  : std::vector<int64_t>{spec.rows, spec.columns}});
    }
    entry.shape = {rows};
    if (is_stacked) entry.shape = {static_cast<int64_t>(places.size()), specs[places.front()].rows};
    if (!is_bias) entry.shape.push_back(specs[places.front()].columns);
    entries.push_back(std::move(entry));
  };
  add(".weight", false);
  if (specs[places.front()].has_bias) add(".bias", true);
}

}  // namespace

std::span<const GgufArchitecture> gguf_architectures() {
  static const std::vector<GgufArchitecture> kTable = make_architectures();
  return kTable;
}

const GgufArchitecture* find_gguf_architecture(std::string_view model_type) {
  for (const GgufArchitecture& architecture : gguf_architectures()) {
    if (architecture.model_type == model_type) return &architecture;
  }
  return nullptr;
}

std::vector<GgufEntry> gguf_frame(const ModelConfig& config) {
  std::vector<GgufEntry> entries;
  for (const auto& tensor : frame_tensor_specs(config)) {
    const bool is_plain = tensor.role == FrameTensorRole::kEmbedding || tensor.role == FrameTensorRole::kHead;
    const std::string name = fmt::format("{}{}", frame_name(tensor.role), suffix_of(tensor.name));
    entries.push_back(
        make_entry(name, is_plain ? GgufEntry::Kind::kPlain : GgufEntry::Kind::kFloat, tensor.name, tensor.shape));
    entries.back().frame = tensor.role;
    if (tensor.role == FrameTensorRole::kFinalNorm) entries.back().shift = config.norm_offset;
  }
  return entries;
}

std::vector<GgufEntry> gguf_block(const ModelConfig& config, int64_t index) {
  const std::string ours = block_prefix(*find_family(config.family), index), theirs = fmt::format("blk.{}.", index);
  const bool is_permuted = find_gguf_architecture(config.family)->is_permuted;
  std::vector<GgufEntry> entries;
  for (const auto& tensor : block_tensor_specs(config, index)) {
    const std::string name = fmt::format("{}{}{}", theirs, block_name(tensor.role), suffix_of(tensor.name));
    entries.push_back(make_entry(name, GgufEntry::Kind::kFloat, ours + tensor.name, tensor.shape));
    GgufEntry& entry = entries.back();
    entry.role = tensor.role;
    // A vector there.
    if (tensor.role == BlockTensorRole::kSharedGate) entry.shape.erase(entry.shape.begin());
    if (tensor.name.ends_with("norm.weight")) entry.shift = config.norm_offset;
  }
  const std::vector<LinearSpec> specs = block_linears(config, index);
  for (size_t begin = 0; begin < specs.size(); ++begin) {
    const LinearSpec& first = specs[begin];
    std::string name = theirs + std::string(kRoles[first.role]);
    std::vector<size_t> places = {begin};
    bool is_stacked = false;
    if (first.is_fused()) {
      while (begin + 1 < specs.size() && specs[begin + 1].stored == first.stored) places.push_back(++begin);
      name = theirs + (first.role == kQuery ? "attn_qkv" : "ffn_up");
    } else if (first.expert == kSharedExpert) {
      name += "_shexp";
    } else if (first.expert != kNoExpert) {
      if (first.expert > 0) continue;  // lies in the tensor of the first expert
      name += "_exps";
      is_stacked = true;
      for (size_t i = begin + 1; i < specs.size(); ++i) {
        if (specs[i].role == first.role && specs[i].expert > 0) places.push_back(i);
      }
    }
    const int64_t heads = !is_permuted           ? 0
                          : first.role == kQuery ? config.heads
                          : first.role == kKey   ? config.kv_heads
                                                 : 0;
    add_linears(entries, name, ours, specs, places, is_stacked, heads);
  }
  return entries;
}

int64_t gguf_rope_row(int64_t row, int64_t rows, int64_t heads) {
  const int64_t dim = rows / heads, half = dim / 2, within = row % dim;
  return row - within + (within < half ? 2 * within : 2 * (within - half) + 1);
}

}  // namespace ockham
