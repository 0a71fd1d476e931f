// Compresses with the pipeline, opens the packed result, and makes the world once for all cells.
#include "ockham/study/torch_backend.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "ockham/core/parallel.h"
#include "ockham/io/file.h"
#include "ockham/pipeline/compress.h"
#include "ockham/pipeline/estimate.h"
#include "ockham/pipeline/torch_language_model.h"
#include "ockham/runtime/native_language_model.h"
#include "ockham/tensor/device.h"
#include "ockham/world/texts.h"
#include "ockham/world/world.h"

namespace ockham {
namespace {

class TorchBackend final : public StudyBackend {
 public:
  explicit TorchBackend(std::string device) : device_(std::move(device)) {}

  ModelInfo describe(const std::string& path) override {
    const Checkpoint checkpoint(path);
    ModelInfo info;
    info.path = path;
    info.sha256 = checkpoint.sha256();
    info.parameters = checkpoint.parameters();
    info.bytes = checkpoint.bytes();
    info.context_length = checkpoint.config().context_length;
    info.vocabulary = checkpoint.config().vocabulary;
    return info;
  }

  void check(const std::string& path, const Recipe& recipe) override { plan_recipe(recipe, Checkpoint(path).config()); }

  std::string data_sha256(const std::string& data) override {
    if (world_split(data).empty()) return sha256_file(data);
    const std::lock_guard lock(mutex_);
    return world().sha256();
  }

  using StudyBackend::open;
  CompressedModel open(const std::string& path, std::optional<uint64_t> noise_seed) override {
    return describe_opened(path, open_model(path, noise_seed, {}));
  }
  CompressedModel open_cached(const std::string& path, const KvPolicy& kv) override {
    return describe_opened(path, open_model(path, {}, kv));
  }
  CompressedModel compress(const std::string& path, const Recipe& recipe, const std::string& directory) override {
    CompressOptions options;
    options.text_source = [this](const std::string& name) {
      const std::string split = world_split(name);
      if (split.empty()) return std::vector<Document>{};
      const std::lock_guard lock(mutex_);
      return world().documents(split);
    };
    options.device = open_device(device_);
    options.overwrite = true;
    const CompressionResult packed = ockham::compress(path, recipe, directory, options);
    CompressedModel result = open(directory);
    result.bytes = static_cast<double>(packed.bytes);
    result.sparsity = packed.sparsity;
    result.bits = packed.mean_bits;
    result.seconds = packed.seconds;
    if (packed.report.contains("tensors") && !packed.report["tensors"].empty()) {
      for (const auto& tensor : packed.report["tensors"].items())
        result.layer_error += tensor.value().value("error", 0.0);
      result.layer_error /= static_cast<double>(packed.report["tensors"].size());
    }
    if (packed.report.contains("warnings"))
      for (const Json& warning : packed.report["warnings"]) result.warnings.push_back(warning.get<std::string>());
    return result;
  }

  Estimate estimate(const std::string& path, const Recipe* recipe) override {
    const Checkpoint checkpoint(path);
    if (recipe == nullptr) return {0, checkpoint.bytes(), 2 * checkpoint.bytes()};
    const RecipeEstimate estimate =
        estimate_recipe(checkpoint, *recipe, arithmetic_dtype(checkpoint.config().dtype, open_device(device_)));
    return {estimate.seconds, estimate.output_bytes, estimate.peak_bytes};
  }

  EvalOptions eval_options() override {
    EvalOptions options;
    options.world_items = [this](const std::string& suite) {
      const std::lock_guard lock(mutex_);
      // Making a suite takes longer than reading it again for every model.
      const auto known = suites_.find(suite);
      return known != suites_.end() ? known->second : suites_.emplace(suite, world().items(suite)).first->second;
    };
    options.world_text = [this](const std::string& split) {
      const std::lock_guard lock(mutex_);
      return world().text(split);
    };
    return options;
  }

  // Operations of small models are too short to share among threads.
  int workers(const std::vector<ModelInfo>& models) override {
    const bool are_small = std::all_of(models.begin(), models.end(),
                                       [](const ModelInfo& model) { return model.parameters < kSmallModel; });
    return are_small && device_ == "cpu" ? thread_count() : 1;
  }
  void set_workers(int count) override {
    threads_ = std::max(1, thread_count() / count);
    at::set_num_threads(threads_);
  }

 private:
  static CompressedModel describe_opened(const std::string& path, std::unique_ptr<LanguageModel> model) {
    const Checkpoint checkpoint(path);
    CompressedModel result;
    result.bytes = static_cast<double>(checkpoint.bytes());
    result.bits = 8.0 * static_cast<double>(dtype_size(checkpoint.config().dtype));
    result.sha256 = model->info().sha256;
    result.model = std::move(model);
    return result;
  }

  // On the processor the native engine, in float32. Noise is of weights, which only libtorch changes: in float32, too,
  // so that it is all that differs.
  std::unique_ptr<LanguageModel> open_model(const std::string& path, std::optional<uint64_t> noise_seed,
                                            const std::optional<KvPolicy>& kv) {
    const bool is_native = device_ == "cpu" && !noise_seed;
    if (!is_native && kv)
      throw_error(ErrorKind::kUnsupported, "KV cache {}: libtorch keeps whole caches; leave --device {} out",
                  kv->text(), device_);
    if (is_native) {
      NativeLanguageModel::Options options;
      options.engine.threads = threads_;
      options.engine.precision = ReadPrecision::kExact;
      options.kv = kv;
      return std::make_unique<NativeLanguageModel>(path, options);
    }
    TorchLanguageModel::Options options{.device = device_, .dtype = {}, .noise_seed = noise_seed};
    if (device_ == "cpu") options.dtype = DType::kF32;
    return std::make_unique<TorchLanguageModel>(path, options);
  }

  static constexpr int64_t kSmallModel = 50'000'000;

  const World& world() {
    if (world_ == nullptr) world_ = std::make_unique<World>();
    return *world_;
  }

  std::string device_;
  int threads_ = 0;   // of one model; 0: all
  std::mutex mutex_;  // of what follows
  std::unique_ptr<World> world_;
  std::map<std::string, std::vector<Json>> suites_;
};

}  // namespace

std::unique_ptr<StudyBackend> make_torch_backend(const std::string& device) {
  return std::make_unique<TorchBackend>(device);
}

}  // namespace ockham
