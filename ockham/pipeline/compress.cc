// Where a run's blocks come from and go to: a checkpoint on disk, one block in memory at a time, or a decoder.
#include "ockham/pipeline/compress.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/core/grad_mode.h>

#include <memory>
#include <optional>

#include "ockham/core/error.h"
#include "ockham/core/memory.h"
#include "ockham/core/progress.h"
#include "ockham/core/stopwatch.h"
#include "ockham/core/version.h"
#include "ockham/io/file.h"
#include "ockham/pipeline/block_run.h"
#include "ockham/pipeline/resume.h"
#include "ockham/tensor/allocator.h"
#include "ockham/tensor/device.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

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

// What must not change between a run and the one that goes on from it, if the bytes are to be the same.
Json conditions_of(const Checkpoint& checkpoint, const Recipe& recipe, const BlockRun& run,
                   const CompressOptions& options, DType arithmetic) {
  const auto identity = [](const Calibration& calibration) -> Json {
    const Tensor& ids = calibration.ids;
    std::string drawn;
    if (ids.defined()) drawn = sha256_text({static_cast<const char*>(ids.contiguous().const_data_ptr()), ids.nbytes()});
    return {calibration.data_sha256, drawn, ids.defined() ? ids.size(0) : 0};
  };
  return {{"version of ockham", version()},          {"model", checkpoint.sha256()},
          {"recipe", sha256_text(recipe.to_yaml())}, {"calibration", identity(run.calibration())},
          {"contrast", identity(run.contrast())},    {"arithmetic", dtype_config_name(arithmetic)},
          {"device", options.device.str()},          {"dense or packed output", options.is_packed},
          {"threads", at::get_num_threads()},        {"processor", at::get_cpu_capability()}};
}

CompressionResult compress_on_disk(const std::string& model, const Recipe& recipe, const std::string& out,
                                   const CompressOptions& options) {
  const at::NoGradGuard no_grad;
  const Stopwatch watch;
  const Checkpoint checkpoint(model);
  const ModelConfig& config = checkpoint.config();
  const ThreadLimit threads(config);
  std::unique_ptr<BlockRun> run = std::make_unique<BlockRun>(recipe, config, options);
  OutputDirectory directory(out, options.overwrite);
  std::optional<ResumeState> state;
  if (options.is_resumable) state.emplace(out);
  const DType stored = config.dtype, arithmetic = options.dtype.value_or(arithmetic_dtype(stored, options.device));
  const auto read = [&](int64_t index) {
    // The block before is gone: every block finds the memory alike, so that the peak is one block's.
    empty_allocator_cache();
    release_free_memory();
    Block block = checkpoint.read_block(index, arithmetic);
    block.to(to_scalar_type(arithmetic), options.device);
    return block;
  };
  std::unique_ptr<Decoder> frame;
  std::unique_ptr<CheckpointWriter> writer;
  ResumePoint point;
  const auto begin = [&] {
    frame = run->needs_calibration() ? checkpoint.read_frame(arithmetic, run->needs_gradients())
                                     : std::make_unique<Decoder>();
    frame->to(to_scalar_type(arithmetic), options.device);
    run->calibrate(*frame, checkpoint.directory());
  };
  const auto open_writer = [&] {
    run->check_shape();
    CheckpointWriter::Options form{.is_packed = options.is_packed};
    if (state) form.spool_directory = state->directory();
    writer = std::make_unique<CheckpointWriter>(state ? state->output() : directory.path(), run->shape(), form);
  };
  begin();
  if (state) {
    state->set_conditions(conditions_of(checkpoint, recipe, *run, options, arithmetic));
    if (options.restart) state->discard("");
    const bool is_damaged = !state->load([&](const Json& found) {
      point = state->restore(found, *run);
      if (point.next == 0) return;
      open_writer();
      writer->restore(found.at("writer"));
    });
    if (is_damaged) {
      point = {};
      writer.reset();
      run = std::make_unique<BlockRun>(recipe, config, options);
      begin();
    }
  }
  if (point.next > 0) log_info(fmt::format("{}: going on at block {} of {}", out, point.next + 1, config.blocks));
  if (run->needs_gradients() && !point.has_gradients) {
    run->differentiate(*frame, read, state ? state->directory() : directory.path());
    if (state) state->commit(*run, false);
  }
  if (run->has_allocation() && !point.has_allocated) {
    run->allocate(*frame, read);
    if (state) state->commit(*run, true);
  }
  frame.reset();
  if (writer == nullptr) {
    open_writer();
    release_free_memory();
    write_frame(*writer, checkpoint, stored);
  }
  try {
    for (int64_t index = point.next; index < config.blocks; ++index) {
      if (!run->keeps(index)) continue;
      Block block = read(index);
      run->process(block, index);
      if (arithmetic != stored)
        for (Linear& linear : block.linears) linear.weight = weight_to(linear.weight, to_scalar_type(stored));
      write_block(*writer, block, run->output_index(index), stored);
      if (state) state->commit(*run, *writer, index + 1);
    }
  } catch (const Error& error) {
    // It would fail again in the same way.
    if (state && (error.kind() == ErrorKind::kInput || error.kind() == ErrorKind::kUnsupported)) state->forget();
    throw;
  }
  writer->finish(checkpoint.directory());

  CompressionResult result;
  result.bytes = writer->bytes();
  result.report = run->report(checkpoint.sha256());
  run->summarize(result);
  write_file_atomically((state ? state->output() : directory.path()) + "/compression.json",
                        result.report.dump(2) + "\n");
  if (state) state->move_output(directory.path());
  directory.commit();
  if (state) state->forget();
  result.seconds = watch.seconds();
  return result;
}

}  // namespace

ThreadLimit::ThreadLimit(const ModelConfig& config) : before_(at::get_num_threads()) {
  constexpr int64_t kSmallMatrix = int64_t{1} << 18;
  if (config.hidden_size * config.intermediate_size < kSmallMatrix) at::set_num_threads(1);
}

ThreadLimit::~ThreadLimit() {
  at::set_num_threads(before_);
}

CompressionResult compress(const std::string& model, const Recipe& recipe, const std::string& out,
                           const CompressOptions& options) {
  map_large_blocks();
  const FrugalCache frugal;
  try {
    return compress_on_disk(model, recipe, out, options);
  } catch (const std::exception& error) {
    if (!is_out_of_memory(error)) throw;
    throw_error(ErrorKind::kResource,
                "{}: out of memory, with {:.0f} MB in use at most; take fewer or shorter calibration sequences "
                "(--samples, --tokens), fewer threads (--threads) or a machine with more memory: `ockham inspect {} "
                "--recipe {}` predicts what is needed",
                model, static_cast<double>(peak_memory_bytes()) / 1e6, model, recipe.name);
  }
}

CompressionResult compress_in_memory(Decoder& decoder, const Recipe& recipe, const std::string& tokenizer_directory,
                                     const CompressOptions& options) {
  const at::NoGradGuard no_grad;
  const Stopwatch watch;
  const ThreadLimit threads(decoder.config);
  BlockRun run(recipe, decoder.config, options);
  const auto read = [&](int64_t index) { return decoder.blocks[static_cast<size_t>(index)]; };
  run.calibrate(decoder, tokenizer_directory);
  if (run.needs_gradients()) run.differentiate(decoder, read, "");
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
