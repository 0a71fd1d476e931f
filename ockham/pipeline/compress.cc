// Where a run's blocks come from and go to: a checkpoint on disk, one block in memory at a time, or a decoder.
#include "ockham/pipeline/compress.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <filesystem>

#include "ockham/core/stopwatch.h"
#include "ockham/io/file.h"
#include "ockham/pipeline/block_run.h"
#include "ockham/tensor/device.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr int64_t kSmallMatrix = int64_t{1} << 18;

// One thread for blocks so small that the threads would mostly wait for each other: on a busy machine that waiting
// costs many times the work itself.
class ThreadLimit {
 public:
  explicit ThreadLimit(const ModelConfig& config) : before_(at::get_num_threads()) {
    if (config.hidden_size * config.intermediate_size < kSmallMatrix) at::set_num_threads(1);
  }
  ~ThreadLimit() { at::set_num_threads(before_); }
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;

 private:
  int before_;
};

// Bytes of everything that is not a weight of a linear.
int64_t other_bytes(Decoder& decoder) {
  int64_t bytes = 0;
  for (const Tensor* tensor : decoder.tensors()) bytes += static_cast<int64_t>(tensor->nbytes());
  for (Block& block : decoder.blocks) {
    for (const Tensor* tensor : block.tensors()) bytes += static_cast<int64_t>(tensor->nbytes());
    for (const Linear& linear : block.linears)
      if (linear.bias.defined()) bytes += static_cast<int64_t>(linear.bias.nbytes());
  }
  return bytes;
}

}  // namespace

CompressionResult compress(const std::string& model, const Recipe& recipe, const std::string& out,
                           const CompressOptions& options) {
  const at::NoGradGuard no_grad;
  const Stopwatch watch;
  const Checkpoint checkpoint(model);
  const ThreadLimit threads(checkpoint.config());
  BlockRun run(recipe, checkpoint.config(), options);
  OutputDirectory directory(out, options.overwrite);
  const DType stored = checkpoint.config().dtype,
              arithmetic = options.dtype.value_or(arithmetic_dtype(stored, options.device));
  const auto read = [&](int64_t index) {
    Block block = checkpoint.read_block(index, arithmetic);
    block.to(to_scalar_type(arithmetic), options.device);
    return block;
  };
  std::unique_ptr<Decoder> frame = checkpoint.read_frame(arithmetic);
  if (!run.needs_gradients()) frame->head = Tensor();
  frame->to(to_scalar_type(arithmetic), options.device);
  run.calibrate(*frame, checkpoint.directory());
  if (run.needs_gradients()) run.differentiate(*frame, read);
  if (run.has_allocation()) run.allocate(*frame, read);
  run.check_shape();
  CheckpointWriter writer(directory.path(), run.shape(), {.is_packed = options.is_packed});
  frame = checkpoint.read_frame(arithmetic);
  write_frame(writer, *frame, stored);
  frame.reset();
  for (int64_t index = 0; index < checkpoint.config().blocks; ++index) {
    if (!run.keeps(index)) continue;
    Block block = read(index);
    run.process(block, index);
    if (arithmetic != stored)
      for (Linear& linear : block.linears) linear.weight = weight_to(linear.weight, to_scalar_type(stored));
    write_block(writer, block, run.output_index(index), stored);
  }
  writer.finish(checkpoint.directory());

  CompressionResult result;
  result.bytes = writer.bytes();
  result.report = run.report(checkpoint.sha256());
  run.summarize(result);
  write_file_atomically((std::filesystem::path(directory.path()) / "compression.json").string(),
                        result.report.dump(2) + "\n");
  directory.commit();
  result.seconds = watch.seconds();
  return result;
}

CompressionResult compress_in_memory(Decoder& decoder, const Recipe& recipe, const std::string& tokenizer_directory,
                                     const CompressOptions& options) {
  const at::NoGradGuard no_grad;
  const Stopwatch watch;
  const ThreadLimit threads(decoder.config);
  BlockRun run(recipe, decoder.config, options);
  const auto read = [&](int64_t index) { return decoder.blocks[static_cast<size_t>(index)]; };
  run.calibrate(decoder, tokenizer_directory);
  if (run.needs_gradients()) run.differentiate(decoder, read);
  if (run.has_allocation()) run.allocate(decoder, read);
  run.check_shape();
  CompressionResult result;
  std::vector<Block> kept;
  for (size_t index = 0; index < decoder.blocks.size(); ++index) {
    if (!run.keeps(static_cast<int64_t>(index))) continue;
    run.process(decoder.blocks[index], static_cast<int64_t>(index));
    for (const Linear& linear : decoder.blocks[index].linears) result.bytes += weight_bytes(linear.weight);
    kept.push_back(std::move(decoder.blocks[index]));
  }
  decoder.blocks = std::move(kept);
  decoder.config = run.shape();
  for (Block& block : decoder.blocks) block.config = &decoder.config;
  result.bytes += other_bytes(decoder);
  result.report = run.report("");
  run.summarize(result);
  result.seconds = watch.seconds();
  return result;
}

}  // namespace ockham
