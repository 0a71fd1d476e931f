// The trial behind an estimate: one block is measured, and what grows with the calibration data or the number of blocks
// is added.
#include "ockham/pipeline/estimate.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "ockham/core/memory.h"
#include "ockham/core/progress.h"
#include "ockham/core/stopwatch.h"
#include "ockham/model/families.h"
#include "ockham/model/packed.h"
#include "ockham/pipeline/block_run.h"
#include "ockham/tensor/allocator.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

int64_t linear_weights(const ModelConfig& config, int64_t block) {
  int64_t weights = 0;
  for (const LinearSpec& spec : block_linears(config, block)) weights += spec.rows * spec.columns;
  return weights;
}

int64_t other_weights(const ModelConfig& config, int64_t block) {
  int64_t weights = 0;
  for (const BlockTensor& tensor : block_tensors(config, block)) weights += c10::multiply_integers(tensor.shape);
  for (const LinearSpec& spec : block_linears(config, block)) weights += spec.has_bias ? spec.rows : 0;
  return weights;
}

}  // namespace

RecipeEstimate estimate_recipe(const Checkpoint& checkpoint, const Recipe& recipe, DType dtype) {
  const at::NoGradGuard no_grad;
  const ModelConfig& config = checkpoint.config();
  CompressOptions options;
  options.dtype = dtype;
  BlockRun run(recipe, config, options);
  int64_t trial = 0;  // the largest block
  for (int64_t index = 1; index < config.blocks; ++index)
    if (linear_weights(config, index) > linear_weights(config, trial)) trial = index;
  const int64_t element = dtype_size(dtype), stored = dtype_size(config.dtype), blocks = config.blocks;
  const int64_t width = std::min(recipe.calibration.tokens, config.context_length),
                tokens = recipe.calibration.samples * width;
  int64_t all_tokens = tokens;  // of both texts
  if (run.needs_contrast())
    all_tokens += recipe.contrast.samples * std::min(recipe.contrast.tokens, config.context_length);
  const auto read = [&](int64_t index) {
    empty_allocator_cache();  // as a run does
    release_free_memory();
    return checkpoint.read_block(index, dtype);
  };
  RecipeEstimate estimate;
  const auto begin_stage = [] {
    empty_allocator_cache();
    release_free_memory();
    forget_peak_memory();
  };
  const auto end_stage = [&estimate](int64_t more) {
    estimate.peak_bytes = std::max(estimate.peak_bytes, peak_memory_bytes() + more);
  };

  map_large_blocks();
  const FrugalCache frugal;
  begin_stage();
  std::unique_ptr<Decoder> frame =
      run.needs_calibration() ? checkpoint.read_frame(dtype, run.needs_gradients()) : std::make_unique<Decoder>();
  end_stage(0);
  begin_stage();
  run.rehearse(*frame, trial);
  const int64_t trial_tokens = run.calibration().ids.numel();
  const int64_t all_trial_tokens = (run.needs_contrast() ? 2 : 1) * trial_tokens;
  const int64_t other_states =
      run.needs_calibration() ? (all_tokens - all_trial_tokens) * config.hidden_size * element : 0;
  const double per_trial = static_cast<double>(tokens) / static_cast<double>(trial_tokens);
  end_stage(other_states);
  if (run.needs_gradients()) {
    begin_stage();
    const Stopwatch watch;
    run.differentiate(*frame, read, "");
    const double seconds = watch.seconds() * per_trial * static_cast<double>(blocks);
    estimate.seconds += seconds;
    // The states that a block reads and those that go through it, in float32.
    const int64_t states = 2 * (tokens - trial_tokens) * config.hidden_size * int64_t{sizeof(float)};
    end_stage(states + other_states);
  }
  if (run.has_allocation()) {
    begin_stage();
    const Stopwatch watch;
    run.rehearse_allocation(read(trial));
    estimate.seconds += watch.seconds() * per_trial * static_cast<double>(blocks);
    end_stage(other_states);
  }
  frame.reset();
  begin_stage();
  int64_t frame_weights = 0;
  for (const FrameTensor& tensor : frame_tensors(config))  // as for writing
    frame_weights += checkpoint.read_tensor(tensor.name, config.dtype).numel();
  end_stage(other_states);

  CompressionResult before, after;
  run.summarize(before);
  begin_stage();
  const Stopwatch watch;
  Block block = read(trial);
  run.process(block, trial);
  int64_t written = 0;
  for (Linear& linear : block.linears) {
    linear.weight = weight_to(linear.weight, to_scalar_type(config.dtype));
    written += weight_bytes(linear.weight);
    pack_weight(linear.weight);  // as for writing
  }
  const double seconds = watch.seconds();
  end_stage(other_states);
  run.summarize(after);
  const double forward = after.forward_seconds - before.forward_seconds;
  estimate.forward_seconds =
      forward * static_cast<double>(all_tokens) / static_cast<double>(all_trial_tokens) * static_cast<double>(blocks);
  estimate.seconds += estimate.forward_seconds + (seconds - forward) * static_cast<double>(blocks);

  const ModelConfig& shape = run.shape();
  estimate.output_bytes = frame_weights * stored;
  const double share =
      static_cast<double>(written) / static_cast<double>(linear_weights(shape, run.output_index(trial)));
  for (int64_t index = 0; index < shape.blocks; ++index) {
    estimate.output_bytes +=
        std::llround(share * static_cast<double>(linear_weights(shape, index))) + other_weights(shape, index) * stored;
  }
  return estimate;
}

}  // namespace ockham
