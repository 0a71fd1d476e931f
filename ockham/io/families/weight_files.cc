// Opening of weight files, and the names of their tensors.
#include "ockham/io/families/weight_files.h"

#include <fmt/ranges.h>

#include <filesystem>
#include <set>

#include "ockham/core/error.h"
#include "ockham/io/families/families.h"
#include "ockham/io/families/stacked_experts.h"
#include "ockham/io/json.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

constexpr const char* kIndexName = "model.safetensors.index.json";
constexpr const char* kSingleName = "model.safetensors";

// A file of pickled weights: pytorch_model.bin and its shards, or consolidated.00.pth; "" for none.
std::string find_pickle(const std::string& directory) {
  std::string first;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    const bool is_pickle = (name.starts_with("pytorch_model") && name.ends_with(".bin")) || name.ends_with(".pth");
    if (is_pickle && (first.empty() || name < first)) first = name;
  }
  return first;
}

// Names of the weight files; for shards in the order of their names, each one that the index asks for.
std::vector<std::string> find_weight_files(const std::string& directory,
                                           std::map<std::string, std::string>& weight_map) {
  const fs::path index_path = fs::path(directory) / kIndexName, single = fs::path(directory) / kSingleName;
  if (!fs::exists(index_path)) {
    if (fs::exists(single)) return {kSingleName};
    if (const std::string pickle = find_pickle(directory); !pickle.empty()) {
      throw_error(
          ErrorKind::kUnsupported,
          "{}: found {} and no safetensors, expected safetensors; opening such a file may run code hidden in it, "
          "so it is not read here. If you trust it, convert it once: python3 -c \"from transformers import "
          "AutoModelForCausalLM as M, AutoTokenizer as T; a, b = '{}', '{}-safetensors'; "
          "M.from_pretrained(a, dtype='auto').save_pretrained(b); T.from_pretrained(a).save_pretrained(b)\"",
          directory, pickle, directory, directory);
    }
    throw_input("{}: found neither {} nor {}; name a model directory with safetensors weights, or download it again",
                directory, kSingleName, kIndexName);
  }
  const Json index = read_json_file(index_path.string());
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    throw_input("{}: key 'weight_map' is missing, expected an object of tensor and file names", index_path.string());
  }
  std::set<std::string> files;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    if (!file.is_string()) throw_input("{}: weight_map entry '{}' is not a file name", index_path.string(), tensor);
    const std::string name = file.get<std::string>();
    if (name.empty() || name.find('/') != std::string::npos || name.find('\\') != std::string::npos) {
      throw_input("{}: weight_map entry '{}' is '{}', expected a file name in the same directory", index_path.string(),
                  tensor, name);
    }
    if (files.insert(name).second && !fs::exists(fs::path(directory) / name)) {
      throw_input("{}: shard '{}' is missing, {} names it for tensor '{}'; download the model again", directory, name,
                  kIndexName, tensor);
    }
    weight_map[tensor] = name;
  }
  return {files.begin(), files.end()};
}

}  // namespace

bool is_float_dtype(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

WeightFiles::WeightFiles(const std::string& directory, const std::string& config_path)
    : directory_(directory), config_path_(config_path) {
  open_files();
}

void WeightFiles::open_files() {
  std::map<std::string, std::string> weight_map;
  for (const std::string& name : find_weight_files(directory_, weight_map)) {
    files_.push_back(std::make_unique<SafetensorsFile>((fs::path(directory_) / name).string()));
    const SafetensorsFile& file = *files_.back();
    for (const TensorInfo& info : file.tensors()) {
      const auto mapped = weight_map.find(info.name);
      if (!weight_map.empty() && (mapped == weight_map.end() || mapped->second != name)) continue;
      places_[info.name] = {&file, &info};
    }
  }
  for (const auto& [tensor, name] : weight_map) {
    if (!places_.contains(tensor)) {
      throw_input("{}: tensor '{}' is not in shard '{}' as {} says; download the model again", directory_, tensor, name,
                  kIndexName);
    }
  }
}

void WeightFiles::rename(const ModelConfig& config) {
  add_prefix(config);
  split_experts(config);
}

void WeightFiles::add_prefix(const ModelConfig& config) {
  const Family& family = *find_family(config.family);
  const std::string embedding = std::string(family.embedding) + ".weight";
  const size_t cut = embedding.find('.') + 1;
  if (places_.contains(embedding) || !places_.contains(embedding.substr(cut))) return;
  std::map<std::string, Place> named;
  for (const auto& [name, place] : places_)
    named[name == std::string(family.head) + ".weight" ? name : embedding.substr(0, cut) + name] = place;
  places_ = std::move(named);
}

// Tensors for all experts of a block become those of single ones; mixtral's router has another name beside them.
void WeightFiles::split_experts(const ModelConfig& config) {
  if (config.experts == 0) return;
  const Family& family = *find_family(config.family);
  std::vector<std::string> stacked;
  for (const auto& [name, place] : places_) {
    TensorInfo named = *place.info;
    named.name = name;
    std::vector<TensorInfo> parts = split_stacked_experts(config, named, place.file->path());
    if (parts.empty()) continue;
    stacked.push_back(name);
    for (TensorInfo& part : parts) expert_infos_.emplace_back(place.file, std::move(part));
  }
  for (const std::string& name : stacked) places_.erase(name);
  for (const auto& [file, info] : expert_infos_) {
    if (!places_.emplace(info.name, Place{file, &info}).second)
      throw_input("{}: tensor '{}' is stored twice, for itself and among those of all experts; remove one of the two",
                  directory_, info.name);
  }
  for (int64_t i = 0; i < config.blocks; ++i) {
    const std::string prefix = block_prefix(family, i);
    const auto found = places_.find(prefix + "mlp.gate.weight");
    const std::string router = prefix + std::string(family.router) + ".weight";
    if (found == places_.end() || places_.contains(router)) continue;
    places_[router] = found->second;
    places_.erase(prefix + "mlp.gate.weight");
  }
}

const TensorInfo* WeightFiles::find(const std::string& name) const {
  const auto found = places_.find(name);
  return found == places_.end() ? nullptr : found->second.info;
}

StoredTensor WeightFiles::expect(const std::string& name, const std::vector<int64_t>& shape) const {
  const auto found = places_.find(name);
  if (found == places_.end()) {
    throw_input(
        "{}: tensor '{}' is missing from {} weight file(s), expected shape {}; download the model again, or correct {}",
        directory_, name, files_.size(), shape_text(shape), config_path_);
  }
  const auto& [file, info] = found->second;
  bool fits = info->shape.size() == shape.size();
  for (size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] < 0 || shape[i] == info->shape[i];
  if (!fits) {
    throw_input("{}: tensor '{}' has shape {}, expected {} from {}; config and weights are not of one model",
                file->path(), name, shape_text(info->shape), shape_text(shape), config_path_);
  }
  return {name, file->path(), info->dtype, info->shape, file->data(*info)};
}

StoredTensor WeightFiles::expect_float(const std::string& name, const std::vector<int64_t>& shape) const {
  StoredTensor tensor = expect(name, shape);
  if (!is_float_dtype(tensor.dtype)) {
    throw_error(ErrorKind::kUnsupported,
                "{}: tensor '{}' has dtype {}, expected F32, F16 or BF16; convert the model first", tensor.path, name,
                dtype_name(tensor.dtype));
  }
  return tensor;
}

int64_t WeightFiles::bytes() const {
  int64_t total = 0;
  for (const auto& [name, place] : places_) total += place.info->end - place.info->begin;
  return total;
}

void WeightFiles::forget() const {
  for (const auto& file : files_) file->forget();
}

}  // namespace ockham
