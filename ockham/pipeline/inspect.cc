// Moments, outliers and patterns of weight matrices.
#include "ockham/pipeline/inspect.h"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "ockham/core/progress.h"
#include "ockham/methods/allocation/owl.h"
#include "ockham/pipeline/layer_statistics.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr double kOutlierDeviations = 6;

// Bounds the activations of a block.
constexpr int64_t kTokensPerForward = 2048;

}  // namespace

OutlierDistribution outlier_distribution(const Checkpoint& checkpoint, const CalibrationSpec& spec,
                                         const TextSource& text_source, DType dtype, double m) {
  const at::NoGradGuard no_grad;
  const ModelConfig& config = checkpoint.config();
  const Calibration calibration = draw_calibration(spec, config, checkpoint.directory(), text_source);
  for (const std::string& warning : calibration.warnings) log_warning(warning);
  OutlierDistribution result;
  result.data_sha256 = calibration.data_sha256;
  result.samples = calibration.ids.size(0);
  result.tokens = calibration.ids.size(1);
  std::unique_ptr<Decoder> frame = checkpoint.read_frame(dtype);
  const Tensor hidden = frame->embed(calibration.ids);
  BlockContext context = frame->make_context(1, result.tokens, nullptr, {});
  frame.reset();
  const int64_t step = std::max<int64_t>(1, kTokensPerForward / result.tokens);
  for (int64_t index = 0; index < config.blocks; ++index) {
    const Block block = checkpoint.read_block(index, dtype);
    StatisticsCollector statistics(kNeedsMeanSquare);
    context.observer = &statistics;
    for (int64_t begin = 0; begin < result.samples; begin += step) {
      check_interrupt();
      Tensor part = hidden.narrow(0, begin, std::min(step, result.samples - begin));
      part.copy_(block.forward(part, context));
    }
    std::vector<const Linear*> linears;
    std::vector<LayerStats> stats;
    for (const Linear& linear : block.linears) {
      linears.push_back(&linear);
      stats.push_back(statistics.stats(linear));
    }
    result.shares.push_back(outlier_share(linears, stats, m));
    report_progress({"outliers", index + 1, config.blocks, "blocks"});
  }
  return result;
}

bool satisfies_pattern(const Tensor& weights, int64_t zeros, int64_t group) {
  if (weights.size(1) % group != 0) return false;
  return ((weights.reshape({-1, group}) == 0).sum(1) >= zeros).all().item<bool>();
}

std::string find_pattern(const Tensor& weights) {
  for (const auto& [zeros, group] : {std::pair<int64_t, int64_t>{2, 4}, {4, 8}, {1, 4}, {2, 8}}) {
    if (satisfies_pattern(weights, zeros, group)) return fmt::format("{}:{}", zeros, group);
  }
  const int64_t zeros = weights.numel() - weights.count_nonzero().item<int64_t>();
  return zeros * 100 >= weights.numel() ? "unstructured" : "dense";
}

WeightStatistics weight_statistics(const Linear& linear) {
  const Tensor values = weight_to_dense(linear.weight, at::kFloat);
  WeightStatistics result;
  result.name = linear.name;
  result.weights = values.numel();
  result.zeros = result.weights - values.count_nonzero().item<int64_t>();
  result.bytes = weight_bytes(linear.weight);
  result.format = weight_format(linear.weight);
  const Tensor size = values.abs();
  result.mean_abs = size.mean(at::kDouble).item<double>();
  result.max_abs = size.max().item<double>();
  const double mean = values.mean(at::kDouble).item<double>();
  const Tensor squares = (values - mean).square_();
  const double variance = squares.mean(at::kDouble).item<double>();
  result.deviation = std::sqrt(variance);
  result.kurtosis = variance > 0 ? squares.square().mean(at::kDouble).item<double>() / (variance * variance) : 0;
  result.outliers = (size > kOutlierDeviations * result.deviation).sum().item<int64_t>();
  result.pattern = find_pattern(values);
  return result;
}

WeightStatistics merge_statistics(const std::string& name, const std::vector<WeightStatistics>& parts) {
  WeightStatistics result;
  result.name = name;
  double squares = 0, fourths = 0;
  for (const WeightStatistics& part : parts) {
    const double count = static_cast<double>(part.weights), variance = part.deviation * part.deviation;
    result.weights += part.weights;
    result.zeros += part.zeros;
    result.bytes += part.bytes;
    result.outliers += part.outliers;
    result.mean_abs += count * part.mean_abs;
    result.max_abs = std::max(result.max_abs, part.max_abs);
    squares += count * variance;
    fourths += count * part.kurtosis * variance * variance;
    result.pattern = result.pattern.empty() || result.pattern == part.pattern ? part.pattern : "mixed";
    result.format = result.format.empty() || result.format == part.format ? part.format : "mixed";
  }
  if (result.weights == 0) return result;
  const double count = static_cast<double>(result.weights), variance = squares / count;
  result.mean_abs /= count;
  result.deviation = std::sqrt(variance);
  result.kurtosis = variance > 0 ? fourths / count / (variance * variance) : 0;
  return result;
}

}  // namespace ockham
