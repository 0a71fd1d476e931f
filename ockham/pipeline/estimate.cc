// The trial behind an estimate: one block is measured, and what grows with the calibration data or the number of blocks
// is added.
#include "ockham/pipeline/estimate.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/accumulate.h>
#include <malloc.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <string>

#include "ockham/core/progress.h"
#include "ockham/core/stopwatch.h"
#include "ockham/core/version.h"
#include "ockham/model/families.h"
#include "ockham/model/packed.h"
#include "ockham/pipeline/block_run.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

// A line of /proc/self/status in bytes; 0 where there is none.
int64_t status_bytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key + ":")) return std::stoll(line.substr(key.size() + 1)) * 1024;
  return 0;
}

// The peak of resident memory from here on, where the system can forget the earlier one.
void reset_peak() {
  std::ofstream("/proc/self/clear_refs") << "5";
}

int64_t peak_bytes() {
  const int64_t peak = status_bytes("VmHWM");
  return peak > 0 ? peak : peak_memory_bytes();
}

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
  const auto read = [&](int64_t index) { return checkpoint.read_block(index, dtype); };
  RecipeEstimate estimate;

  ::malloc_trim(0);
  reset_peak();
  std::unique_ptr<Decoder> frame = checkpoint.read_frame(dtype);
  int64_t frame_weights = 0, largest = 0;
  for (const FrameTensor& tensor : frame_tensors(config)) {
    frame_weights += c10::multiply_integers(tensor.shape);
    largest = std::max(largest, c10::multiply_integers(tensor.shape));
  }
  // The frame is read twice: to embed, and to be written, beside the hidden states.
  const int64_t states = run.needs_calibration() ? tokens * config.hidden_size * element : 0;
  estimate.peak_bytes = peak_bytes() + states + (dtype == config.dtype ? 0 : largest * stored);
  if (!run.needs_gradients()) frame->head = Tensor();

  run.rehearse(*frame, trial);
  const int64_t trial_tokens = run.calibration().ids.numel();
  const int64_t other_states = run.needs_calibration() ? (tokens - trial_tokens) * config.hidden_size * element : 0;
  const double per_trial = static_cast<double>(tokens) / static_cast<double>(trial_tokens);
  if (run.needs_gradients()) {
    reset_peak();
    const Stopwatch watch;
    run.differentiate(*frame, read);
    const double seconds = watch.seconds() * per_trial * static_cast<double>(blocks);
    estimate.seconds += seconds;
    // The inputs of all blocks are kept, in float32.
    const int64_t inputs = ((blocks + 1) * tokens - 2 * trial_tokens) * config.hidden_size * int64_t{sizeof(float)};
    estimate.peak_bytes = std::max(estimate.peak_bytes, peak_bytes() + inputs + other_states);
  }
  if (run.has_allocation()) {
    reset_peak();
    const Stopwatch watch;
    run.rehearse_allocation(read(trial));
    estimate.seconds += watch.seconds() * per_trial * static_cast<double>(blocks);
    estimate.peak_bytes = std::max(estimate.peak_bytes, peak_bytes() + other_states);
  }
  frame.reset();

  CompressionResult before, after;
  run.summarize(before);
  reset_peak();
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
  estimate.peak_bytes = std::max(estimate.peak_bytes, peak_bytes() + other_states);
  run.summarize(after);
  const double forward = after.forward_seconds - before.forward_seconds;
  estimate.forward_seconds = forward * per_trial * static_cast<double>(blocks);
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
