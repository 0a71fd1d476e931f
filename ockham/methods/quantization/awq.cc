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

#include "ockham/core/error.h"
#include "ockham/methods/method.h"
#include "ockham/methods/quantization/grid.h"
#include "ockham/methods/quantization/scaling.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr const char* kName = "awq";
constexpr int kAlphas = 20;  // 0, 0.05, ... 0.95
constexpr double kSmallestScale = 1e-4;
constexpr int kClips = 10;  // 1, 0.95, ... 0.55
constexpr int64_t kClipTokens = 512, kClipRows = 64;

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
    for (const ChannelPair& pair : channel_pairs(block)) scale(block, inputs, hidden, pair);
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
  Tensor rounded(const Tensor& weights) const {
    GroupIntWeight grid = fit_grid(weights, grid_, at::kFloat);
    round_to_grid(weights, grid);
    return weight_to_dense(grid, at::kFloat);
  }

  // The best alpha's scales for the linears at `places`; `output` computes the inspected module with trial weights.
  template <typename Output>
  Tensor search(Block& block, const Places& places, const Tensor& magnitude, Output&& output) const {
    std::vector<Tensor> originals;
    for (const size_t place : places) originals.push_back(dense_values(block.linears[place], kName));
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

  static InputRecorder record(Block& block, const BlockInputs& inputs, const Tensor& hidden) {
    InputRecorder recorder;
    BlockContext context = inputs.context;
    context.observer = &recorder;
    block.forward(hidden, context);
    return recorder;
  }

  void scale(Block& block, const BlockInputs& inputs, const Tensor& hidden, const ChannelPair& pair) const {
    if (!are_targets(inputs, block, pair.readers)) return;
    const Tensor flat = record(block, inputs, hidden).of(block.linears[pair.readers.front()]);
    const auto output = [&] {
      if (pair.source == ChannelPair::Source::kAttentionNorm)
        return block.attention(flat.view(hidden.sizes()), inputs.context);
      if (pair.source == ChannelPair::Source::kMlpNorm) return block.mlp(flat.view(hidden.sizes()), inputs.context);
      return block.linears[pair.readers.front()].forward(flat);
    };
    rescale(block, pair, search(block, pair.readers, mean_magnitude(flat), output), kName);
  }

  void clip_block(Block& block, const BlockInputs& inputs, const Tensor& hidden) const {
    const InputRecorder recorder = record(block, inputs, hidden);
    for (const size_t place : places_of(block, {kValue, kOutput, kGate, kUp, kDown}))
      if (are_targets(inputs, block, {place})) clip(block.linears[place], recorder.of(block.linears[place]));
  }

  // Per row and group the largest magnitude, shrunk step by step: partial outputs of the group over a few tokens.
  void clip(Linear& linear, const Tensor& input) const {
    const Tensor values = dense_values(linear, kName);
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
        kName,
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
