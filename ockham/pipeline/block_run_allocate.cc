// What a run measures on the dense model before it compresses: gradients, and what allocation steps choose.
#include <algorithm>
#include <array>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/core/stopwatch.h"
#include "ockham/io/families/families.h"
#include "ockham/pipeline/block_run.h"
#include "ockham/pipeline/gradients.h"
#include "ockham/tensor/ops.h"

namespace ockham {

void BlockRun::differentiate(const Decoder& frame, const std::function<Block(int64_t)>& read,
                             const std::string& scratch) {
  const Stopwatch watch;
  const bool is_trial = trial_ >= 0;
  gradients_ =
      measure_gradients(frame, is_trial ? 1 : config_.blocks, is_trial ? [&](int64_t) { return read(trial_); } : read,
                        text_.drawn.ids.to(frame.device()), scratch);
  forward_seconds_ += watch.seconds();
}

BlockChange BlockRun::change_of(const Block& block) const {
  std::array<Block, 2> without = {block, block};  // its attention, its MLP
  for (size_t place = 0; place < block.linears.size(); ++place)
    without[block.linears[place].role < kGate ? 0 : 1].linears[place].set_zero();
  BlockContext context = text_.context;
  context.observer = nullptr;
  std::array<double, 3> sums = {0, 0, 0};
  for (int64_t sample = 0; sample < text_.hidden.size(0); ++sample) {
    check_interrupt();
    const Tensor input = text_.hidden.narrow(0, sample, 1), output = block.forward(input, context).to(at::kFloat);
    const std::array<Tensor, 3> others = {input.to(at::kFloat), without[0].forward(input, context).to(at::kFloat),
                                          without[1].forward(input, context).to(at::kFloat)};
    for (size_t i = 0; i < others.size(); ++i)
      sums[i] += 1 - at::cosine_similarity(output, others[i], -1).mean(at::kDouble).item<double>();
  }
  const double samples = static_cast<double>(text_.hidden.size(0));
  return {sums[0] / samples, sums[1] / samples, sums[2] / samples};
}

void BlockRun::drop(const std::map<std::string, double>& values) {
  const Family& family = *find_family(config_.family);
  for (int64_t index = 0; index < config_.blocks; ++index) {
    const std::string prefix = block_prefix(family, index);
    std::set<std::string> gone;
    for (auto it = values.lower_bound(prefix); it != values.end() && it->first.starts_with(prefix); ++it)
      if (it->second == 1) gone.insert(it->first);
    if (gone.size() == block_linears(config_, index).size())
      removed_.insert(index);
    else
      dropped_.merge(gone);
  }
  shape_.blocks = config_.blocks - static_cast<int64_t>(removed_.size());
  if (shape_.blocks == 0)
    throw_input("{}: the steps remove every block, expected one to stay; lower a `count`", recipe_.name);
  const auto keep = [this](auto& by_block, const auto& all) {
    if (static_cast<int64_t>(all.size()) != config_.blocks) return;
    by_block.clear();
    for (int64_t index = 0; index < config_.blocks; ++index)
      if (keeps(index)) by_block.push_back(all[static_cast<size_t>(index)]);
  };
  keep(shape_.sliding, config_.sliding);
  keep(shape_.mixtures, config_.mixtures);
  // Some configs list the kind of every block.
  if (config_.raw.contains("layer_types")) keep(shape_.raw["layer_types"], config_.raw["layer_types"]);
}

void BlockRun::allocate(const Decoder& frame, const std::function<Block(int64_t)>& read) {
  std::map<size_t, std::unique_ptr<Allocation>> allocations;
  int64_t passes = 1;
  for (size_t i = 0; i < plan_.steps.size(); ++i) {
    if (plan_.steps[i].method != nullptr) continue;
    allocations[i] = plan_.steps[i].entry->allocate(plan_.steps[i].params);
    passes = std::max(passes, allocations[i]->passes());
  }
  for (int64_t pass = 0; pass < passes; ++pass) {
    // One that has all its passes behind it keeps its values.
    for (const auto& [step, allocation] : allocations)
      if (pass < allocation->passes()) allocation->begin_pass(pass);
    for (int64_t index = 0; index < config_.blocks; ++index) {
      Block block = read(index);
      if (pass > 0) compress_as_allocated(block);
      look_at(block, allocations, pass);
      report_progress(
          {"allocate " + recipe_.name, pass * config_.blocks + index + 1, passes * config_.blocks, "blocks"});
    }
    for (const auto& [step, allocation] : allocations)
      if (pass < allocation->passes()) allocated_[step] = allocation->values();
    if (needs_calibration()) text_.hidden = frame.embed(text_.drawn.ids.to(frame.device()));
    if (needs_contrast()) contrast_.hidden = frame.embed(contrast_.drawn.ids.to(frame.device()));
  }
  drop_chosen();
}

void BlockRun::drop_chosen() {
  for (const auto& [index, values] : allocated_) {
    const PlannedStep& step = plan_.steps[index];
    if (step.entry->allocate(step.params)->drops()) drop(values);
  }
}

void BlockRun::rehearse_allocation(const Block& block) {
  std::map<size_t, std::unique_ptr<Allocation>> allocations;
  for (size_t i = 0; i < plan_.steps.size(); ++i)
    if (plan_.steps[i].method == nullptr) allocations[i] = plan_.steps[i].entry->allocate(plan_.steps[i].params);
  look_at(block, allocations, 0);
  for (const PlannedStep& step : plan_.steps) {
    for (const auto& [key, source] : step.allocated) {
      const auto spec = std::find_if(step.entry->parameters.begin(), step.entry->parameters.end(),
                                     [&key = key](const ParamSpec& each) { return each.name == key; });
      const auto* whole = std::get_if<int64_t>(&spec->fallback);
      const double value = whole != nullptr ? static_cast<double>(*whole) : std::get<double>(spec->fallback);
      for (const std::string& linear : step.targets) allocated_[source][linear] = value;
    }
  }
  for (auto& [step, used] : allocations) {
    if (!used->drops()) continue;
    const std::unique_ptr<Allocation> allocation = plan_.steps[step].entry->allocate(plan_.steps[step].params);
    allocation->begin_pass(0);
    for (int64_t index = 0; index < config_.blocks; ++index) {
      Block names;  // without weights
      for (const LinearSpec& spec : block_linears(config_, index)) {
        Linear linear;
        linear.name = block_prefix(*find_family(config_.family), index) + spec.name;
        linear.role = spec.role;
        linear.expert = spec.expert;
        names.linears.push_back(std::move(linear));
      }
      std::vector<const Linear*> targets;
      for (const Linear& linear : names.linears)
        if (plan_.steps[step].targets.contains(linear.name)) targets.push_back(&linear);
      const double change = index == trial_ ? 1 : 0;  // the others go first
      allocation->notice(names, {change, change, change});
      allocation->look(targets, std::vector<LayerStats>(targets.size()));
    }
    allocated_[step] = allocation->values();
  }
  drop_chosen();
}

void BlockRun::look_at(const Block& block, const std::map<size_t, std::unique_ptr<Allocation>>& allocations,
                       int64_t pass) {
  BlockChange change;
  if ((plan_.allocation_needs & kNeedsChange) != 0) change = change_of(block);
  StatisticsCollector statistics(plan_.allocation_needs);
  const bool is_measured = plan_.allocation_needs != kNeedsNothing;
  if (is_measured) forward(text_, block, &statistics, true);
  if (is_measured && needs_contrast()) forward(contrast_, block, nullptr, true);
  for (const auto& [step, allocation] : allocations) {
    if (pass >= allocation->passes()) continue;
    std::vector<const Linear*> linears;
    std::vector<LayerStats> stats;
    for (const Linear& linear : block.linears) {
      if (!plan_.steps[step].targets.contains(linear.name)) continue;
      linears.push_back(&linear);
      stats.push_back(stats_of(linear, statistics, is_measured));
    }
    allocation->notice(block, change);
    allocation->look(linears, stats);
  }
}

void BlockRun::compress_as_allocated(Block& block) {
  StatisticsCollector statistics(plan_.needs), contrast(kNeedsMeanSquare);
  if (needs_statistics(plan_.needs)) forward(text_, block, &statistics, false);
  if (needs_contrast()) forward(contrast_, block, &contrast, false);
  for (Linear& linear : block.linears) {
    const Tensor original = weight_values(linear.weight);
    for (const PlannedStep& step : plan_.steps) {
      if (step.allocated.empty() || !step.targets.contains(linear.name)) continue;
      const std::shared_ptr<const Method> method = method_for(step, linear);
      LayerStats stats = stats_of(linear, statistics, needs_statistics(method->needs()));
      if ((method->needs() & kNeedsContrast) != 0) stats.contrast_mean_square = contrast.stats(linear).mean_square;
      stats.original = original;
      stats.stored = to_scalar_type(config_.dtype);
      method->compress(linear, stats);
    }
    linear.weight = weight_unpacked(linear.weight, block.input_norm.scalar_type());
  }
}

}  // namespace ockham
