// Moments, outliers and patterns of weight matrices.
#include "ockham/pipeline/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr double kOutlierDeviations = 6;

}  // namespace

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
