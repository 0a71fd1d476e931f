// awq: scale up the input channels that see large activations before rounding, and divide that out of the operator
// before. Paper: Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration" (MLSys
// 2024). For each group of linears that read the same input, s = mean|x|^alpha, normalised to sqrt(max * min) = 1; of
// 20 values of alpha the one whose rounded weights change the output of the inspected module least (attention; o; MLP;
// down). Pairs: norm -> q, k, v; v -> o (where both have equal shapes, so not with grouped queries); norm -> gate, up
// (of all experts, the router following); up -> down, where the activation between lets a factor pass. No pair begins
// at a norm whose output is also the residual (opt-350m). Then every linear but q and k is clipped: per group the range
// that changes its partial outputs least. Last, rounding on rtn's grid, which always holds zero (the reference's need
// not). Needs the block's own inputs, of at most `search_samples` sequences, which one forward records: scaling changes
// them by the scales alone. Magnitudes are means over all their tokens; every alpha is tried on few tokens spread over
// them and the best ones again on more. Weights that are zero stay zero.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/methods/method.h"
#include "ockham/methods/quantization/grid.h"
#include "ockham/methods/quantization/scaling.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr const char* kAwq = "awq";
constexpr int kAlphas = 20;  // 0, 0.05, ... 0.95
constexpr double kSmallestScale = 1e-4;
constexpr int kClips = 10;  // 1, 0.95, ... 0.55
constexpr int64_t kClipTokens = 512, kClipRows = 2048;
// The search looks at this many tokens, spread over all: few for every alpha, more for the best ones.
constexpr int64_t kCoarseTokens = 256, kFineTokens = 2048;
constexpr size_t kFinalists = 3;

// At most `count` rows of x at even distances.
Tensor spread(const Tensor& x, int64_t count) {
  const int64_t stride = std::max<int64_t>(1, x.size(0) / count);
  return x.slice(0, 0, std::min(x.size(0), stride * count), stride).contiguous();
}

// Of the inputs of every linear in a forward pass: the means of |x| over all tokens, and a few of the tokens.
class SearchInputs final : public LinearObserver {
 public:
  explicit SearchInputs(int64_t tokens) : stride_(std::max<int64_t>(1, tokens / kFineTokens)) {}

  void observe(const Linear& linear, const Tensor& input) override {
    Seen& seen = seen_[linear.name];
    const Tensor sums = input.to(at::kFloat).abs().sum({0}, false, at::kDouble);
    seen.sums = seen.sums.defined() ? seen.sums.add_(sums) : sums;
    const int64_t first = (stride_ - seen.count % stride_) % stride_;  // the next of every stride_ tokens
    if (first < input.size(0))
      seen.tokens.push_back(input.slice(0, first, input.size(0), stride_).contiguous().clone());
    seen.count += input.size(0);
  }

  // float32 [C]
  Tensor magnitude(const Linear& linear) const {
    const Seen& seen = seen_.at(linear.name);
    return (seen.sums / static_cast<double>(seen.count)).to(at::kFloat);
  }
  // [tokens, C]
  Tensor tokens(const Linear& linear) {
    std::vector<Tensor>& parts = seen_.at(linear.name).tokens;
    if (parts.size() > 1) parts = {at::cat(parts, 0)};
    return parts.front();
  }
  // After the linear's columns were multiplied by `scales` and its inputs divided.
  void divide(const Linear& linear, const Tensor& scales) {
    const Tensor divided = tokens(linear) / scales;
    seen_.at(linear.name).tokens = {divided.to(tokens(linear).scalar_type())};
  }

 private:
  struct Seen {
    int64_t count = 0;
    Tensor sums;                 // float64 [C], of |x|
    std::vector<Tensor> tokens;  // one after the other
  };
  int64_t stride_;
  std::map<std::string, Seen> seen_;
};

Tensor scales_for(const Tensor& magnitude, double alpha) {
  const Tensor scales = magnitude.pow(alpha).clamp_min(kSmallestScale);
  return scales / (scales.max() * scales.min()).sqrt();
}

class Awq final : public Method {
 public:
  explicit Awq(const Params& params)
      : grid_(read_grid(params)), samples_(params.integer("search_samples")), clips_(params.flag("clip")) {}

  unsigned needs() const override { return kNeedsHidden; }
  bool transforms_blocks() const override { return true; }

  void transform(Block& block, const BlockInputs& inputs) const override {
    const at::ScalarType type = inputs.hidden.scalar_type();
    const Tensor hidden = inputs.hidden.narrow(0, 0, std::min(samples_, inputs.hidden.size(0)));
    SearchInputs recorder(hidden.size(0) * hidden.size(1));
    BlockContext context = inputs.context;
    context.observer = &recorder;
    const int64_t step = std::max<int64_t>(1, kFineTokens / hidden.size(1));
    for (int64_t begin = 0; begin < hidden.size(0); begin += step)
      block.forward(hidden.narrow(0, begin, std::min(step, hidden.size(0) - begin)), context);
    for (const ChannelPair& pair : channel_pairs(block))
      if (are_targets(inputs, block, pair.readers)) scale(block, inputs, hidden, recorder, pair);
    if (clips_)
      for (const size_t place : places_of(block, {kValue, kOutput, kGate, kUp, kDown}))
        if (are_targets(inputs, block, {place})) clip(block.linears[place], recorder.tokens(block.linears[place]));
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
  // The inspected module on given inputs, with the weights that the block holds at the moment.
  using Module = std::function<Tensor(const Tensor&)>;

  // The best alpha's scales for the linears at `places`: all are compared on the inputs `coarse`, the best few again on
  // `fine`, unless that is undefined.
  Tensor search(Block& block, const Places& places, const Tensor& magnitude, const Module& module, const Tensor& coarse,
                const Tensor& fine) const {
    std::vector<Tensor> originals;
    for (const size_t place : places) originals.push_back(dense_values(block.linears[place], kAwq));
    const auto restore = [&] {
      for (size_t i = 0; i < places.size(); ++i) block.linears[places[i]].weight = DenseWeight{originals[i]};
    };
    const auto try_all = [&](const std::vector<int>& alphas, const Tensor& x) {
      const Tensor wanted = module(x).to(at::kFloat);
      std::vector<std::pair<double, int>> losses;
      for (const int alpha : alphas) {
        const Tensor scales = scales_for(magnitude, static_cast<double>(alpha) / kAlphas);
        for (size_t i = 0; i < places.size(); ++i) {
          const Tensor trial = round_trip(originals[i].to(at::kFloat), grid_, at::kFloat, scales);
          block.linears[places[i]].weight = DenseWeight{trial.to(originals[i].scalar_type())};
        }
        const double loss = (module(x).to(at::kFloat) - wanted).square_().mean(at::kDouble).item<double>();
        if (std::isfinite(loss)) losses.emplace_back(loss, alpha);
      }
      restore();
      std::sort(losses.begin(), losses.end());
      return losses;
    };
    std::vector<int> alphas(kAlphas);
    std::iota(alphas.begin(), alphas.end(), 0);
    std::vector<std::pair<double, int>> losses = try_all(alphas, coarse);
    if (fine.defined()) {
      alphas.clear();
      for (size_t i = 0; i < std::min(kFinalists, losses.size()); ++i) alphas.push_back(losses[i].second);
      losses = try_all(alphas, fine);
    }
    if (losses.empty())
      throw_input("{}: no scaling gives finite outputs; use --dtype float32", block.linears[places.front()].name);
    return scales_for(magnitude, static_cast<double>(losses.front().second) / kAlphas);
  }

  void scale(Block& block, const BlockInputs& inputs, const Tensor& hidden, SearchInputs& recorder,
             const ChannelPair& pair) const {
    const Linear& reader = block.linears[pair.readers.front()];
    Tensor tokens = recorder.tokens(reader), few;
    Module module;
    if (pair.source == ChannelPair::Source::kAttentionNorm) {
      // Attention needs whole sequences.
      const int64_t length = hidden.size(1), wanted = std::max<int64_t>(1, kFineTokens / length);
      tokens = apply_norm(spread(hidden, wanted), block.input_norm, block.input_norm_bias, *block.config);
      few = spread(tokens, std::max<int64_t>(1, kCoarseTokens / length));
      module = [&](const Tensor& x) { return block.attention(x, inputs.context); };
    } else {
      few = spread(tokens, kCoarseTokens);
      if (pair.source == ChannelPair::Source::kMlpNorm)
        module = [&](const Tensor& x) { return block.mlp(x.unsqueeze(0), inputs.context); };
      else
        module = [&](const Tensor& x) { return reader.forward(x); };
    }
    const bool has_more = few.size(0) < tokens.size(0);
    const Tensor scales =
        search(block, pair.readers, recorder.magnitude(reader), module, few, has_more ? tokens : Tensor());
    const Tensor used = rescale(block, pair, scales, kAwq);
    for (const size_t place : pair.readers) recorder.divide(block.linears[place], used);
  }

  // Per row and group the largest magnitude, shrunk step by step: partial outputs of the group over a few tokens.
  void clip(Linear& linear, const Tensor& input) const {
    const Tensor values = dense_values(linear, kAwq);
    Tensor weights = values.to(at::kFloat).clone();
    const int64_t columns = weights.size(1), rows = weights.size(0);
    const int64_t size = grid_.group_size < 0 || grid_.group_size > columns ? columns : grid_.group_size;
    const Tensor tokens = spread(input, kClipTokens).to(at::kFloat);
    for (int64_t begin = 0; begin < columns; begin += size) {
      const int64_t width = std::min(size, columns - begin);
      const Tensor x = tokens.narrow(1, begin, width);
      const Tensor gram = at::mm(x.t(), x).div_(static_cast<double>(x.size(0)));
      for (int64_t first = 0; first < rows; first += kClipRows) {
        Tensor part = weights.narrow(0, first, std::min(kClipRows, rows - first)).narrow(1, begin, width);
        part.copy_(best_clip(part.contiguous(), gram));
      }
    }
    linear.weight = DenseWeight{weights.to(values.scalar_type())};
  }

  // `gram` [C, C]: mean over tokens of x x^T, so that d gram d^T is the mean squared change of an output.
  Tensor best_clip(const Tensor& weights, const Tensor& gram) const {
    GridOptions whole = grid_;
    whole.group_size = -1;
    const Tensor largest = weights.abs().amax(1, true);
    Tensor best = weights, least = at::full({weights.size(0), 1}, std::numeric_limits<float>::infinity());
    for (int step = 0; step < kClips; ++step) {
      const Tensor limit = largest * (1 - step / 20.0);
      const Tensor clipped = at::minimum(at::maximum(weights, -limit), limit);
      const Tensor change = round_trip(clipped, whole, at::kFloat).sub_(weights);
      const Tensor error = at::mm(change, gram).mul_(change).sum(1, true);
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
  static const MethodEntry kEntry = [] {
    std::vector<ParamSpec> parameters = grid_parameters();
    parameters[1].fallback = int64_t{128};
    parameters.push_back(
        int_spec("search_samples", "calibration sequences that the search for scales and clips uses", 16, 1, 100000));
    parameters.push_back(flag_spec("clip", "shrink the range of every group to what changes its outputs least", true));
    return MethodEntry{
        kAwq,
        "quantization",
        "Scales the input channels with large activations up before rounding and undoes it in the norm before.",
        "Lin et al., AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration, MLSys "
        "2024",
        parameters,
        [](const Params& params) { return std::make_unique<Awq>(params); },
        {}};
  }();
  return kEntry;
}

}  // namespace ockham
