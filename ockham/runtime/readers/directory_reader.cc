// Models in directories of safetensors: dense, in Ockham's container, or as other tools compress them.
#include <fmt/format.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/families/weight_files.h"
#include "ockham/io/file.h"
#include "ockham/io/json.h"
#include "ockham/runtime/readers/foreign_reader.h"
#include "ockham/runtime/readers/model_reader.h"
#include "ockham/runtime/readers/packed_reader.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

std::string config_path_of(const std::string& directory) {
  std::string path = (fs::path(directory) / "config.json").string();
  if (!fs::exists(path)) {
    throw_input("{}: config.json is missing, expected a Hugging Face model directory; name such a directory",
                directory);
  }
  return path;
}

// Tensors that old checkpoints hold beside the weights: rotary frequencies, causal masks, a second copy of a tied head.
bool is_leftover(const ModelConfig& config, const std::string& name) {
  return name.ends_with("rotary_emb.inv_freq") || name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") ||
         name.ends_with(".attention.bias") || name.ends_with(".attention.masked_bias") ||
         (config.tied_embeddings && name == std::string(find_family(config.family)->head) + ".weight");
}

class DirectoryReader final : public ModelReader {
 public:
  explicit DirectoryReader(const std::string& directory)
      : directory_(directory),
        config_path_(config_path_of(directory)),
        json_(read_json_file(config_path_)),
        config_(ModelConfig::parse(json_, config_path_)),
        weights_(directory, config_path_),
        foreign_(ForeignLayout::detect(json_, directory)) {
    weights_.rename(config_);
    if (foreign_ == nullptr) read_modules();
    explain_all();
    if (!json_.contains("dtype") && !json_.contains("torch_dtype"))
      config_.dtype = weights_.find(std::string(find_family(config_.family)->embedding) + ".weight")->dtype;
    warn_of_unused();
  }

  const ModelConfig& config() const override { return config_; }
  int64_t bytes() const override { return weights_.bytes(); }

  std::string hash_lines() const override {
    std::string lines = "config.json " + sha256_file(config_path_) + "\n";
    for (const auto& file : weights_.files())
      lines += fs::path(file->path()).filename().string() + " " + sha256_file(file->path()) + "\n";
    return lines;
  }

  std::string layout() const override {
    if (foreign_ != nullptr) return foreign_->description();
    return modules_.empty() ? fmt::format("dense {}", dtype_config_name(config_.dtype)) : "ockham, packed";
  }

  MatrixRows linear(const std::string& prefix, const LinearSpec& spec) const override {
    if (is_fused_foreign(prefix, spec)) return take_part(foreign_linear(prefix + spec.stored), spec);
    if (is_stored_fused(prefix, spec)) {
      const StoredTensor whole = weights_.expect_float(prefix + spec.stored + ".weight", fused_shape(spec));
      return take_part(dense_rows(whole, spec.is_transposed), spec);
    }
    const std::string name = prefix + spec.name;
    if (foreign_linears_.contains(name)) return foreign_linear(name);
    if (const auto record = records_.find(name); record != records_.end())
      return packed_rows(record->second, parts_of(name), config_.dtype);
    return dense_rows(weights_.expect_float(name + ".weight", own_shape(spec)), is_transposed(spec));
  }

  InputRule input_rule(const std::string& prefix, const LinearSpec& spec) const override {
    const auto record = records_.find(prefix + spec.name);
    return record == records_.end() ? InputRule() : packed_input_rule(record->second, parts_of(prefix + spec.name));
  }

  std::vector<float> bias(const std::string& prefix, const LinearSpec& spec) const override {
    if (!is_stored_fused(prefix, spec) && !is_fused_foreign(prefix, spec)) return vector(prefix + spec.name + ".bias");
    const std::vector<float> whole = vector(prefix + spec.stored + ".bias");
    std::vector<float> part(static_cast<size_t>(spec.rows));
    for (int64_t row = 0; row < spec.rows; ++row)
      part[static_cast<size_t>(row)] = whole[static_cast<size_t>(fused_row(spec, row))];
    return part;
  }

  MatrixRows matrix(const std::string& name) const override {
    return dense_rows(weights_.expect_float(name, {-1, -1}));
  }

  std::vector<float> vector(const std::string& name) const override {
    return read_floats(weights_.expect_float(name, weights_.find(name)->shape));
  }

  void forget() const override { weights_.forget(); }

 private:
  // Parts of a fused tensor are whole rows of it; alone they lie as [R, C] even where the family transposes.
  static bool is_transposed(const LinearSpec& spec) { return spec.is_transposed && !spec.is_fused(); }
  static std::vector<int64_t> own_shape(const LinearSpec& spec) {
    if (is_transposed(spec)) return {spec.columns, spec.rows};
    return {spec.rows, spec.columns};
  }
  static std::vector<int64_t> fused_shape(const LinearSpec& spec) {
    if (spec.is_transposed) return {spec.columns, spec.stored_rows};
    return {spec.stored_rows, spec.columns};
  }

  // Whether the linear lies in its fused tensor rather than under its own name.
  bool is_stored_fused(const std::string& prefix, const LinearSpec& spec) const {
    return spec.is_fused() && !modules_.contains(prefix + spec.name) &&
           weights_.find(prefix + spec.name + ".weight") == nullptr &&
           (foreign_ == nullptr || weights_.find(prefix + spec.stored + ".weight") != nullptr);
  }
  bool is_fused_foreign(const std::string& prefix, const LinearSpec& spec) const {
    return spec.is_fused() && foreign_linears_.contains(prefix + spec.stored);
  }

  MatrixRows foreign_linear(const std::string& name) const {
    const ForeignLinear& linear = foreign_linears_.at(name);
    const LoadStored load = [this](const std::string& tensor) {
      return weights_.expect(tensor, weights_.find(tensor)->shape);
    };
    GptqZeros used = linear.zeros;
    MatrixRows rows = foreign_rows({name, linear, load, config_.dtype}, used);
    if (used != linear.zeros && !is_warned_.exchange(true)) {
      log_warning(fmt::format("{}, but the zero points of '{}' are those of {}; read so", foreign_->zeros_label(), name,
                              used == GptqZeros::kStored ? "gptq_v2" : "gptq"));
    }
    return rows;
  }

  // The tensors of a linear that another tool compressed; false where it is a plain one.
  bool explain_foreign(const std::string& name, int64_t rows, int64_t columns) {
    if (foreign_ == nullptr) return false;
    std::optional<ForeignLinear> linear =
        foreign_->check(name, rows, columns, [this](const std::string& tensor) { return weights_.find(tensor); });
    if (!linear) return false;
    for (const std::string& suffix : linear->suffixes) explained_.insert(name + suffix);
    foreign_linears_.insert_or_assign(name, std::move(*linear));
    return true;
  }

  // Records of Ockham's container, by the linear's name.
  void read_modules() {
    const auto quantization = json_.find("quantization_config");
    if (quantization == json_.end() || quantization->is_null()) return;
    const auto modules = quantization->find("modules");
    if (modules == quantization->end() || !modules->is_object()) {
      throw_input("{}: key 'quantization_config.modules' is missing, expected one record per packed weight",
                  config_path_);
    }
    modules_ = *modules;
  }

  FindPart parts_of(const std::string& name) const {
    return [this, name](const PackedPart& part) {
      StoredTensor tensor = weights_.expect(name + part.suffix, part.shape);
      if (part.is_bytes ? tensor.dtype != DType::kU8 : !is_float_dtype(tensor.dtype)) {
        throw_input("{}: tensor '{}' has dtype {}, expected {}; write the model again", tensor.path, tensor.name,
                    dtype_name(tensor.dtype), part.is_bytes ? "U8" : "F32, F16 or BF16");
      }
      return tensor;
    };
  }

  void explain(const std::string& name, const std::vector<int64_t>& shape) {
    weights_.expect_float(name, shape);
    explained_.insert(name);
  }

  void explain_linear(const std::string& prefix, const LinearSpec& spec) {
    if (spec.is_fused() && !spec.is_transposed &&
        explain_foreign(prefix + spec.stored, spec.stored_rows, spec.columns)) {
      if (spec.has_bias) explain(prefix + spec.stored + ".bias", {spec.stored_rows});
      return;
    }
    const bool is_fused = is_stored_fused(prefix, spec);
    const std::string name = prefix + (is_fused ? spec.stored : spec.name);
    if (spec.has_bias) explain(name + ".bias", {is_fused ? spec.stored_rows : spec.rows});
    if (!is_fused && explain_foreign(name, spec.rows, spec.columns)) return;
    if (modules_.contains(name)) return explain_packed(name, spec);
    explain(name + ".weight", is_fused ? fused_shape(spec) : own_shape(spec));
  }

  void explain_packed(const std::string& name, const LinearSpec& spec) {
    const std::string where = config_path_ + ", modules, " + name;
    const PackedRecord record = parse_packed_record(modules_.at(name), where, spec.rows, spec.columns);
    for (const PackedPart& part : packed_parts(record)) {
      parts_of(name)(part);
      explained_.insert(name + part.suffix);
    }
    records_.emplace(name, record);
  }

  void explain_all() {
    for (const auto& tensor : frame_tensor_specs(config_)) explain(tensor.name, tensor.shape);
    for (int64_t block = 0; block < config_.blocks; ++block) {
      const std::string prefix = block_prefix(*find_family(config_.family), block);
      for (const auto& tensor : block_tensor_specs(config_, block)) explain(prefix + tensor.name, tensor.shape);
      for (const LinearSpec& spec : block_linears(config_, block)) explain_linear(prefix, spec);
    }
  }

  void warn_of_unused() const {
    int64_t count = 0;
    std::string first;
    for (const auto& [name, place] : weights_.places()) {
      if (explained_.contains(name) || is_leftover(config_, name)) continue;
      if (count++ == 0) first = name;
    }
    if (count > 0) {
      log_warning(fmt::format("{}: {} tensor(s) are not part of a {} model and are ignored, such as '{}'", directory_,
                              count, config_.family, first));
    }
  }

  std::string directory_, config_path_;
  Json json_;
  ModelConfig config_;
  WeightFiles weights_;
  std::unique_ptr<ForeignLayout> foreign_;                // null: no other tool's
  std::map<std::string, ForeignLinear> foreign_linears_;  // fused ones by the name of the whole
  mutable std::atomic<bool> is_warned_ = false;
  Json modules_ = Json::object();                // of Ockham's container
  std::map<std::string, PackedRecord> records_;  // the same, checked
  std::set<std::string> explained_;
};

}  // namespace

std::unique_ptr<ModelReader> open_directory(const std::string& directory) {
  return std::make_unique<DirectoryReader>(directory);
}

}  // namespace ockham
