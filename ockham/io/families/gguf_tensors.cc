// Opening of GGUF models.
#include "ockham/io/families/gguf_tensors.h"

#include <fmt/format.h>

#include <cstring>

#include "ockham/core/error.h"
#include "ockham/io/families/gguf_settings.h"

namespace ockham {
namespace {

int64_t product(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

}  // namespace

DType gguf_dtype(GgufType type) {
  return type == GgufType::kF16 ? DType::kF16 : type == GgufType::kBF16 ? DType::kBF16 : DType::kF32;
}

GgufTensors::GgufTensors(const std::string& path) : files_(open_gguf(path)), path_(path) {
  architecture_ = json_text(keys(), "general.architecture", path);
  for (const auto& file : files_) {
    for (const GgufTensor& tensor : file->header().tensors) {
      if (!stored_.emplace(tensor.name, Stored{file.get(), &tensor, false}).second)
        throw_input("{}: tensor '{}' is in two parts; write the model again", path_, tensor.name);
    }
  }
  GgufFacts facts;
  const Stored& embedding = stored("token_embd.weight");
  if (embedding.tensor->shape.size() != 2)
    throw_input("{}: tensor 'token_embd.weight' has {} dimensions, expected 2", path, embedding.tensor->shape.size());
  facts.vocabulary = embedding.tensor->shape.front();
  facts.has_head = stored_.contains("output.weight");
  facts.has_attention_bias = stored_.contains("blk.0.attn_q.bias") || stored_.contains("blk.0.attn_qkv.bias");
  facts.has_mlp_bias = stored_.contains("blk.0.ffn_up.bias");
  for (const char* name : {"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"})
    if (stored_.contains(name)) facts.rope_tensors[name] = read_vector(name);
  config_ = config_from_gguf(keys(), facts, path);
  const ModelConfig config = ModelConfig::parse(config_, path);
  for (const GgufEntry& entry : gguf_frame(config)) add_entry(entry);
  for (int64_t index = 0; index < config.blocks; ++index)
    for (const GgufEntry& entry : gguf_block(config, index)) add_entry(entry);
  for (const auto& [name, from] : stored_) {
    if (!from.is_used) infos_.push_back({name, DType::kF32, from.tensor->shape, 0, from.tensor->bytes});
  }
  config_["torch_dtype"] = dtype_config_name(common_dtype());
}

GgufTensors::Stored& GgufTensors::stored(const std::string& name) {
  const auto found = stored_.find(name);
  if (found == stored_.end()) throw_input("{}: tensor '{}' is missing; download the model again", path_, name);
  found->second.is_used = true;
  return found->second;
}

std::vector<float> GgufTensors::read_vector(const std::string& name) {
  const Stored& from = stored(name);
  if (from.tensor->type != GgufType::kF32 || from.tensor->shape.size() != 1)
    throw_input("{}: tensor '{}' is {} with {} dimensions, expected F32 with 1", path_, name,
                gguf_type_info(from.tensor->type).name, from.tensor->shape.size());
  std::vector<float> values(static_cast<size_t>(from.tensor->elements()));
  if (!values.empty()) std::memcpy(values.data(), from.file->data(*from.tensor).data(), values.size() * sizeof(float));
  return values;
}

void GgufTensors::add_entry(const GgufEntry& entry) {
  const Stored& from = stored(entry.name);
  const std::vector<int64_t>& shape = from.tensor->shape;
  // Some writers keep [1, H] where others write [H].
  const bool is_row =
      shape.size() == 2 && shape.front() == 1 && entry.shape.size() == 1 && shape.back() == entry.shape.front();
  if (shape != entry.shape && !is_row) {
    throw_input("{}: tensor '{}' has shape {}, expected {} from the file's keys; download the model again", path_,
                entry.name, Json(shape).dump(), Json(entry.shape).dump());
  }
  if (entry.kind == GgufEntry::Kind::kFloat && gguf_type_info(from.tensor->type).elements != 1)
    throw_input("{}: tensor '{}' is {}, expected F32, F16 or BF16; download the model again", path_, entry.name,
                gguf_type_info(from.tensor->type).name);
  if (entry.heads > 0 && entry.shape.front() % (2 * entry.heads) != 0)
    throw_input("{}: tensor '{}' does not split into {} heads; the file is damaged", path_, entry.name, entry.heads);
  int64_t first = 0;
  for (const GgufEntry::Part& part : entry.parts) {
    places_[part.name] = {from, part.shape, first, entry.heads, entry.shift, entry.kind};
    const int64_t elements = product(part.shape);
    const GgufTypeInfo& info = gguf_type_info(from.tensor->type);
    first += elements;
    infos_.push_back({part.name, entry.shift != 0 ? DType::kF32 : gguf_dtype(from.tensor->type), part.shape, 0,
                      elements / info.elements * info.bytes});
  }
}

// The 16-bit type of all matrices, or F32 where they differ or are dequantized on reading. Linears whose codes are kept
// have no say, nor has what is F32 in every file.
DType GgufTensors::common_dtype() const {
  std::optional<DType> common;
  for (const auto& [name, from] : places_) {
    const bool keeps_codes = from.kind == GgufEntry::Kind::kWeight && gguf_grid(from.from.tensor->type).has_value();
    if (from.kind == GgufEntry::Kind::kFloat || keeps_codes) continue;
    const DType dtype = gguf_dtype(from.from.tensor->type);
    if (common && *common != dtype) return DType::kF32;
    common = dtype;
  }
  return common.value_or(DType::kF32);
}

const Json& GgufTensors::keys() const {
  return files_.front()->header().keys;
}

const GgufTensors::Place& GgufTensors::place(const std::string& name) const {
  const auto found = places_.find(name);
  if (found == places_.end()) throw_input("{}: tensor '{}' is missing; download the model again", path_, name);
  return found->second;
}

std::span<const uint8_t> GgufTensors::Place::bytes() const {
  const GgufTypeInfo& info = gguf_type_info(from.tensor->type);
  const auto begin = static_cast<size_t>(first / info.elements * info.bytes),
             length = static_cast<size_t>(product(shape) / info.elements * info.bytes);
  return from.file->data(*from.tensor).subspan(begin, length);
}

std::string GgufTensors::description() const {
  std::map<std::string, int64_t> counts;
  for (const auto& [name, part] : places_) {
    if (part.kind == GgufEntry::Kind::kWeight) ++counts[std::string(gguf_type_info(part.from.tensor->type).name)];
  }
  std::string types;
  for (const auto& [name, count] : counts) types += fmt::format("{}{} {}", types.empty() ? "" : ", ", count, name);
  return fmt::format("gguf, {}: {}", architecture_, types);
}

int64_t GgufTensors::bytes() const {
  int64_t total = 0;
  for (const auto& [name, from] : stored_) total += from.tensor->bytes;
  return total;
}

std::vector<std::string> GgufTensors::paths() const {
  std::vector<std::string> paths;
  for (const auto& file : files_) paths.push_back(file->path());
  return paths;
}

void GgufTensors::forget() const {
  for (const auto& file : files_) file->forget();
}

std::vector<std::string> GgufTensors::unused() const {
  std::vector<std::string> names;
  for (const auto& [name, from] : stored_)
    if (!from.is_used) names.push_back(name);
  return names;
}

}  // namespace ockham
