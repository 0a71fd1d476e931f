// An estimate for a model whose weights are not here: a random block of its shape is tried.
#include <ATen/core/grad_mode.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>

#include "ockham/core/memory.h"
#include "ockham/core/stopwatch.h"
#include "ockham/model/families.h"
#include "ockham/pipeline/estimate.h"
#include "ockham/pipeline/layer_statistics.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr int64_t kTrialTokens = 2048;

int64_t trial_width(const Recipe& recipe, const ModelConfig& config) {
  return std::min(recipe.calibration.tokens, config.context_length);
}

// One block, calibrated on made-up inputs and compressed.
struct Trial {
  double forward_per_token = 0, compress_seconds = 0;
  int64_t weights = 0, written = 0;  // of the linears: numbers, bytes afterwards
};

Trial try_block(Block& block, const ModelConfig& config, const Recipe& recipe, const RecipePlan& plan, DType dtype) {
  Trial result;
  StatisticsCollector statistics(plan.needs);
  if ((plan.needs | plan.allocation_needs) != kNeedsNothing) {
    Decoder frame;
    frame.config = config;
    frame.embedding = at::zeros({1, 1}, to_scalar_type(dtype));
    const int64_t trial = std::min(trial_width(recipe, config), kTrialTokens);
    const Tensor hidden = at::randn({1, trial, config.hidden_size}).to(to_scalar_type(dtype));
    BlockContext context = frame.make_context(1, trial, nullptr, {});
    context.observer = &statistics;
    block.forward(hidden, context);  // the first forward pays for buffers
    const Stopwatch watch;
    block.forward(hidden, context);
    result.forward_per_token = watch.seconds() / static_cast<double>(trial);
  }
  const Stopwatch watch;
  for (Linear& linear : block.linears) {
    result.weights += weight_rows(linear.weight) * weight_columns(linear.weight);
    bool is_target = false;
    for (const PlannedStep& step : plan.steps) {
      if (step.method == nullptr || !step.targets.contains(linear.name)) continue;
      LayerStats stats = needs_statistics(step.method->needs()) ? statistics.stats(linear) : LayerStats{};
      stats.contrast_mean_square = stats.mean_square;
      stats.original = weight_values(linear.weight);
      stats.stored = to_scalar_type(config.dtype);
      if ((plan.needs & kNeedsGradients) != 0) {
        const Tensor rows = at::ones({stats.original.size(0)}), columns = at::ones({stats.original.size(1)});
        stats.gradients = {rows, columns, columns, at::ones({rows.size(0)}, at::kDouble)};
      }
      step.method->compress(linear, stats);
      is_target = true;
    }
    linear.weight = weight_to(linear.weight, to_scalar_type(config.dtype));
    if (is_target) linear.weight = pack_if_smaller(linear.weight);
    result.written += weight_bytes(linear.weight);
  }
  result.compress_seconds = watch.seconds();
  return result;
}

// A block's costs, for a model of this config: `trial` is of its own first block, or scaled to it.
RecipeEstimate whole_model(const ModelConfig& config, const Recipe& recipe, const RecipePlan& plan, DType dtype,
                           const Trial& trial, double read_seconds) {
  const bool is_calibrated = (plan.needs | plan.allocation_needs) != kNeedsNothing;
  int64_t tokens = recipe.calibration.samples * trial_width(recipe, config);
  if ((plan.needs & kNeedsContrast) != 0)
    tokens += recipe.contrast.samples * std::min(recipe.contrast.tokens, config.context_length);
  // In memory and on disk.
  const int64_t element = dtype_size(dtype), stored = dtype_size(config.dtype);
  int64_t block_bytes = 0, largest = 0, frame_weights = 0, other_weights = 0;
  for (const LinearSpec& spec : block_linears(config, 0)) {
    block_bytes += spec.rows * spec.columns * element;
    largest = std::max(largest, spec.rows * spec.columns);
  }
  for (const FrameTensor& tensor : frame_tensors(config)) frame_weights += c10::multiply_integers(tensor.shape);
  for (const BlockTensor& tensor : block_tensors(config, 0)) other_weights += c10::multiply_integers(tensor.shape);

  RecipeEstimate estimate;
  const double blocks = static_cast<double>(config.blocks);
  // Every block is read, forwarded twice (once in the last) and written, which costs about what reading does.
  // Gradients take a forward, the same again and twice as much backwards.
  const double passes = 2 * blocks - 1 + (plan.allocation_needs != kNeedsNothing ? blocks : 0) +
                        ((plan.needs & kNeedsGradients) != 0 ? 4 * blocks : 0);
  estimate.forward_seconds = trial.forward_per_token * static_cast<double>(tokens) * passes;
  estimate.seconds = estimate.forward_seconds + blocks * (trial.compress_seconds + 2 * read_seconds);
  estimate.output_bytes = config.blocks * (trial.written + other_weights * stored) + frame_weights * stored;
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

// The model made narrower, its proportions kept as far as groups of 128 and whole heads allow.
ModelConfig narrowed(const ModelConfig& config) {
  constexpr int64_t kTrialWidth = 512, kGroup = 128;
  ModelConfig result = config;
  result.vocabulary = std::min<int64_t>(config.vocabulary, 64);
  if (config.hidden_size <= kTrialWidth) return result;
  const auto scaled = [&](int64_t size) {
    if (size == 0) return size;
    const double exact = static_cast<double>(size) * kTrialWidth / static_cast<double>(config.hidden_size);
    return std::max<int64_t>(1, std::llround(exact / kGroup)) * kGroup;
  };
  result.hidden_size = kTrialWidth;
  result.intermediate_size = scaled(config.intermediate_size);
  result.expert_size = scaled(config.expert_size);
  result.shared_expert_size = scaled(config.shared_expert_size);
  result.embedding_size = scaled(config.embedding_size);
  result.heads = std::max<int64_t>(1, config.heads * kTrialWidth / config.hidden_size);
  result.kv_heads = std::max<int64_t>(1, config.kv_heads * result.heads / config.heads);
  while (result.heads % result.kv_heads != 0) --result.kv_heads;
  return result;
}

// Operations on a block's linears: products with inputs and choices per weight (R C), or solving by second-order
// methods (C^3 + R C^2).
double operations(const ModelConfig& config, bool solves) {
  double sum = 0;
  for (const LinearSpec& spec : block_linears(config, 0)) {
    const auto rows = static_cast<double>(spec.rows), columns = static_cast<double>(spec.columns);
    sum += solves ? columns * columns * (columns + rows) : rows * columns;
  }
  return sum;
}

}  // namespace

RecipeEstimate estimate_recipe(const ModelConfig& config, const Recipe& recipe, DType dtype) {
  const at::NoGradGuard no_grad;
  const ModelConfig narrow = narrowed(config);
  ModelConfig one = narrow;
  one.blocks = 1;
  const std::unique_ptr<Decoder> decoder = Decoder::random(one, 1, dtype);
  RecipePlan plan = plan_recipe(recipe, narrow);
  Trial trial = try_block(decoder->blocks[0], narrow, recipe, plan, dtype);
  const bool solves = (plan.needs & kNeedsGram) != 0;
  const double weights = operations(config, false), ratio = weights / operations(narrow, false);
  trial.forward_per_token *= ratio;
  trial.compress_seconds *= solves ? operations(config, true) / operations(narrow, true) : ratio;
  trial.written = std::llround(static_cast<double>(trial.written) / static_cast<double>(trial.weights) * weights);
  plan = plan_recipe(recipe, config);  // refuses what does not fit the real shape
  constexpr double kDiskBytesPerSecond = 5e8;
  const double read_seconds = weights * static_cast<double>(dtype_size(config.dtype)) / kDiskBytesPerSecond;
  RecipeEstimate estimate = whole_model(config, recipe, plan, dtype, trial, read_seconds);
  // Second moments of the four inputs of a block, and a factor of the largest.
  if (solves) {
    int64_t grams = 0, largest = 0;
    std::set<int64_t> seen;
    for (const LinearSpec& spec : block_linears(config, 0)) {
      if (seen.insert(spec.role == kKey || spec.role == kValue ? kQuery : spec.role == kUp ? kGate : spec.role).second)
        grams += spec.columns * spec.columns;
      largest = std::max(largest, spec.columns * spec.columns);
    }
    estimate.peak_bytes += 4 * (grams + largest);
  }
  return estimate;
}

}  // namespace ockham
