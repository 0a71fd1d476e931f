// The trial behind an estimate.
#include "ockham/pipeline/estimate.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <numeric>

#include "ockham/core/version.h"
#include "ockham/model/families.h"
#include "ockham/pipeline/layer_statistics.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr int64_t kTrialTokens = 2048;

class Timer {
 public:
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    return seconds;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

int64_t element_count(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

}  // namespace

RecipeEstimate estimate_recipe(const Checkpoint& checkpoint, const Recipe& recipe, DType dtype) {
  const at::NoGradGuard no_grad;
  const ModelConfig& config = checkpoint.config();
  const RecipePlan plan = plan_recipe(recipe, config);
  const bool is_calibrated = (plan.needs | plan.allocation_needs) != kNeedsNothing;
  const int64_t width = std::min(recipe.calibration.tokens, config.context_length),
                tokens = recipe.calibration.samples * width;
  // In memory and on disk.
  const int64_t element = dtype_size(dtype), stored = dtype_size(config.dtype);

  Timer timer;
  Block block = checkpoint.read_block(0, dtype);
  const double read_seconds = timer.lap();
  StatisticsCollector statistics(plan.needs);
  RecipeEstimate estimate;
  double forward_per_token = 0;
  if (is_calibrated) {
    Decoder frame;
    frame.config = config;
    frame.embedding = at::zeros({1, 1}, to_scalar_type(dtype));
    const int64_t trial = std::min(width, kTrialTokens);
    const Tensor hidden = at::randn({1, trial, config.hidden_size}).to(to_scalar_type(dtype));
    BlockContext context = frame.make_context(1, trial, nullptr, {});
    context.observer = &statistics;
    block.forward(hidden, context);  // the first forward pays for buffers
    timer.lap();
    block.forward(hidden, context);
    forward_per_token = timer.lap() / static_cast<double>(trial);
  }

  int64_t block_bytes = 0, largest = 0, written = 0;
  for (Linear& linear : block.linears) {
    const int64_t weights = weight_rows(linear.weight) * weight_columns(linear.weight);
    block_bytes += weights * element;
    largest = std::max(largest, weights);
    bool is_target = false;
    for (const PlannedStep& step : plan.steps) {
      if (step.method == nullptr || !step.targets.contains(linear.name)) continue;
      LayerStats stats = step.method->needs() != kNeedsNothing ? statistics.stats(linear) : LayerStats{};
      stats.original = weight_to_dense(linear.weight, at::kFloat);
      stats.stored = to_scalar_type(config.dtype);
      if ((plan.needs & kNeedsGradients) != 0) {
        const Tensor rows = at::ones({stats.original.size(0)}), columns = at::ones({stats.original.size(1)});
        stats.gradients = {rows, columns, columns};
      }
      step.method->compress(linear, stats);
      is_target = true;
    }
    linear.weight = weight_to(linear.weight, to_scalar_type(config.dtype));
    if (is_target) linear.weight = pack_if_smaller(linear.weight);
    written += weight_bytes(linear.weight);
  }
  const double compress_seconds = timer.lap();

  const double blocks = static_cast<double>(config.blocks);
  // Every block is read, forwarded twice (once in the last) and written, which costs about what reading does.
  // Gradients take a forward, the same again and twice as much backwards.
  const double passes = 2 * blocks - 1 + (plan.allocation_needs != kNeedsNothing ? blocks : 0) +
                        ((plan.needs & kNeedsGradients) != 0 ? 4 * blocks : 0);
  estimate.forward_seconds = forward_per_token * static_cast<double>(tokens) * passes;
  estimate.seconds = estimate.forward_seconds + blocks * (compress_seconds + 2 * read_seconds);
  int64_t frame_weights = 0, other_weights = 0;
  for (const FrameTensor& tensor : frame_tensors(config)) frame_weights += element_count(tensor.shape);
  for (const BlockTensor& tensor : block_tensors(config, 0)) other_weights += element_count(tensor.shape);
  estimate.output_bytes = config.blocks * (written + other_weights * stored) + frame_weights * stored;
  // Hidden states, one block with its unpacked copy, the frame while it is embedded, float32 copies of the largest
  // linear with its scores and mask, and the activations of one forward.
  const int64_t states = is_calibrated ? tokens * config.hidden_size * element : 0;
  const int64_t activations = is_calibrated ? std::min<int64_t>(tokens, 4096) *
                                                  (3 * config.intermediate_size + 6 * config.hidden_size) * element
                                            : 0;
  estimate.peak_bytes =
      peak_memory_bytes() + states + std::max(2 * block_bytes, frame_weights * element) + largest * 17 + activations;
  return estimate;
}

}  // namespace ockham
