// Opening and reading of model directories.
#include "ockham/model/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <set>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/families/weight_files.h"
#include "ockham/io/hub_cache.h"
#include "ockham/model/families.h"
#include "ockham/model/foreign_reader.h"
#include "ockham/model/gguf_model.h"
#include "ockham/model/packed.h"
#include "ockham/tensor/ops.h"

namespace ockham {

namespace fs = std::filesystem;

struct Checkpoint::State {
  using Place = WeightFiles::Place;
  std::unique_ptr<WeightFiles> weights;
  std::unique_ptr<GgufModel> gguf;         // instead of weight files
  std::map<std::string, Place> places;     // of either
  std::map<std::string, Json> packed;      // record by linear name
  std::unique_ptr<ForeignReader> foreign;  // of a checkpoint that another tool compressed
  std::set<std::string> foreign_linears;   // fused ones by the name of the whole
  const Family* family = nullptr;
  std::string directory, config_path;
  mutable std::string sha256;
  std::set<std::string> explained;

  void open_files(const ModelConfig& config);
  const std::string& path_of(const Place& place) const { return gguf != nullptr ? directory : place.file->path(); }
  void read_packed_records(const Json& config);
  // The place of a tensor with this shape (-1: any size); Error(kInput) otherwise.
  const Place& expect(const std::string& name, const std::vector<int64_t>& shape) const;
  void explain(const std::string& name, const std::vector<int64_t>& shape);
  void explain_linear(const LinearSpec& spec, const std::string& prefix);
  // True where the linear lies in its fused tensor rather than under its own name.
  bool is_stored_fused(const LinearSpec& spec, const std::string& prefix) const;
  // The tensors of a linear that another tool compressed, explained; false where it is a plain one.
  bool explain_foreign(const std::string& name, int64_t rows, int64_t columns);
  // The tensor as it is stored, copied out of the file's mapping.
  Tensor load(const std::string& name, const std::vector<int64_t>& shape) const;
  // The same, refused when it holds anything but finite numbers.
  Tensor load_float(const std::string& name, const std::vector<int64_t>& shape) const;
};

void Checkpoint::State::open_files(const ModelConfig& config) {
  if (gguf != nullptr) {
    for (const TensorInfo& info : gguf->tensors()) places[info.name] = {nullptr, &info};
    return;
  }
  weights = std::make_unique<WeightFiles>(directory, config_path);
  weights->rename(config);
  places = weights->places();
}

void Checkpoint::State::read_packed_records(const Json& config) {
  if (gguf == nullptr) foreign = ForeignReader::detect(config, directory);
  if (foreign != nullptr || gguf != nullptr) return;
  const auto quantization = config.find("quantization_config");
  if (quantization == config.end() || quantization->is_null()) return;
  const auto modules = quantization->find("modules");
  if (modules == quantization->end() || !modules->is_object()) {
    throw_input("{}: key 'quantization_config.modules' is missing, expected one record per packed weight", config_path);
  }
  for (const auto& [name, record] : modules->items()) packed[name] = record;
}

const Checkpoint::State::Place& Checkpoint::State::expect(const std::string& name,
                                                          const std::vector<int64_t>& shape) const {
  const auto found = places.find(name);
  if (found == places.end()) {
    throw_input(
        "{}: tensor '{}' is missing from {} weight file(s), expected shape {}; download the model again, or correct {}",
        directory, name, weights == nullptr ? 1 : weights->files().size(), shape_text(shape), config_path);
  }
  const TensorInfo& info = *found->second.info;
  bool fits = info.shape.size() == shape.size();
  for (size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] < 0 || shape[i] == info.shape[i];
  if (!fits) {
    throw_input("{}: tensor '{}' has shape {}, expected {} from {}; config and weights are not of one model",
                path_of(found->second), name, shape_text(info.shape), shape_text(shape), config_path);
  }
  return found->second;
}

void Checkpoint::State::explain(const std::string& name, const std::vector<int64_t>& shape) {
  const Place& place = expect(name, shape);
  if (!is_float_dtype(place.info->dtype)) {
    throw_error(ErrorKind::kUnsupported,
                "{}: tensor '{}' has dtype {}, expected F32, F16 or BF16; convert the model first", path_of(place),
                name, dtype_name(place.info->dtype));
  }
  explained.insert(name);
}

bool Checkpoint::State::is_stored_fused(const LinearSpec& spec, const std::string& prefix) const {
  const std::string name = prefix + spec.name;
  return spec.is_fused() && !packed.contains(name) && !places.contains(name + ".weight") &&
         (foreign == nullptr || places.contains(prefix + spec.stored + ".weight"));
}

bool Checkpoint::State::explain_foreign(const std::string& name, int64_t rows, int64_t columns) {
  if (foreign == nullptr) return false;
  const auto suffixes = foreign->check(name, rows, columns, [this](const std::string& tensor) {
    const auto found = places.find(tensor);
    return found == places.end() ? nullptr : found->second.info;
  });
  if (suffixes.empty()) return false;
  foreign_linears.insert(name);
  for (const std::string& suffix : suffixes) explained.insert(name + suffix);
  return true;
}

void Checkpoint::State::explain_linear(const LinearSpec& spec, const std::string& prefix) {
  const std::string name = prefix + spec.name;
  const int64_t rows = spec.rows, columns = spec.columns;
  if (spec.is_fused() && !spec.is_transposed && explain_foreign(prefix + spec.stored, spec.stored_rows, columns)) {
    if (spec.has_bias) explain(prefix + spec.stored + ".bias", {spec.stored_rows});
    return;
  }
  if (is_stored_fused(spec, prefix)) {
    const std::vector<int64_t> shape = spec.is_transposed ? std::vector<int64_t>{columns, spec.stored_rows}
                                                          : std::vector<int64_t>{spec.stored_rows, columns};
    explain(prefix + spec.stored + ".weight", shape);
    if (spec.has_bias) explain(prefix + spec.stored + ".bias", {spec.stored_rows});
    return;
  }
  const auto record = packed.find(name);
  if (explain_foreign(name, rows, columns)) {
    // all of its tensors are known
  } else if (record == packed.end()) {
    const bool is_transposed = spec.is_transposed && !spec.is_fused() && gguf == nullptr;
    explain(name + ".weight",
            is_transposed ? std::vector<int64_t>{columns, rows} : std::vector<int64_t>{rows, columns});
  } else {
    for (const PackedPart& part :
         packed_parts(parse_packed_record(record->second, config_path + ", modules, " + name, rows, columns))) {
      const Place& place = expect(name + part.suffix, part.shape);
      const DType dtype = place.info->dtype;
      if (part.is_bytes ? dtype != DType::kU8 : !is_float_dtype(dtype)) {
        throw_input("{}: tensor '{}' has dtype {}, expected {}; write the model again", path_of(place),
                    name + part.suffix, dtype_name(dtype), part.is_bytes ? "U8" : "F32, F16 or BF16");
      }
      explained.insert(name + part.suffix);
    }
  }
  if (spec.has_bias) explain(name + ".bias", {rows});
}

Tensor Checkpoint::State::load(const std::string& name, const std::vector<int64_t>& shape) const {
  const Place& place = expect(name, shape);
  const TensorInfo& info = *place.info;
  if (gguf != nullptr) return gguf->read_tensor(name);
  Tensor result = at::empty(info.shape, to_scalar_type(info.dtype));
  place.file->copy(info, result.mutable_data_ptr());
  return result;
}

Tensor Checkpoint::State::load_float(const std::string& name, const std::vector<int64_t>& shape) const {
  Tensor result = load(name, shape);
  const Place& place = places.at(name);
  if (!result.is_floating_point()) {
    throw_error(ErrorKind::kUnsupported,
                "{}: tensor '{}' has dtype {}, expected F32, F16 or BF16; convert the model first", path_of(place),
                name, dtype_name(place.info->dtype));
  }
  if (result.numel() == 0) return result;
  const auto [low, high] = at::aminmax(result);  // NaN spreads to both ends
  if (!low.isfinite().item<bool>() || !high.isfinite().item<bool>()) {
    const Tensor broken = result.flatten().isfinite().logical_not().nonzero().flatten();
    throw_input(
        "{}: tensor '{}' holds {} non-finite value(s), the first ({}) at element {}, expected finite numbers only; "
        "download the model again, or repair the training that wrote it",
        path_of(place), name, broken.size(0), result.flatten()[broken[0]].item<double>(), broken[0].item<int64_t>());
  }
  return result;
}

Checkpoint::Checkpoint(const std::string& model)
    : directory_(find_model_directory(model)), state_(std::make_shared<State>()) {
  State& state = *state_;
  state.directory = directory_;
  state.config_path = (fs::path(directory_) / "config.json").string();
  if (const std::string file = find_gguf(directory_); !file.empty()) {
    directory_ = state.directory = state.config_path = file;
    state.gguf = std::make_unique<GgufModel>(file);
  } else if (!fs::exists(state.config_path)) {
    throw_input("{}: config.json is missing, expected a Hugging Face model directory; name such a directory",
                directory_);
  }
  const Json json = state.gguf != nullptr ? state.gguf->config() : read_json_file(state.config_path);
  config_ = ModelConfig::parse(json, state.config_path);
  state.family = find_family(config_.family);
  state.open_files(config_);
  state.read_packed_records(json);

  const Family& family = *state.family;
  for (const FrameTensor& tensor : frame_tensors(config_)) state.explain(tensor.name, tensor.shape);
  for (int64_t index = 0; index < config_.blocks; ++index) {
    const std::string prefix = block_prefix(family, index);
    for (const BlockTensor& tensor : block_tensors(config_, index)) state.explain(prefix + tensor.name, tensor.shape);
    for (const LinearSpec& spec : block_linears(config_, index)) state.explain_linear(spec, prefix);
  }
  if (!json.contains("dtype") && !json.contains("torch_dtype")) {
    config_.dtype = state.places.at(std::string(family.embedding) + ".weight").info->dtype;
  }
  for (const auto& [name, place] : state.places) {
    // Old checkpoints store the rotary frequencies and the causal mask, and some a second copy of a tied head.
    const bool is_known = name.ends_with("rotary_emb.inv_freq") || name.ends_with(".attn.bias") ||
                          name.ends_with(".attn.masked_bias") || name.ends_with(".attention.bias") ||
                          name.ends_with(".attention.masked_bias") ||
                          (config_.tied_embeddings && name == std::string(family.head) + ".weight");
    if (!state.explained.contains(name) && !is_known) unused_.push_back(name);
  }
  if (!unused_.empty()) {
    log_warning(fmt::format("{}: {} tensor(s) are not part of a {} model and are ignored, such as '{}'", directory_,
                            unused_.size(), config_.family, unused_.front()));
  }
}

int64_t Checkpoint::parameters() const {
  return parameter_count(config_);
}

int64_t Checkpoint::bytes() const {
  int64_t total = 0;
  for (const auto& [name, place] : state_->places) total += place.info->end - place.info->begin;
  return total;
}

std::string Checkpoint::sha256() const {
  if (state_->sha256.empty()) {
    std::string lines;
    if (state_->gguf == nullptr) lines = "config.json " + sha256_file(state_->config_path) + "\n";
    if (state_->gguf != nullptr) {
      for (const std::string& path : state_->gguf->paths()) lines += sha256_file(path) + "\n";
    }
    if (state_->weights != nullptr) {
      for (const auto& file : state_->weights->files())
        lines += fs::path(file->path()).filename().string() + " " + sha256_file(file->path()) + "\n";
    }
    state_->sha256 = sha256_text(lines);
  }
  return state_->sha256;
}

const GgufModel* Checkpoint::gguf() const {
  return state_->gguf.get();
}

std::string Checkpoint::layout() const {
  if (state_->gguf != nullptr) return state_->gguf->description();
  if (state_->foreign != nullptr) return state_->foreign->description();
  return state_->packed.empty() ? "dense" : "ockham, packed";
}

bool Checkpoint::has_tensor(const std::string& name) const {
  return state_->places.contains(name);
}

Tensor Checkpoint::read_tensor(const std::string& name, DType dtype) const {
  const auto found = state_->places.find(name);
  const std::vector<int64_t> shape = found == state_->places.end() ? std::vector<int64_t>{} : found->second.info->shape;
  return state_->load_float(name, shape).to(to_scalar_type(dtype));
}

Weight Checkpoint::read_weight(const std::string& linear, DType dtype) const {
  if (state_->gguf != nullptr) {
    Weight weight = state_->gguf->read_weight(linear);
    if (std::holds_alternative<GroupIntWeight>(weight)) return weight;
    return DenseWeight{read_tensor(linear + ".weight", dtype)};
  }
  if (state_->foreign_linears.contains(linear)) {
    Weight foreign = state_->foreign->read(
        linear, [this](const std::string& name) { return state_->load(name, state_->places.at(name).info->shape); });
    if (auto* dense = std::get_if<DenseWeight>(&foreign)) dense->values = dense->values.to(to_scalar_type(dtype));
    return foreign;
  }
  const auto record = state_->packed.find(linear);
  if (record == state_->packed.end()) return DenseWeight{read_tensor(linear + ".weight", dtype)};
  const std::string where = state_->config_path + ", modules, " + linear;
  const Weight weight = unpack_weight(record->second, where, [&](const PackedPart& part) {
    return part.is_bytes ? state_->load(linear + part.suffix, part.shape)
                         : state_->load_float(linear + part.suffix, part.shape);
  });
  return weight_to(weight, to_scalar_type(dtype));
}

Block Checkpoint::read_block(int64_t index, DType dtype) const {
  const std::string prefix = block_prefix(*state_->family, index);
  Block block;
  block.config = &config_;
  block.index = index;
  for (const BlockTensor& tensor : block_tensors(config_, index))
    block.*tensor.member = read_tensor(prefix + tensor.name, dtype);
  std::map<std::string, Tensor> fused;  // read once for all of their parts
  std::map<std::string, Weight> fused_weights;
  const auto part_of = [&](const LinearSpec& spec, const char* suffix) {
    Tensor& whole = fused[spec.stored + suffix];
    if (!whole.defined()) {
      whole = read_tensor(prefix + spec.stored + suffix, dtype);
      if (spec.is_transposed && whole.dim() == 2) whole = whole.t();
    }
    return take_part(whole, spec);
  };
  for (const LinearSpec& spec : block_linears(config_, index)) {
    Linear linear;
    linear.name = prefix + spec.name;
    linear.role = spec.role;
    linear.expert = spec.expert;
    const std::string whole = prefix + spec.stored;
    if (spec.is_fused() && state_->foreign_linears.contains(whole)) {
      if (!fused_weights.contains(whole)) fused_weights[whole] = read_weight(whole, dtype);
      linear.weight = take_part(fused_weights.at(whole), spec);
      if (spec.has_bias) linear.bias = part_of(spec, ".bias");
    } else if (state_->is_stored_fused(spec, prefix)) {
      linear.weight = DenseWeight{part_of(spec, ".weight").contiguous()};
      if (spec.has_bias) linear.bias = part_of(spec, ".bias");
    } else {
      linear.weight = read_weight(linear.name, dtype);
      auto* dense = std::get_if<DenseWeight>(&linear.weight);
      const bool is_transposed = spec.is_transposed && !spec.is_fused() && state_->gguf == nullptr;
      if (dense != nullptr && is_transposed) dense->values = dense->values.t().contiguous();
      if (spec.has_bias) linear.bias = read_tensor(linear.name + ".bias", dtype);
    }
    block.linears.push_back(std::move(linear));
  }
  return block;
}

std::unique_ptr<Decoder> Checkpoint::read_frame(DType dtype, bool has_head) const {
  auto decoder = std::make_unique<Decoder>();
  decoder->config = config_;
  for (const FrameTensor& tensor : frame_tensors(config_)) {
    if (tensor.member != &Decoder::head || has_head) (*decoder).*tensor.member = read_tensor(tensor.name, dtype);
  }
  return decoder;
}

std::unique_ptr<Decoder> Checkpoint::read_all(DType dtype) const {
  std::unique_ptr<Decoder> decoder = read_frame(dtype);
  for (int64_t index = 0; index < config_.blocks; ++index) {
    decoder->blocks.push_back(read_block(index, dtype));
    decoder->blocks.back().config = &decoder->config;
  }
  return decoder;
}

}  // namespace ockham
