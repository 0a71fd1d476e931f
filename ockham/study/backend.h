// What a study needs from the engines: describe, check, compress and open a model. One implementation on libtorch;
// tests script another.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/core/language_model.h"
#include "ockham/eval/evaluate.h"
#include "ockham/pipeline/recipe.h"

namespace ockham {

struct CompressedModel {
  std::unique_ptr<LanguageModel> model;
  double bytes = 0, sparsity = 0, bits = 0;  // of the packed model on disk
  double layer_error = 0;                    // relative Frobenius error of the weights, mean over compressed linears
  std::string sha256;
  std::vector<std::string> warnings;
  double seconds = 0;  // of compressing
};

class StudyBackend {
 public:
  virtual ~StudyBackend() = default;
  // Without reading weights beyond hashing them. Error(kInput) where there is no such model.
  virtual ModelInfo describe(const std::string& path) = 0;
  // Refuses a recipe that does not fit the model, before any work.
  virtual void check(const std::string& path, const Recipe& recipe) = 0;
  // Hash of calibration data: a file, or the name of a generated text.
  virtual std::string data_sha256(const std::string& data) = 0;
  // Opens the model as it is, or with noise of rounding size by a seed (TorchLanguageModel::Options).
  virtual CompressedModel open(const std::string& path, std::optional<uint64_t> noise_seed) = 0;
  CompressedModel open(const std::string& path) { return open(path, std::nullopt); }
  // Opens the model as it is, its KV cache compressed. Error(kUnsupported) where an engine cannot.
  virtual CompressedModel open_cached(const std::string& path, const KvPolicy& kv) {
    throw_error(ErrorKind::kUnsupported, "{}: this engine has no KV cache {}", path, kv.text());
  }
  // Compresses into `directory`, which the caller removes or keeps, and opens the result.
  virtual CompressedModel compress(const std::string& path, const Recipe& recipe, const std::string& directory) = 0;
  // Seconds, bytes and memory of a compression; null recipe: the dense model.
  struct Estimate {
    double seconds = 0;
    int64_t bytes = 0, peak_bytes = 0;
  };
  virtual Estimate estimate(const std::string& path, const Recipe* recipe) = 0;
  // What estimates of tasks reckon with.
  virtual double flops_per_second(const std::string& path) {
    (void)path;
    return 6e10;
  }
  // Item sources of the tasks.
  virtual EvalOptions eval_options() = 0;
  // How many models are worked on side by side, each on its share of the threads. Above 1 the other functions and the
  // models they give are called from so many threads at once.
  virtual int workers(const std::vector<ModelInfo>&) { return 1; }
  // Called around the work with that number, and with 1 afterwards.
  virtual void set_workers(int) {}
};

}  // namespace ockham
