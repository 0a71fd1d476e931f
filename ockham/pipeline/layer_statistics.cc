// Sums over tokens.
#include "ockham/pipeline/layer_statistics.h"

#include <algorithm>
#include <cmath>

#include "ockham/core/error.h"
#include "ockham/tensor/fused.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

[[noreturn]] void refuse_infinite(const std::string& linear) {
  throw_input(
      "calibration: inputs of '{}' are not finite, expected finite activations; use --dtype float32 or another model",
      linear);
}

}  // namespace

void StatisticsCollector::observe(const Linear& linear, const Tensor& input) {
  if (!watched_.empty() && !watched_.contains(linear.name)) return;
  // Inputs of down have a place of their own, so that those of gate and up are still known at the next expert.
  auto& [last_input, last_name] = last_[linear.role == kDown ? 1 : 0];
  const bool is_shared = last_input.defined() && last_input.const_data_ptr() == input.const_data_ptr() &&
                         last_input.sizes() == input.sizes();
  if (is_shared) {
    source_[linear.name] = last_name;
    return;
  }
  last_input = input;  // kept, so that its memory is not given to another tensor meanwhile
  last_name = linear.name;
  source_[linear.name] = linear.name;
  Sums& sums = sums_[linear.name];
  sums.tokens += input.size(0);
  if ((needs_ & kNeedsMean) != 0) {
    const Tensor values = input.to(at::kFloat).sum({0}, false, at::kDouble);
    sums.values = sums.values.defined() ? sums.values.add_(values) : values;
  }
  if ((needs_ & (kNeedsMeanSquare | kNeedsMean)) != 0) {
    // Squares in float32: those of float16 inputs overflow above 256.
    const Tensor squares =
        can_fuse(input) ? fused_column_squares(input) : input.to(at::kFloat).square().sum({0}, false, at::kDouble);
    sums.squares = sums.squares.defined() ? sums.squares.add_(squares) : squares;
  }
  if ((needs_ & kNeedsMax) != 0) {
    const Tensor largest = input.abs().amax(0).to(at::kFloat);
    sums.largest = sums.largest.defined() ? at::maximum(sums.largest, largest) : largest;
  }
  if ((needs_ & kNeedsGram) != 0) {
    if (!sums.gram.defined()) sums.gram = at::zeros({input.size(1), input.size(1)}, input.options().dtype(at::kFloat));
    add_gram(sums.gram, input);
  }
}

LayerStats StatisticsCollector::stats(const Linear& linear) const {
  const std::string& source = source_.at(linear.name);
  if (const auto it = finished_.find(source); it != finished_.end()) return it->second;
  const Sums& sums = sums_.at(source);
  LayerStats stats;
  stats.tokens = sums.tokens;
  if (sums.squares.defined()) {
    if (!sums.squares.isfinite().all().item<bool>()) refuse_infinite(linear.name);
    stats.mean_square = (sums.squares / static_cast<double>(sums.tokens)).to(at::kFloat);
  }
  if (sums.values.defined()) {
    const Tensor mean = sums.values / static_cast<double>(sums.tokens);
    const Tensor square = sums.squares / static_cast<double>(sums.tokens);
    stats.mean = mean.to(at::kFloat);
    stats.variance = (square - mean.square()).clamp_min_(0).to(at::kFloat);
  }
  if (sums.largest.defined()) {
    if (!sums.largest.isfinite().all().item<bool>()) refuse_infinite(linear.name);
    stats.max_abs = sums.largest;
  }
  if (sums.gram.defined()) {
    // In place, since the matrix is large: nothing is observed any more once statistics were asked for.
    stats.gram = sums.gram;
    stats.gram.div_(static_cast<double>(sums.tokens));
    mirror_upper(stats.gram);
    if (!all_finite(stats.gram)) refuse_infinite(linear.name);
    stats.factors = std::make_shared<std::map<std::pair<double, bool>, HessianFactor>>();
  }
  finished_[source] = stats;
  return stats;
}

void StatisticsCollector::release(const Linear& linear) {
  const auto found = source_.find(linear.name);
  if (found == source_.end()) return;
  const std::string source = found->second;
  source_.erase(found);
  const auto waits = [&](const auto& entry) { return entry.second == source; };
  if (std::any_of(source_.begin(), source_.end(), waits)) return;
  sums_.erase(source);
  finished_.erase(source);
}

}  // namespace ockham
