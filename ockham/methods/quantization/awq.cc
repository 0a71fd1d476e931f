// awq: scale up the input channels that see large activations before rounding, and divide that out of the operator
// before. Paper: Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration" (MLSys
// 2024). For each group of linears that read the same input, s = mean|x|^alpha, normalised to sqrt(max * min) = 1; of
// 20 values of alpha the one whose rounded weights change the output of the inspected module least (attention; o; MLP;
// down). Pairs: norm -> q, k, v; v -> o (where both have equal shapes, so not with grouped queries); norm -> gate, up
// (of all experts, the router following); up -> down, where the activation between lets a factor pass. No pair begins
// at a norm whose output is also the residual (opt-350m). Then every linear but q and k is clipped: per group the range
// that changes its partial outputs least. Last, rounding on rtn's grid, which always holds zero (the reference's need
// not). Needs the block's own inputs; at most `search_samples` sequences are used for the search. Weights that are zero
// stay zero.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "ockham/core/error.h"
#include "ockham/methods/method.h"
#include "ockham/methods/quantization/grid.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr int kAlphas = 20;  // 0, 0.05, ... 0.95
constexpr double kSmallestScale = 1e-4;
constexpr int kClips = 10;  // 1, 0.95, ... 0.55
constexpr int64_t kClipTokens = 512, kClipRows = 64;

// The inputs of a block's linears in a forward pass, [tokens, C].
class InputRecorder final : public LinearObserver {
 public:
  void observe(const Linear& linear, const Tensor& input) override { inputs_[linear.name] = input; }
  const Tensor& of(const Linear& linear) const { return inputs_.at(linear.name); }

 private:
  std::map<std::string, Tensor> inputs_;
};

Tensor dense_values(const Linear& linear) {
  const auto* dense = std::get_if<DenseWeight>(&linear.weight);
  if (dense == nullptr)
    throw_input("{}: the weight is not dense, expected awq as the first step; reorder the steps", linear.name);
  return dense->values;
}

// Means of |x| over tokens, float32 [C].
Tensor mean_magnitude(const Tensor& input) {
  return input.to(at::kFloat).abs().mean(0);
}

Tensor scales_for(const Tensor& magnitude, double alpha) {
  const Tensor scales = magnitude.pow(alpha).clamp_min(kSmallestScale);
  return scales / (scales.max() * scales.min()).sqrt();
}

class Awq final : public Method {
 public:
  explicit Awq(const Params& params)
      : grid_(read_grid(params)), samples_(params.integer("search_samples")), clips_(params.flag("clip")) {}

  unsigned needs() const override { return kNeedsMeanSquare; }
  bool transforms_blocks() const override { return true; }

  void transform(Block& block, const BlockInputs& inputs) const override {
    const at::ScalarType type = inputs.hidden.scalar_type();
    const Tensor hidden = inputs.hidden.narrow(0, 0, std::min(samples_, inputs.hidden.size(0)));
    scale_attention(block, inputs, hidden);
    scale_output(block, inputs, hidden);
    scale_mlp(block, inputs, hidden);
    if (clips_) clip_block(block, inputs, hidden);
    for (Linear& linear : block.linears)
      if (auto* dense = std::get_if<DenseWeight>(&linear.weight)) dense->values = dense->values.to(type);
  }

  void compress(Linear& linear, const LayerStats& stats) const override {
    const Tensor weights = weight_to_dense(linear.weight, at::kFloat);
    GroupIntWeight result = fit_grid(weights, grid_, scale_type_for(linear.weight, stats.stored));
    round_to_grid(weights, result);
    linear.weight = result;
  }

 private:
  using Places = std::vector<size_t>;  // of linears in their block

  static Places places_of(const Block& block, std::initializer_list<LinearRole> roles) {
    Places places;
    for (size_t place = 0; place < block.linears.size(); ++place)
      if (std::find(roles.begin(), roles.end(), block.linears[place].role) != roles.end()) places.push_back(place);
    return places;
  }

  bool is_target(const BlockInputs& inputs, const Block& block, const Places& places) const {
    return std::all_of(places.begin(), places.end(),
                       [&](size_t place) { return inputs.targets.contains(block.linears[place].name); });
  }

  Tensor rounded(const Tensor& weights) const {
    GroupIntWeight grid = fit_grid(weights, grid_, at::kFloat);
    round_to_grid(weights, grid);
    return weight_to_dense(grid, at::kFloat);
  }

  // The best alpha's scales for the linears at `places`; `output` computes the inspected module with trial weights.
  template <typename Output>
  Tensor search(Block& block, const Places& places, const Tensor& magnitude, Output&& output) const {
    std::vector<Tensor> originals;
    for (const size_t place : places) originals.push_back(dense_values(block.linears[place]));
    const Tensor wanted = output().to(at::kFloat);
    Tensor best;
    double least = std::numeric_limits<double>::infinity();
    for (int step = 0; step < kAlphas; ++step) {
      const Tensor scales = scales_for(magnitude, static_cast<double>(step) / kAlphas);
      size_t i = 0;
      for (const size_t place : places) {
        const Tensor trial = rounded(originals[i].to(at::kFloat) * scales).div_(scales);
        block.linears[place].weight = DenseWeight{trial.to(originals[i].scalar_type())};
        ++i;
      }
      const double loss = (output().to(at::kFloat) - wanted).square().mean(at::kDouble).template item<double>();
      if (loss < least) {
        least = loss;
        best = scales;
      }
    }
    size_t i = 0;
    for (const size_t place : places) block.linears[place].weight = DenseWeight{originals[i++]};
    if (!best.defined())
      throw_input("{}: no scaling gives finite outputs; use --dtype float32", block.linears[places.front()].name);
    return best;
  }

  static void multiply_columns(Linear& linear, const Tensor& scales) {
    const Tensor values = dense_values(linear);
    linear.weight = DenseWeight{(values.to(at::kFloat) * scales).to(values.scalar_type())};
  }
  static void divide_rows(Linear& linear, const Tensor& scales) {
    const Tensor values = dense_values(linear);
    linear.weight = DenseWeight{(values.to(at::kFloat) / scales.unsqueeze(1)).to(values.scalar_type())};
    if (linear.bias.defined()) linear.bias = (linear.bias.to(at::kFloat) / scales).to(linear.bias.scalar_type());
  }
  // The norm's outputs divided by the scales.
  static void divide_norm(Tensor& weight, Tensor& bias, const Tensor& scales, double offset) {
    weight = ((weight.to(at::kFloat) + offset) / scales - offset).to(weight.scalar_type());
    if (bias.defined()) bias = (bias.to(at::kFloat) / scales).to(bias.scalar_type());
  }
  static void multiply_columns(Tensor& matrix, const Tensor& scales) {
    if (matrix.defined()) matrix = (matrix.to(at::kFloat) * scales).to(matrix.scalar_type());
  }

  void scale_attention(Block& block, const BlockInputs& inputs, const Tensor& hidden) const {
    const Places places = {kQuery, kKey, kValue};
    if (!is_target(inputs, block, places) || !block.config->is_norm_first) return;
    const Tensor normed = apply_norm(hidden, block.input_norm, block.input_norm_bias, *block.config);
    const Tensor scales = search(block, places, mean_magnitude(normed.flatten(0, 1)),
                                 [&] { return block.attention(normed, inputs.context); });
    for (const size_t place : places) multiply_columns(block.linears[place], scales);
    divide_norm(block.input_norm, block.input_norm_bias, scales, block.config->norm_offset);
  }

  static InputRecorder record(Block& block, const BlockInputs& inputs, const Tensor& hidden) {
    InputRecorder recorder;
    BlockContext context = inputs.context;
    context.observer = &recorder;
    block.forward(hidden, context);
    return recorder;
  }

  // v -> o: the values' channels are those of o's input only when no head is shared.
  void scale_output(Block& block, const BlockInputs& inputs, const Tensor& hidden) const {
    Linear &value = block.linears[kValue], &output = block.linears[kOutput];
    if (!is_target(inputs, block, {kOutput}) || block.config->heads != block.config->kv_heads) return;
    const Tensor mixed = record(block, inputs, hidden).of(output);
    const Tensor scales = search(block, {kOutput}, mean_magnitude(mixed), [&] { return output.forward(mixed); });
    multiply_columns(output, scales);
    divide_rows(value, scales);
  }

  void scale_mlp(Block& block, const BlockInputs& inputs, const Tensor& hidden) const {
    const ModelConfig& config = *block.config;
    const Places readers = places_of(block, {kGate, kUp});
    if (is_target(inputs, block, readers) && config.is_norm_first) {
      const Tensor flat = record(block, inputs, hidden).of(block.linears[readers.front()]);
      const Tensor normed = flat.view(hidden.sizes());
      const Tensor scales =
          search(block, readers, mean_magnitude(flat), [&] { return block.mlp(normed, inputs.context); });
      for (const size_t place : readers) multiply_columns(block.linears[place], scales);
      multiply_columns(block.router, scales);
      multiply_columns(block.shared_gate, scales);
      divide_norm(block.post_attention_norm, block.post_attention_norm_bias, scales, config.norm_offset);
    }
    const bool is_squared = !config.is_gated && config.activation == Activation::kSquaredRelu;
    if (!config.is_gated && !is_squared && config.activation != Activation::kRelu) return;
    const Places last = places_of(block, {kDown});
    if (std::none_of(last.begin(), last.end(), [&](size_t place) { return is_target(inputs, block, {place}); })) return;
    const InputRecorder recorder = record(block, inputs, hidden);
    for (const size_t place : last) {
      Linear& down = block.linears[place];
      if (!is_target(inputs, block, {place})) continue;
      const Tensor& inner = recorder.of(down);
      const Tensor scales = search(block, {place}, mean_magnitude(inner), [&] { return down.forward(inner); });
      multiply_columns(down, scales);
      divide_rows(block.linears[block.find(kUp, down.expert)], is_squared ? scales.sqrt() : scales);
    }
  }

  void clip_block(Block& block, const BlockInputs& inputs, const Tensor& hidden) const {
    const InputRecorder recorder = record(block, inputs, hidden);
    for (const size_t place : places_of(block, {kValue, kOutput, kGate, kUp, kDown}))
      if (is_target(inputs, block, {place})) clip(block.linears[place], recorder.of(block.linears[place]));
  }

  // Per row and group the largest magnitude, shrunk step by step: partial outputs of the group over a few tokens.
  void clip(Linear& linear, const Tensor& input) const {
    const Tensor values = dense_values(linear);
    Tensor weights = values.to(at::kFloat).clone();
    const int64_t columns = weights.size(1), rows = weights.size(0);
    const int64_t size = grid_.group_size < 0 || grid_.group_size > columns ? columns : grid_.group_size;
    const int64_t stride = std::max<int64_t>(1, input.size(0) / kClipTokens);
    const Tensor tokens = input.slice(0, 0, input.size(0), stride)
                              .narrow(0, 0, std::min(kClipTokens, input.size(0) / stride))
                              .to(at::kFloat);
    for (int64_t begin = 0; begin < columns; begin += size) {
      const int64_t width = std::min(size, columns - begin);
      const Tensor x = tokens.narrow(1, begin, width).t().contiguous();  // [width, tokens]
      for (int64_t first = 0; first < rows; first += kClipRows) {
        Tensor part = weights.narrow(0, first, std::min(kClipRows, rows - first)).narrow(1, begin, width);
        part.copy_(best_clip(part.contiguous(), x));
      }
    }
    linear.weight = DenseWeight{weights.to(values.scalar_type())};
  }

  Tensor best_clip(const Tensor& weights, const Tensor& x) const {
    GridOptions whole = grid_;
    whole.group_size = -1;
    const Tensor largest = weights.abs().amax(1, true), wanted = weights.matmul(x);
    Tensor best = weights, least = at::full({weights.size(0), 1}, std::numeric_limits<float>::infinity());
    for (int step = 0; step < kClips; ++step) {
      const Tensor limit = largest * (1 - step / 20.0);
      const Tensor clipped = at::minimum(at::maximum(weights, -limit), limit);
      GroupIntWeight grid = fit_grid(clipped, whole, at::kFloat);
      round_to_grid(clipped, grid);
      const Tensor error = (weight_to_dense(grid, at::kFloat).matmul(x) - wanted).square().mean(1, true);
      const Tensor is_better = error < least;
      least = at::where(is_better, error, least);
      best = at::where(is_better, clipped, best);
    }
    return best;
  }

  GridOptions grid_;
  int64_t samples_;
  bool clips_;
};

}  // namespace

const MethodEntry& awq_entry() {
  static const MethodEntry entry = [] {
    std::vector<ParamSpec> parameters = grid_parameters();
    parameters[1].fallback = int64_t{128};
    parameters.push_back({.name = "search_samples",
                          .type = ParamSpec::Type::kInt,
                          .summary = "calibration sequences that the search for scales and clips uses",
                          .fallback = int64_t{16},
                          .low = 1,
                          .high = 100000,
                          .choices = {}});
    parameters.push_back({.name = "clip",
                          .type = ParamSpec::Type::kBool,
                          .summary = "shrink the range of every group to what changes its outputs least",
                          .fallback = true,
                          .choices = {}});
    return MethodEntry{
        "awq",
        "quantization",
        "Scales the input channels with large activations up before rounding and undoes it in the norm before.",
        "Lin et al., AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration, MLSys "
        "2024",
        parameters,
        [](const Params& params) { return std::make_unique<Awq>(params); },
        {}};
  }();
  return entry;
}

}  // namespace ockham
