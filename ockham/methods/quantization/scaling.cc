// Scaling of channels, computed in float32 and kept in the weights' own type.
#include "ockham/methods/quantization/scaling.h"

#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

void multiply_columns(Linear& linear, const Tensor& scales, const char* method) {
  const Tensor values = dense_values(linear, method);
  linear.weight = DenseWeight{(values.to(at::kFloat) * scales).to(values.scalar_type())};
}

void multiply_columns(Tensor& matrix, const Tensor& scales) {
  if (matrix.defined()) matrix = (matrix.to(at::kFloat) * scales).to(matrix.scalar_type());
}

void divide_rows(Linear& linear, const Tensor& scales, const char* method) {
  const Tensor values = dense_values(linear, method);
  linear.weight = DenseWeight{(values.to(at::kFloat) / scales.unsqueeze(1)).to(values.scalar_type())};
  if (linear.bias.defined()) linear.bias = (linear.bias.to(at::kFloat) / scales).to(linear.bias.scalar_type());
}

// Scales by which the gains (plus `offset`) are divided without rounding in the stored type.
Tensor exact_scales(const Tensor& gains, const Tensor& scales, double offset, at::ScalarType stored) {
  const Tensor wide = gains.to(at::kFloat) + offset;
  const Tensor divided = (wide / scales - offset).to(stored).to(at::kFloat) + offset;
  return at::where((divided == 0).logical_or(divided.isfinite().logical_not()), scales, wide / divided);
}

void divide_norm(Tensor& gains, Tensor& bias, const Tensor& scales, double offset) {
  gains = ((gains.to(at::kFloat) + offset) / scales - offset).to(gains.scalar_type());
  if (bias.defined()) bias = (bias.to(at::kFloat) / scales).to(bias.scalar_type());
}

}  // namespace

Places places_of(const Block& block, std::initializer_list<LinearRole> roles) {
  Places places;
  for (size_t place = 0; place < block.linears.size(); ++place)
    if (std::find(roles.begin(), roles.end(), block.linears[place].role) != roles.end()) places.push_back(place);
  return places;
}

bool are_targets(const BlockInputs& inputs, const Block& block, const Places& places) {
  return std::all_of(places.begin(), places.end(),
                     [&](size_t place) { return inputs.targets.contains(block.linears[place].name); });
}

std::vector<ChannelPair> channel_pairs(const Block& block) {
  using Source = ChannelPair::Source;
  const ModelConfig& config = *block.config;
  std::vector<ChannelPair> pairs;
  if (config.is_norm_first) pairs.push_back({Source::kAttentionNorm, places_of(block, {kQuery, kKey, kValue})});
  if (config.heads == config.kv_heads)
    pairs.push_back({Source::kValue, places_of(block, {kOutput}), block.find(kValue)});
  if (config.is_norm_first) pairs.push_back({Source::kMlpNorm, places_of(block, {kGate, kUp})});
  const bool is_squared = !config.is_gated && config.activation == Activation::kSquaredRelu;
  if (config.is_gated || is_squared || config.activation == Activation::kRelu)
    for (const size_t down : places_of(block, {kDown}))
      pairs.push_back({Source::kUp, {down}, block.find(kUp, block.linears[down].expert), is_squared});
  return pairs;
}

Tensor dense_values(const Linear& linear, const char* method) {
  const auto* dense = std::get_if<DenseWeight>(&linear.weight);
  if (dense == nullptr)
    throw_input("{}: the weight is not dense, expected {} as the first step; reorder the steps", linear.name, method);
  return dense->values;
}

Tensor rescale(Block& block, const ChannelPair& pair, const Tensor& scales, const char* method) {
  const ModelConfig& config = *block.config;
  Tensor used = scales;
  if (pair.is_norm()) {
    const bool is_attention = pair.source == ChannelPair::Source::kAttentionNorm;
    Tensor& gains = is_attention ? block.input_norm : block.post_attention_norm;
    used = exact_scales(gains, scales, config.norm_offset, to_scalar_type(config.dtype));
    divide_norm(gains, is_attention ? block.input_norm_bias : block.post_attention_norm_bias, used, config.norm_offset);
    if (!is_attention) {
      multiply_columns(block.router, used);
      multiply_columns(block.shared_gate, used);
    }
  } else {
    divide_rows(block.linears[pair.linear], pair.is_squared ? scales.sqrt() : scales, method);
  }
  for (const size_t reader : pair.readers) multiply_columns(block.linears[reader], used, method);
  return used;
}

}  // namespace ockham
