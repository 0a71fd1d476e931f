// Shapes in place of models.
#include "ockham/study/plan_backend.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/model/known_shapes.h"
#include "ockham/pipeline/estimate.h"
#include "ockham/tensor/device.h"

namespace ockham {
namespace {

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

// Of a product of float32 matrices of a model's size, best of three.
double measure_flops() {
  const at::NoGradGuard no_grad;
  constexpr int64_t kRows = 256, kWidth = 4096;
  const at::Tensor inputs = at::randn({kRows, kWidth}), weights = at::randn({kWidth, kWidth});
  double best = 1e30;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    at::linear(inputs, weights);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return 2.0 * kRows * kWidth * kWidth / best;
}

}  // namespace

void PlanBackend::assume(const std::string& text) {
  if (std::find(assumptions_.begin(), assumptions_.end(), text) == assumptions_.end()) assumptions_.push_back(text);
}

const ModelConfig* PlanBackend::shape_of(const std::string& path) const {
  const auto found = configs_.find(path);
  return found == configs_.end() ? nullptr : &found->second;
}

ModelInfo PlanBackend::describe(const std::string& path) {
  std::string problem;
  try {
    return inner_.describe(path);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kInput && error.kind() != ErrorKind::kUnsupported) throw;
    problem = first_line(error.what());
  }
  const KnownShape shape = known_shape(path, shapes_);
  configs_[path] = shape.config;
  assume(fmt::format("{}: planned with the {} ({})", path, shape.origin, problem));
  ModelInfo info;
  info.path = path;
  info.sha256 = sha256_text("shape of " + path);
  info.parameters = parameter_count(shape.config);
  info.bytes = info.parameters * dtype_size(shape.config.dtype);
  info.context_length = shape.config.context_length;
  info.vocabulary = shape.config.vocabulary;
  return info;
}

void PlanBackend::check(const std::string& path, const Recipe& recipe) {
  if (const ModelConfig* config = shape_of(path))
    plan_recipe(recipe, *config);
  else
    inner_.check(path, recipe);
}

std::string PlanBackend::data_sha256(const std::string& data) {
  try {
    return inner_.data_sha256(data);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kInput) throw;
    assume(fmt::format("calibration data {}: planned without ({})", data, first_line(error.what())));
    return sha256_text("not here: " + data);
  }
}

CompressedModel PlanBackend::open(const std::string& path, std::optional<uint64_t>) {
  throw_error(ErrorKind::kInternal, "a plan opens no model, found '{}'", path);
}
CompressedModel PlanBackend::compress(const std::string& path, const Recipe&, const std::string&) {
  throw_error(ErrorKind::kInternal, "a plan compresses no model, found '{}'", path);
}

StudyBackend::Estimate PlanBackend::estimate(const std::string& path, const Recipe* recipe) {
  const ModelConfig* config = shape_of(path);
  if (config == nullptr) return inner_.estimate(path, recipe);
  if (recipe == nullptr) {
    const int64_t bytes = parameter_count(*config) * dtype_size(config->dtype);
    return {0, bytes, 2 * bytes};
  }
  const std::string key = config->to_json().dump() + recipe->to_yaml();
  if (!trials_.contains(key)) {
    const RecipeEstimate trial = estimate_recipe(*config, *recipe, arithmetic_dtype(config->dtype, at::kCPU));
    trials_[key] = {trial.seconds, trial.output_bytes, trial.peak_bytes};
    assume("seconds of compression: from a random block of width 512 on this machine, scaled up by its operations");
  }
  return trials_[key];
}

double PlanBackend::flops_per_second(const std::string& path) {
  if (shape_of(path) == nullptr) return inner_.flops_per_second(path);
  if (measured_flops_ == 0) {
    measured_flops_ = measure_flops();
    assume(fmt::format("seconds of the tasks: from {:.0f} GFLOP/s, which a float32 matrix product reaches here now",
                       measured_flops_ / 1e9));
  }
  return measured_flops_;
}

}  // namespace ockham
