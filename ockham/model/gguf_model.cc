// Reading of GGUF models.
#include "ockham/model/gguf_model.h"

#include <cstring>

#include "ockham/core/error.h"
#include "ockham/model/gguf_names.h"
#include "ockham/tensor/ops.h"

namespace ockham {

namespace {

// The middle of "model.layers.3.X.weight" or "blk.3.X.weight", with the number and what follows X.
struct NameParts {
  std::string number, middle, ending;
};
std::optional<NameParts> split_name(const std::string& name, const std::string& prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  const size_t dot = name.find('.', prefix.size()), last = name.rfind('.');
  if (dot == std::string::npos || last <= dot) return std::nullopt;
  NameParts parts{name.substr(prefix.size(), dot - prefix.size()), name.substr(dot + 1, last - dot - 1),
                  name.substr(last)};
  if (parts.number.empty() || parts.number.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  return parts;
}

bool is_embedding_grid(const std::string& name) {
  return name.find("proj.weight") == std::string::npos;
}

// The config.json keys that a llama-like file states.
Json read_config(const Json& keys, const std::string& architecture, const std::string& where, bool has_head,
                 bool has_rope_table) {
  const char* type = nullptr;
  for (const auto& [model_type, name] : kGgufArchitectures) {
    if (type == nullptr && architecture == name) type = model_type;
  }
  if (type == nullptr) {
    throw_error(ErrorKind::kUnsupported,
                "{}: key 'general.architecture' is '{}', expected llama; take the safetensors release", where,
                architecture);
  }
  const auto integer = [&](const char* key) { return json_integer(keys, architecture + "." + key, where); };
  const auto real = [&](const std::string& key, double fallback) {
    return json_real(keys, architecture + "." + key, where, fallback);
  };
  if (has_rope_table) {
    throw_error(ErrorKind::kUnsupported,
                "{}: holds rope_freqs.weight (llama 3 scaling), which is not read here; take the "
                "safetensors release",
                where);
  }
  const int64_t heads = integer("attention.head_count"), hidden = integer("embedding_length");
  if (heads < 1)
    throw_input("{}: key '{}.attention.head_count' is {}, expected a positive number", where, architecture, heads);
  Json config = {{"architectures", {"LlamaForCausalLM"}},
                 {"model_type", type},
                 {"hidden_size", hidden},
                 {"intermediate_size", integer("feed_forward_length")},
                 {"num_hidden_layers", integer("block_count")},
                 {"num_attention_heads", heads},
                 {"num_key_value_heads", json_integer(keys, architecture + ".attention.head_count_kv", where, heads)},
                 {"head_dim", json_integer(keys, architecture + ".attention.key_length", where, hidden / heads)},
                 {"max_position_embeddings", integer("context_length")},
                 {"rms_norm_eps", real("attention.layer_norm_rms_epsilon", 1e-6)},
                 {"hidden_act", "silu"},
                 {"tie_word_embeddings", !has_head}};
  const double theta = real("rope.freq_base", 10000);
  const std::string scaling = json_text(keys, architecture + ".rope.scaling.type", where, "none");
  Json rope = {{"rope_type", "default"}, {"rope_theta", theta}};
  if (scaling != "none") {
    rope["rope_type"] = scaling;  // refused by name later where it is not computed
    rope["factor"] = real("rope.scaling.factor", 1);
  }
  config["rope_theta"] = theta;
  config["rope_parameters"] = rope;
  constexpr std::pair<const char*, const char*> kTokens[] = {{"bos_token_id", "bos_token_id"},
                                                             {"eos_token_id", "eos_token_id"}};
  for (const auto& [key, name] : kTokens) {
    const auto found = keys.find(std::string("tokenizer.ggml.") + key);
    if (found != keys.end() && found->is_number_integer()) config[name] = *found;
  }
  return config;
}

}  // namespace

std::optional<std::string> to_gguf_name(const std::string& name) {
  for (const auto& [from, to] : kGgufFrame) {
    if (name == std::string(from) + ".weight") return std::string(to) + ".weight";
  }
  const auto parts = split_name(name, "model.layers.");
  if (!parts) return std::nullopt;
  for (const auto& [from, to] : kGgufBlock) {
    if (parts->middle == from) return "blk." + parts->number + "." + to + parts->ending;
  }
  return std::nullopt;
}

std::optional<std::string> from_gguf_name(const std::string& name) {
  for (const auto& [to, from] : kGgufFrame) {
    if (name == std::string(from) + ".weight") return std::string(to) + ".weight";
  }
  const auto parts = split_name(name, "blk.");
  if (!parts) return std::nullopt;
  for (const auto& [to, from] : kGgufBlock) {
    if (parts->middle == from) return "model.layers." + parts->number + "." + to + parts->ending;
  }
  return std::nullopt;
}

Tensor gguf_rope_order(int64_t heads, int64_t dim) {
  return at::arange(heads * dim).view({heads, 2, dim / 2}).transpose(1, 2).reshape({-1});
}

GgufModel::GgufModel(const std::string& path) : files_(open_gguf(path)), path_(path) {
  architecture_ = json_text(keys(), "general.architecture", path);
  bool has_head = false, has_rope_table = false;
  for (const auto& file : files_) {
    for (const GgufTensor& tensor : file->header().tensors) {
      has_head = has_head || tensor.name == "output.weight";
      has_rope_table = has_rope_table || tensor.name == "rope_freqs.weight";
    }
  }
  config_ = read_config(keys(), architecture_, path, has_head, has_rope_table);
  add_tensors();
  const auto embedding = places_.find("model.embed_tokens.weight");
  if (embedding == places_.end())
    throw_input("{}: tensor 'token_embd.weight' is missing; download the model again", path);
  if (embedding->second.tensor->shape.size() != 2)
    throw_input("{}: tensor 'token_embd.weight' has {} dimensions, expected 2", path,
                embedding->second.tensor->shape.size());
  config_["vocab_size"] = embedding->second.tensor->shape.front();
  config_["attention_bias"] = places_.contains("model.layers.0.self_attn.q_proj.bias");
  config_["mlp_bias"] = places_.contains("model.layers.0.mlp.up_proj.bias");
  config_["torch_dtype"] = dtype_config_name(common_dtype());
}

// The 16-bit type of all matrices, or F32 where they differ or are dequantized on reading. Linears whose codes are kept
// have no say.
DType GgufModel::common_dtype() const {
  std::optional<DType> common;
  for (const TensorInfo& info : infos_) {
    const bool keeps_codes = !is_embedding_grid(info.name) && gguf_grid(place(info.name).tensor->type).has_value();
    if (info.shape.size() != 2 || keeps_codes) continue;
    if (common && *common != info.dtype) return DType::kF32;
    common = info.dtype;
  }
  return common.value_or(DType::kF32);
}

void GgufModel::add_tensors() {
  const int64_t heads = config_["num_attention_heads"].get<int64_t>(),
                kv_heads = config_["num_key_value_heads"].get<int64_t>();
  for (const auto& file : files_) {
    for (const GgufTensor& tensor : file->header().tensors) {
      const auto name = from_gguf_name(tensor.name);
      const std::string known = name.value_or(tensor.name);
      Place place{file.get(), &tensor, 0};
      if (architecture_ == "llama" && name) {
        if (known.find("q_proj.") != std::string::npos) place.heads = heads;
        if (known.find("k_proj.") != std::string::npos) place.heads = kv_heads;
      }
      if (place.heads > 0 && (tensor.shape.empty() || tensor.shape.front() % (2 * place.heads) != 0))
        throw_input("{}: tensor '{}' does not split into {} heads; the file is damaged", path_, tensor.name,
                    place.heads);
      if (!places_.emplace(known, place).second)
        throw_input("{}: tensor '{}' is in two parts; write the model again", path_, tensor.name);
      const DType dtype = tensor.type == GgufType::kF16    ? DType::kF16
                          : tensor.type == GgufType::kBF16 ? DType::kBF16
                                                           : DType::kF32;
      infos_.push_back({known, dtype, tensor.shape, 0, tensor.bytes});
    }
  }
}

const Json& GgufModel::keys() const {
  return files_.front()->header().keys;
}

const GgufModel::Place& GgufModel::place(const std::string& name) const {
  const auto found = places_.find(name);
  if (found == places_.end()) throw_input("{}: tensor '{}' is missing; download the model again", path_, name);
  return found->second;
}

Tensor GgufModel::read_tensor(const std::string& name) const {
  const Place& from = place(name);
  const GgufTensor& tensor = *from.tensor;
  const auto bytes = from.file->data(tensor);
  Tensor result;
  if (gguf_type_info(tensor.type).elements == 1) {
    const at::ScalarType type = tensor.type == GgufType::kF16    ? at::kHalf
                                : tensor.type == GgufType::kBF16 ? at::kBFloat16
                                                                 : at::kFloat;
    result = at::empty(tensor.shape, type);
    if (!bytes.empty()) std::memcpy(result.mutable_data_ptr(), bytes.data(), bytes.size());
  } else {
    result = at::empty(tensor.shape, at::kFloat);
    dequantize_gguf(tensor.type, bytes, {result.mutable_data_ptr<float>(), static_cast<size_t>(result.numel())});
  }
  from.file->forget(tensor);
  if (from.heads == 0) return result;
  // order[i] is the row of ours that lies at i.
  return at::empty_like(result).index_copy_(0, gguf_rope_order(from.heads, result.size(0) / from.heads), result);
}

Weight GgufModel::read_weight(const std::string& linear) const {
  const Place& from = place(linear + ".weight");
  const GgufTensor& tensor = *from.tensor;
  const auto grid = gguf_grid(tensor.type);
  if (!grid || tensor.shape.size() != 2) return DenseWeight{read_tensor(linear + ".weight")};
  GroupIntWeight weight;
  weight.bits = grid->bits;
  weight.group_size = grid->group;
  weight.is_symmetric = true;
  weight.codes = at::empty(tensor.shape, at::kByte);
  weight.scales = at::empty({tensor.shape[0], tensor.shape[1] / grid->group}, at::kFloat);
  read_gguf_grid(tensor.type, from.file->data(tensor),
                 {weight.codes.mutable_data_ptr<uint8_t>(), static_cast<size_t>(weight.codes.numel())},
                 {weight.scales.mutable_data_ptr<float>(), static_cast<size_t>(weight.scales.numel())});
  from.file->forget(tensor);
  if (!weight.scales.isfinite().all().item<bool>())
    throw_input("{}: tensor '{}' holds non-finite scales; download the model again", path_, tensor.name);
  if (from.heads > 0) {
    const Tensor order = gguf_rope_order(from.heads, weight.codes.size(0) / from.heads);
    weight.codes = at::empty_like(weight.codes).index_copy_(0, order, weight.codes);
    weight.scales = at::empty_like(weight.scales).index_copy_(0, order, weight.scales);
  }
  return weight;
}

std::string GgufModel::description() const {
  std::map<std::string, int64_t> counts;
  for (const auto& [name, from] : places_) {
    if (!is_embedding_grid(name)) ++counts[std::string(gguf_type_info(from.tensor->type).name)];
  }
  std::string types;
  for (const auto& [name, count] : counts) types += fmt::format("{}{} {}", types.empty() ? "" : ", ", count, name);
  return fmt::format("gguf, {}: {}", architecture_, types);
}

int64_t GgufModel::bytes() const {
  int64_t total = 0;
  for (const auto& [name, from] : places_) total += from.tensor->bytes;
  return total;
}

std::vector<std::string> GgufModel::paths() const {
  std::vector<std::string> paths;
  for (const auto& file : files_) paths.push_back(file->path());
  return paths;
}

}  // namespace ockham
