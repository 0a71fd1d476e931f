// The loop's body, and what it reports.
#include "ockham/pipeline/block_run.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

#include "ockham/core/error.h"
#include "ockham/core/memory.h"
#include "ockham/core/progress.h"
#include "ockham/core/stopwatch.h"
#include "ockham/core/version.h"
#include "ockham/io/families/families.h"
#include "ockham/io/file.h"
#include "ockham/tensor/allocator.h"
#include "ockham/tensor/device.h"
#include "ockham/tensor/ops.h"
#include "ockham/tensor/sparse_panels.h"

namespace ockham {
namespace {

constexpr int64_t kReportVersion = 1;

}  // namespace

BlockRun::BlockRun(const Recipe& recipe, const ModelConfig& config, const CompressOptions& options)
    : recipe_(recipe), config_(config), plan_(plan_recipe(recipe, config)), options_(options), shape_(config) {
  for (const PlannedStep& step : plan_.steps)
    if (step.method != nullptr) step.method->resize(shape_);
  if (recipe.kv_cache) shape_.kv_cache = recipe.kv_cache;
}

void BlockRun::check_shape() const {
  const ModelConfig read = ModelConfig::parse(shape_.to_json(), recipe_.name);
  const auto shapes = [](const ModelConfig& config) {
    return std::tuple(config.blocks, config.heads, config.kv_heads, config.head_dim, config.intermediate_size,
                      config.expert_size, config.shared_expert_size, config.sliding, config.mixtures);
  };
  if (shapes(read) != shapes(shape_))
    throw_error(ErrorKind::kUnsupported,
                "{}: the config.json of family {} cannot state the shape that the recipe leaves (blocks of a fixed "
                "pattern, or heads that follow from the hidden size); drop attention or MLP instead of blocks, or "
                "neurons instead of heads",
                recipe_.name, config_.family);
}

void BlockRun::calibrate(const Decoder& frame, const std::string& tokenizer_directory) {
  if (!needs_calibration()) return;
  text_ = start(recipe_.calibration, frame, tokenizer_directory);
  if (!needs_contrast()) return;
  if (recipe_.contrast.data.empty())
    throw_input("{}: a method weighs two texts and key 'contrast' names no data; add `contrast: {{data: FILE}}`",
                recipe_.name);
  contrast_ = start(recipe_.contrast, frame, tokenizer_directory);
}

BlockRun::Stream BlockRun::start(const CalibrationSpec& spec, const Decoder& frame,
                                 const std::string& tokenizer_directory) const {
  Stream stream;
  stream.drawn = draw_calibration(spec, config_, tokenizer_directory, options_.text_source);
  for (const std::string& warning : stream.drawn.warnings) log_warning(warning);
  stream.hidden = frame.embed(stream.drawn.ids.to(frame.device()));
  stream.context = frame.make_context(1, stream.drawn.ids.size(1), nullptr, {});
  return stream;
}

void BlockRun::rehearse(const Decoder& frame, int64_t trial) {
  trial_ = trial;
  const int64_t tokens = std::min(recipe_.calibration.tokens, config_.context_length);
  int64_t samples = std::max<int64_t>(1, kTokensPerForward / tokens);
  // Methods that look at several sequences at once say at how many.
  for (const PlannedStep& step : plan_.steps)
    if (step.params.values().contains("search_samples"))
      samples = std::max(samples, step.params.integer("search_samples"));
  samples = std::min(samples, recipe_.calibration.samples);
  text_.drawn.ids = at::arange(samples * tokens, at::kLong).mul_(7919).remainder_(config_.vocabulary);
  text_.drawn.ids = text_.drawn.ids.view({samples, tokens});
  if (!needs_calibration()) return;
  text_.hidden = frame.embed(text_.drawn.ids);
  text_.context = frame.make_context(1, tokens, nullptr, {});
  if (!needs_contrast()) return;
  contrast_ = text_;
  contrast_.hidden = text_.hidden.clone();
}

namespace {

// The same block for an observer, whose outputs are not wanted: the last products, which no linear reads, become those
// with factors of rank 1.
Block for_observer(Block block) {
  for (Linear& linear : block.linears) {
    if (linear.role != kDown) continue;
    const at::TensorOptions options = block.input_norm.options();
    linear.weight = LowRankWeight{nullptr, at::zeros({weight_rows(linear.weight), 1}, options),
                                  at::zeros({1, weight_columns(linear.weight)}, options)};
  }
  return block;
}

// The same block for many inputs: unpacked once instead of at every forward, and without its zeros where that is
// faster.
Block for_many_inputs(Block block, at::ScalarType dtype) {
  for (Linear& linear : block.linears) {
    const bool is_packed = std::holds_alternative<SparseWeight>(linear.weight);
    const Weight dense = weight_unpacked(linear.weight, dtype);
    const auto* values = std::get_if<DenseWeight>(&dense);
    if (values != nullptr && suits_sparse_panels(values->values))
      linear.prepared = std::make_shared<const SparsePanelMatrix>(make_sparse_panels(values->values));
    // What is prepared needs no second copy of its values.
    if (linear.prepared == nullptr || !is_packed) linear.weight = dense;
  }
  return block;
}

}  // namespace

void BlockRun::forward(Stream& stream, const Block& whole, LinearObserver* observer, bool store) {
  const Stopwatch watch;
  const Block block = store ? whole : for_observer(whole);
  stream.context.observer = observer;
  const int64_t samples = stream.hidden.size(0), step = std::max<int64_t>(1, kTokensPerForward / stream.hidden.size(1));
  for (int64_t begin = 0; begin < samples; begin += step) {
    check_interrupt();
    Tensor part = stream.hidden.narrow(0, begin, std::min(step, samples - begin));
    const Tensor output = block.forward(part, stream.context);
    if (store) part.copy_(output);
  }
  forward_seconds_ += watch.seconds();
}

namespace {

// What compression did to a weight: its zeros, and the norm of the change in units of that of the weight.
struct WeightChange {
  int64_t zeros = 0;
  double error = 0;
};

WeightChange change_of_weight(const Tensor& before, const Weight& weight) {
  constexpr int64_t kStrip = 512;  // rows that are in float32 at a time
  const Tensor after = weight_values(weight);
  WeightChange result;
  double change = 0, whole = 0;
  for (int64_t first = 0; first < before.size(0); first += kStrip) {
    const Tensor from = before.slice(0, first, first + kStrip).to(at::kFloat);
    const Tensor to = after.slice(0, first, first + kStrip).to(at::kFloat);
    result.zeros += to.numel() - to.count_nonzero().item<int64_t>();
    change += std::pow((to - from).norm().item<double>(), 2);
    whole += std::pow(from.norm().item<double>(), 2);
  }
  if (whole > 0) result.error = std::sqrt(change / whole);
  return result;
}

}  // namespace

void BlockRun::compress_linear(Linear& linear, const StatisticsCollector& statistics,
                               const StatisticsCollector& contrast) {
  const Tensor original = weight_values(linear.weight);
  bool is_target = dropped_.contains(linear.name);
  for (const PlannedStep& step : plan_.steps) {
    if (step.method == nullptr || !step.targets.contains(linear.name)) continue;
    const Stopwatch watch;
    const std::shared_ptr<const Method> method = method_for(step, linear);
    LayerStats stats = stats_of(linear, statistics, needs_statistics(method->needs()));
    if ((method->needs() & kNeedsContrast) != 0) stats.contrast_mean_square = contrast.stats(linear).mean_square;
    stats.original = original;
    stats.stored = to_scalar_type(config_.dtype);
    stats.note = [this, &step](const std::string& text) {
      notes_.push_back(step.entry->name + ": " + text);
      if (trial_ < 0) log_warning(notes_.back());
    };
    method->compress(linear, stats);
    method_seconds_ += watch.seconds();
    is_target = true;
  }
  if (is_target) {
    linear.weight = weight_to(linear.weight, to_scalar_type(config_.dtype));
    linear.weight = pack_if_smaller(linear.weight);
  }
  const WeightChange change = change_of_weight(original, linear.weight);
  const bool has_factors = std::holds_alternative<LowRankWeight>(linear.weight);
  const int64_t weights = original.numel();
  const int64_t zeros = has_factors ? weight_zeros(linear.weight) : change.zeros;
  const int64_t bytes = options_.is_packed ? weight_bytes(linear.weight) : weights * dtype_size(config_.dtype);
  tensors_[renamed(linear.name) + ".weight"] = {
      {"bytes", bytes},
      {"sparsity", static_cast<double>(zeros) / static_cast<double>(weights)},
      {"bits", 8.0 * static_cast<double>(bytes) / static_cast<double>(weights)},
      {"error", is_target ? change.error : 0.0},
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
  stats.tokens_per_sample = static_cast<double>(text_.hidden.size(1));
  if (const auto found = gradients_.find(linear.name); found != gradients_.end()) stats.gradients = found->second;
  return stats;
}

std::shared_ptr<const Method> BlockRun::method_for(const PlannedStep& step, const Linear& linear) const {
  if (step.allocated.empty()) return step.method;
  Params params = step.params;
  for (const auto& [key, source] : step.allocated) params = params.with(key, allocated_.at(source).at(linear.name));
  return step.entry->make(params);
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

std::string BlockRun::renamed(const std::string& linear) const {
  if (removed_.empty()) return linear;
  const Family& family = *find_family(config_.family);
  const std::string before = block_prefix(family, index_);
  OCKHAM_CHECK(linear.starts_with(before));
  return block_prefix(family, output_index(index_)) + linear.substr(before.size());
}

void BlockRun::process(Block& block, int64_t index) {
  index_ = index;
  for (const PlannedStep& step : plan_.steps) {
    if (step.method == nullptr || !step.method->transforms_blocks()) continue;
    const Stopwatch watch;
    text_.context.observer = nullptr;
    step.method->transform(block,
                           {text_.hidden, text_.context, step.targets, needs_gradients() ? &gradients_ : nullptr});
    method_seconds_ += watch.seconds();
    ModelConfig shape = *block.config;
    step.method->resize(shape);
    block_config_ = shape;
    block.config = &block_config_;
  }
  for (Linear& linear : block.linears)
    if (dropped_.contains(linear.name)) linear.set_zero();
  const Block before = has_dense_inputs() ? block : Block();  // shares its tensors, which methods replace
  for (const std::vector<size_t>& phase : phases(block)) {
    StatisticsCollector statistics(plan_.needs), contrast(kNeedsMeanSquare);
    std::set<std::string> watched;
    for (const size_t role : phase)
      if (is_changed(block.linears[role])) watched.insert(block.linears[role].name);
    statistics.watch(watched);
    if (needs_statistics(plan_.needs) && !watched.empty()) forward(text_, block, &statistics, false);
    contrast.watch(watched);
    if (needs_contrast() && !watched.empty()) forward(contrast_, block, &contrast, false);
    statistics.close();
    contrast.close();
    empty_allocator_cache();  // what the forward left would stand beside the largest matrices of the methods
    for (const size_t role : phase) {
      check_interrupt();
      compress_linear(block.linears[role], statistics, contrast);
      statistics.release(block.linears[role]);
    }
  }
  if (needs_calibration() && index + 1 < config_.blocks) {
    const Block prepared = for_many_inputs(has_dense_inputs() ? before : block, text_.hidden.scalar_type());
    forward(text_, prepared, nullptr, true);
    if (needs_contrast()) forward(contrast_, prepared, nullptr, true);
  }
  for (Linear& linear : block.linears) linear.name = renamed(linear.name);
  block.config = &shape_;
  block.index = output_index(index);
  if (trial_ < 0) report_progress({"compress " + recipe_.name, index + 1, config_.blocks, "blocks"});
}

Json BlockRun::record() const {
  Json allocated = Json::array();
  for (const auto& [step, values] : allocated_) allocated.push_back({step, values});
  return {{"allocated", std::move(allocated)},
          {"tensors", tensors_},
          {"notes", notes_},
          {"totals", {totals_.weights, totals_.zeros, totals_.bytes}}};
}

void BlockRun::restore(const Json& record, const std::vector<Tensor>& inputs,
                       std::map<std::string, GradientStats> gradients) {
  for (const Json& entry : record.at("allocated")) {
    const size_t step = entry.at(0);
    if (step >= plan_.steps.size() || plan_.steps[step].method != nullptr)
      throw_input("{}: step {} chooses nothing", recipe_.name, step + 1);
    allocated_[step] = entry.at(1).get<std::map<std::string, double>>();
  }
  drop_chosen();
  tensors_ = record.at("tensors");
  notes_ = record.at("notes").get<std::vector<std::string>>();
  totals_ = {record.at("totals").at(0), record.at("totals").at(1), record.at("totals").at(2)};
  if (!inputs.empty()) {
    const std::vector<Tensor*> wanted =
        needs_contrast() ? std::vector<Tensor*>{&text_.hidden, &contrast_.hidden} : std::vector<Tensor*>{&text_.hidden};
    if (inputs.size() != wanted.size())
      throw_input("{}: hidden states of {} texts, expected {}", recipe_.name, inputs.size(), wanted.size());
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (inputs[i].sizes() != wanted[i]->sizes() || inputs[i].scalar_type() != wanted[i]->scalar_type())
        throw_input("{}: hidden states of another size or type", recipe_.name);
      *wanted[i] = inputs[i].to(wanted[i]->device());
    }
  }
  gradients_ = std::move(gradients);
  for (auto& [name, stats] : gradients_)
    for (Tensor* part : {&stats.rows, &stats.columns, &stats.fisher, &stats.place})
      *part = part->to(text_.hidden.device());
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
  const auto add = [&report](const char* key, const CalibrationSpec& spec, const Calibration& drawn) {
    report[key] = {{"data", spec.data},
                   {"sha256", drawn.data_sha256},
                   {"seed", spec.seed},
                   {"samples", drawn.ids.size(0)},
                   {"tokens", drawn.ids.size(1)}};
  };
  if (needs_calibration()) add("calibration", recipe_.calibration, text_.drawn);
  if (needs_contrast()) add("contrast", recipe_.contrast, contrast_.drawn);
  report["tensors"] = tensors_;
  report["warnings"] = text_.drawn.warnings;
  for (const std::string& warning : contrast_.drawn.warnings) report["warnings"].push_back(warning);
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

}  // namespace ockham
