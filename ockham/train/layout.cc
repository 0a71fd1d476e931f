// Order of a model's tensors in the flat training buffer.
#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"
#include "ockham/train/engine.h"

namespace ockham {

ParameterLayout ParameterLayout::of(const ModelConfig& config) {
  if (config.family != "llama")
    throw_error(ErrorKind::kUnsupported, "model_type '{}' is not trained here, expected llama", config.family);
  ParameterLayout layout;
  const auto add = [&](std::string name, int64_t rows, int64_t columns) {
    layout.spans.push_back({std::move(name), layout.elements, rows, columns});
    layout.elements += layout.spans.back().elements();
  };
  const int64_t hidden = config.hidden_size;
  add("model.embed_tokens.weight", config.vocabulary, hidden);
  for (int64_t block = 0; block < config.blocks; ++block) {
    const std::string prefix = fmt::format("model.layers.{}.", block);
    add(prefix + "input_layernorm.weight", hidden, 0);
    add(prefix + "self_attn.q_proj.weight", config.heads * config.head_dim, hidden);
    add(prefix + "self_attn.k_proj.weight", config.kv_heads * config.head_dim, hidden);
    add(prefix + "self_attn.v_proj.weight", config.kv_heads * config.head_dim, hidden);
    add(prefix + "self_attn.o_proj.weight", hidden, config.heads * config.head_dim);
    add(prefix + "post_attention_layernorm.weight", hidden, 0);
    add(prefix + "mlp.gate_proj.weight", config.intermediate_size, hidden);
    add(prefix + "mlp.up_proj.weight", config.intermediate_size, hidden);
    add(prefix + "mlp.down_proj.weight", hidden, config.intermediate_size);
  }
  add("model.norm.weight", hidden, 0);
  if (!config.tied_embeddings) add("lm_head.weight", config.vocabulary, hidden);
  return layout;
}

const ParameterSpan& ParameterLayout::find(const std::string& name) const {
  for (const ParameterSpan& span : spans) {
    if (span.name == name) return span;
  }
  throw_error(ErrorKind::kInternal, "the training buffer has no tensor '{}'", name);
}

void copy_weights(const ParameterLayout& layout, const float* values, Decoder& decoder) {
  for (auto& [name, tensor] : decoder.parameters()) {
    const ParameterSpan& span = layout.find(name);
    OCKHAM_CHECK(tensor.numel() == span.elements());
    const at::Tensor source =
        at::from_blob(const_cast<float*>(values) + span.offset, tensor.sizes(), at::TensorOptions().dtype(at::kFloat));
    tensor.detach().copy_(source);
  }
}

}  // namespace ockham
