// The loop over blocks: statistics from the still dense block fed by compressed predecessors, then the block's
// compression, then its forward again to make the inputs of the next block, written over those of this one.
#include "ockham/pipeline/compress.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <numeric>
#include <set>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/core/version.h"
#include "ockham/io/file.h"
#include "ockham/pipeline/layer_statistics.h"
#include "ockham/tensor/device.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr int64_t kReportVersion = 1;
// Bounds the activations of a block; small enough for the allocator to use the same pages again.
constexpr int64_t kTokensPerForward = 2048;
constexpr int64_t kSmallMatrix = int64_t{1} << 18;

// A weight as it is written, in the checkpoint's element type where the arithmetic has another.
void to_stored_type(Linear& linear, at::ScalarType type) {
  if (auto* dense = std::get_if<DenseWeight>(&linear.weight)) dense->values = dense->values.to(type);
  if (auto* sparse = std::get_if<SparseWeight>(&linear.weight)) sparse->values = sparse->values.to(type);
}

struct Totals {
  int64_t weights = 0, zeros = 0, bytes = 0;  // over the linears of all blocks
};

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

class BlockRun {
 public:
  BlockRun(const Recipe& recipe, const ModelConfig& config, const CompressOptions& options)
      : recipe_(recipe), config_(config), plan_(plan_recipe(recipe, config)), options_(options) {}

  bool needs_calibration() const { return (plan_.needs | plan_.allocation_needs) != kNeedsNothing; }
  bool has_allocation() const { return plan_.has_allocation; }
  // Reads and embeds the calibration sequences; `frame` is a decoder without blocks or with all of them.
  void calibrate(const Decoder& frame, const std::string& tokenizer_directory);
  // A pass over the dense model that lets the allocation steps choose; `read` gives each block once, in order.
  void allocate(const Decoder& frame, const std::function<Block(int64_t)>& read);
  void process(Block& block, int64_t index);
  Json report(const std::string& source_sha256) const;
  void summarize(CompressionResult& result) const;

 private:
  // Hidden states of every sample through the block; `store` keeps them as the next block's inputs.
  void forward(const Block& block, LinearObserver* observer, bool store);
  void compress_linear(Linear& linear, const StatisticsCollector& statistics);
  bool is_changed(const Linear& linear) const;
  LayerStats stats_of(const Linear& linear, const StatisticsCollector& statistics, bool is_needed) const;
  // The step's method for this linear, with what the allocation steps chose for it.
  std::shared_ptr<const Method> method_for(const PlannedStep& step, const Linear& linear) const;
  // Linears that are calibrated together: all of a block, or, where a step is true-sequential, those that read the same
  // inputs, each group after the ones before it are compressed.
  std::vector<std::vector<size_t>> phases(const Block& block) const;

  const Recipe& recipe_;
  const ModelConfig& config_;
  RecipePlan plan_;
  const CompressOptions& options_;
  Calibration calibration_;
  BlockContext context_;
  Tensor hidden_;                                              // [samples, tokens, H]
  std::map<size_t, std::map<std::string, double>> allocated_;  // by step
  Json tensors_ = Json::object();
  std::vector<std::string> notes_;
  Totals totals_;
  double forward_seconds_ = 0, method_seconds_ = 0;
};

void BlockRun::calibrate(const Decoder& frame, const std::string& tokenizer_directory) {
  if (!needs_calibration()) return;
  calibration_ = draw_calibration(recipe_.calibration, config_, tokenizer_directory, options_.text_source);
  for (const std::string& warning : calibration_.warnings) log_warning(warning);
  hidden_ = frame.embed(calibration_.ids.to(frame.device()));
  context_ = frame.make_context(1, calibration_.ids.size(1), nullptr, {});
}

void BlockRun::forward(const Block& block, LinearObserver* observer, bool store) {
  const Stopwatch watch;
  context_.observer = observer;
  const int64_t samples = hidden_.size(0), step = std::max<int64_t>(1, kTokensPerForward / hidden_.size(1));
  for (int64_t begin = 0; begin < samples; begin += step) {
    check_interrupt();
    Tensor part = hidden_.narrow(0, begin, std::min(step, samples - begin));
    const Tensor output = block.forward(part, context_);
    if (store) part.copy_(output);
  }
  forward_seconds_ += watch.seconds();
}

void BlockRun::compress_linear(Linear& linear, const StatisticsCollector& statistics) {
  const Tensor original = weight_to_dense(linear.weight, at::kFloat);
  bool is_target = false;
  for (const PlannedStep& step : plan_.steps) {
    if (step.method == nullptr || !step.targets.contains(linear.name)) continue;
    const Stopwatch watch;
    const std::shared_ptr<const Method> method = method_for(step, linear);
    LayerStats stats = stats_of(linear, statistics, method->needs() != kNeedsNothing);
    stats.original = original;
    stats.stored = to_scalar_type(config_.dtype);
    stats.note = [this, &step](const std::string& text) {
      notes_.push_back(step.entry->name + ": " + text);
      log_warning(notes_.back());
    };
    method->compress(linear, stats);
    method_seconds_ += watch.seconds();
    is_target = true;
  }
  if (is_target) {
    to_stored_type(linear, to_scalar_type(config_.dtype));
    linear.weight = pack_if_smaller(linear.weight);
  }
  const Tensor values = is_target ? weight_to_dense(linear.weight, at::kFloat) : original;
  const int64_t weights = values.numel(), zeros = weights - values.count_nonzero().item<int64_t>();
  const int64_t bytes = options_.is_packed ? weight_bytes(linear.weight) : weights * dtype_size(config_.dtype);
  const double norm = original.norm().item<double>();
  const double error = is_target && norm > 0 ? (values - original).norm().item<double>() / norm : 0;
  tensors_[linear.name + ".weight"] = {{"bytes", bytes},
                                       {"sparsity", static_cast<double>(zeros) / static_cast<double>(weights)},
                                       {"bits", 8.0 * static_cast<double>(bytes) / static_cast<double>(weights)},
                                       {"error", error},
                                       {"format", options_.is_packed ? weight_format(linear.weight) : "dense"}};
  totals_.weights += weights;
  totals_.zeros += zeros;
  totals_.bytes += bytes;
}

bool BlockRun::is_changed(const Linear& linear) const {
  return std::any_of(plan_.steps.begin(), plan_.steps.end(), [&](const PlannedStep& step) {
    return step.method != nullptr && step.targets.contains(linear.name);
  });
}

LayerStats BlockRun::stats_of(const Linear& linear, const StatisticsCollector& statistics, bool is_needed) const {
  if (!is_needed) return {};
  LayerStats stats = statistics.stats(linear);
  stats.tokens_per_sample = static_cast<double>(hidden_.size(1));
  return stats;
}

std::shared_ptr<const Method> BlockRun::method_for(const PlannedStep& step, const Linear& linear) const {
  if (step.allocated.empty()) return step.method;
  Params params = step.params;
  for (const auto& [key, source] : step.allocated) params = params.with(key, allocated_.at(source).at(linear.name));
  return step.entry->make(params);
}

void BlockRun::allocate(const Decoder& frame, const std::function<Block(int64_t)>& read) {
  std::map<size_t, std::unique_ptr<Allocation>> allocations;
  for (size_t i = 0; i < plan_.steps.size(); ++i)
    if (plan_.steps[i].method == nullptr) allocations[i] = plan_.steps[i].entry->allocate(plan_.steps[i].params);
  for (int64_t index = 0; index < config_.blocks; ++index) {
    const Block block = read(index);
    StatisticsCollector statistics(plan_.allocation_needs);
    const bool is_measured = plan_.allocation_needs != kNeedsNothing;
    if (is_measured) forward(block, &statistics, true);
    for (const auto& [step, allocation] : allocations) {
      std::vector<const Linear*> linears;
      std::vector<LayerStats> stats;
      for (const Linear& linear : block.linears) {
        if (!plan_.steps[step].targets.contains(linear.name)) continue;
        linears.push_back(&linear);
        stats.push_back(stats_of(linear, statistics, is_measured));
      }
      allocation->look(linears, stats);
    }
    report_progress({"allocate " + recipe_.name, index + 1, config_.blocks, "blocks"});
  }
  for (const auto& [step, allocation] : allocations) allocated_[step] = allocation->values();
  if (needs_calibration()) hidden_ = frame.embed(calibration_.ids.to(frame.device()));
}

std::vector<std::vector<size_t>> BlockRun::phases(const Block& block) const {
  const bool is_sequential = std::any_of(plan_.steps.begin(), plan_.steps.end(), [](const PlannedStep& step) {
    return step.method != nullptr && step.method->is_true_sequential();
  });
  if (is_sequential) {
    std::vector<std::vector<size_t>> groups(4);  // q, k, v; o; gate and up of every expert; down likewise
    for (size_t place = 0; place < block.linears.size(); ++place) {
      const LinearRole role = block.linears[place].role;
      groups[role < kOutput ? 0 : role == kOutput ? 1 : role == kDown ? 3 : 2].push_back(place);
    }
    return groups;
  }
  std::vector<size_t> all(block.linears.size());
  std::iota(all.begin(), all.end(), size_t{0});
  return {all};
}

void BlockRun::process(Block& block, int64_t index) {
  for (const PlannedStep& step : plan_.steps) {
    if (step.method == nullptr || !step.method->transforms_blocks()) continue;
    const Stopwatch watch;
    context_.observer = nullptr;
    step.method->transform(block, {hidden_, context_, step.targets});
    method_seconds_ += watch.seconds();
  }
  for (const std::vector<size_t>& phase : phases(block)) {
    StatisticsCollector statistics(plan_.needs);
    std::set<std::string> watched;
    for (const size_t role : phase)
      if (is_changed(block.linears[role])) watched.insert(block.linears[role].name);
    statistics.watch(watched);
    if (needs_calibration() && !watched.empty()) forward(block, &statistics, false);
    for (const size_t role : phase) {
      check_interrupt();
      compress_linear(block.linears[role], statistics);
    }
  }
  if (needs_calibration() && index + 1 < config_.blocks) {
    // One unpacking per block instead of one per forward.
    Block dense = block;
    for (Linear& linear : dense.linears)
      linear.weight = DenseWeight{weight_to_dense(linear.weight, hidden_.scalar_type())};
    forward(dense, nullptr, true);
  }
  report_progress({"compress " + recipe_.name, index + 1, config_.blocks, "blocks"});
}

Json BlockRun::report(const std::string& source_sha256) const {
  Json steps = Json::array();
  for (const PlannedStep& step : plan_.steps) {
    Json params = Json::object();
    for (const auto& [key, value] : step.params.values()) {
      std::visit(
          [&params, &key = key](const auto& plain) {
            if constexpr (std::is_same_v<std::decay_t<decltype(plain)>, FromStep>)
              params[key] = {{"from", plain.step}};
            else
              params[key] = plain;
          },
          value);
    }
    steps.push_back({{"method", step.entry->name}, {"params", params}, {"linears", step.targets.size()}});
    if (const auto it = allocated_.find(static_cast<size_t>(&step - plan_.steps.data())); it != allocated_.end())
      steps.back()["values"] = it->second;
  }
  Json report = {
      {"version", kReportVersion},
      {"ockham", version()},
      {"source_sha256", source_sha256},
      {"recipe", {{"name", recipe_.name}, {"text", recipe_.to_yaml()}, {"sha256", sha256_text(recipe_.to_yaml())}}},
      {"steps", steps}};
  if (needs_calibration()) {
    report["calibration"] = {{"data", recipe_.calibration.data},
                             {"sha256", calibration_.data_sha256},
                             {"seed", recipe_.calibration.seed},
                             {"samples", calibration_.ids.size(0)},
                             {"tokens", calibration_.ids.size(1)}};
  }
  report["tensors"] = tensors_;
  report["warnings"] = calibration_.warnings;
  for (const std::string& note : notes_) report["warnings"].push_back(note);
  return report;
}

void BlockRun::summarize(CompressionResult& result) const {
  result.sparsity = static_cast<double>(totals_.zeros) / static_cast<double>(totals_.weights);
  result.mean_bits = 8.0 * static_cast<double>(totals_.bytes) / static_cast<double>(totals_.weights);
  result.report["totals"] = {{"bytes", result.bytes},
                             {"linear_bytes", totals_.bytes},
                             {"linear_weights", totals_.weights},
                             {"sparsity", result.sparsity},
                             {"bits", result.mean_bits}};
  result.peak_bytes = peak_memory_bytes();
  result.forward_seconds = forward_seconds_;
  result.method_seconds = method_seconds_;
}

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
  CheckpointWriter writer(directory.path(), checkpoint.config(), {.is_packed = options.is_packed});
  {
    std::unique_ptr<Decoder> frame = checkpoint.read_frame(arithmetic);
    write_frame(writer, *frame, stored);
    frame->head = Tensor();
    frame->to(to_scalar_type(arithmetic), options.device);
    run.calibrate(*frame, checkpoint.directory());
    if (run.has_allocation()) run.allocate(*frame, read);
  }
  for (int64_t index = 0; index < checkpoint.config().blocks; ++index) {
    Block block = read(index);
    run.process(block, index);
    if (arithmetic != stored)
      for (Linear& linear : block.linears) to_stored_type(linear, to_scalar_type(stored));
    write_block(writer, block, index, stored);
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
  run.calibrate(decoder, tokenizer_directory);
  if (run.has_allocation())
    run.allocate(decoder, [&](int64_t index) { return decoder.blocks[static_cast<size_t>(index)]; });
  CompressionResult result;
  result.bytes = other_bytes(decoder);
  for (size_t index = 0; index < decoder.blocks.size(); ++index) {
    run.process(decoder.blocks[index], static_cast<int64_t>(index));
    for (const Linear& linear : decoder.blocks[index].linears) result.bytes += weight_bytes(linear.weight);
  }
  result.report = run.report("");
  run.summarize(result);
  result.seconds = watch.seconds();
  return result;
}

}  // namespace ockham
