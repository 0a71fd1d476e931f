// llm-pruner: removes neurons of the MLP and heads of the attention with everything that is coupled to them.
// Paper: Ma et al., "LLM-Pruner: On the Structural Pruning of Large Language Models" (NeurIPS 2023). A neuron is a row
// of gate and up and the column of down; a head is the rows of q and the columns of o, together with the rows of k and
// v, which with grouped queries means a key head with all of its query heads. `importance: taylor` sums |w g| over all
// of that (the paper's element-wise first order), `magnitude` w^2, `activation` the energy that the group adds to the
// output, mean square input times squared column (as Wanda's score, summed). The model is smaller afterwards and loads
// as a dense one; therefore every block loses the same number (the paper leaves the first and last blocks alone).
// Needs: gradients, or the block's inputs. Left out: recovery by adapters.
#include <algorithm>
#include <array>
#include <cmath>

#include "ockham/core/error.h"
#include "ockham/methods/method.h"
#include "ockham/methods/quantization/scaling.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr const char* kLlmPruner = "llm-pruner";

class LlmPruner final : public Method {
 public:
  explicit LlmPruner(const Params& params)
      : where_(params.where()),
        heads_(params.real("heads")),
        neurons_(params.real("neurons")),
        multiple_(params.integer("multiple")),
        importance_(params.text("importance")) {}

  unsigned needs() const override {
    if (importance_ == "magnitude") return kNeedsNothing;
    return importance_ == "taylor" ? kNeedsGradients : kNeedsMeanSquare;
  }
  bool transforms_blocks() const override { return true; }

  void resize(ModelConfig& config) const override {
    if (config.experts > 0)
      throw_error(ErrorKind::kUnsupported, "{}: found a mixture of experts, expected plain MLPs; use another method",
                  where_);
    const int64_t queries = config.heads / config.kv_heads;
    config.kv_heads = kept_heads(config.kv_heads);
    config.heads = config.kv_heads * queries;
    config.intermediate_size = kept_neurons(config.intermediate_size);
  }

  void transform(Block& block, const BlockInputs& inputs) const override {
    for (const Linear& linear : block.linears)
      if (!inputs.targets.contains(linear.name))
        throw_input(
            "{}: '{}' is no target, expected every linear of every block, since all blocks keep one shape; "
            "correct `targets` or `ignore`",
            where_, linear.name);
    const ModelConfig& config = *block.config;
    Scores rows, columns;
    score(block, inputs, rows, columns);
    const int64_t queries = config.heads / config.kv_heads * config.head_dim;
    if (kept_heads(config.kv_heads) < config.kv_heads) {
      const Tensor q = rows[kQuery] + columns[kOutput], kv = rows[kKey] + rows[kValue];
      const Tensor group =
          q.view({config.kv_heads, queries}).sum(1) + kv.view({config.kv_heads, config.head_dim}).sum(1);
      const Tensor kept = highest(group, kept_heads(config.kv_heads));
      keep_rows(block.linears[kQuery], spread(kept, queries));
      keep_rows(block.linears[kKey], spread(kept, config.head_dim));
      keep_rows(block.linears[kValue], spread(kept, config.head_dim));
      keep_columns(block.linears[kOutput], spread(kept, queries));
    }
    if (kept_neurons(config.intermediate_size) < config.intermediate_size) {
      const Tensor ups = config.is_gated ? rows[kGate] + rows[kUp] : rows[kUp];
      const Tensor kept = highest(ups + columns[kDown], kept_neurons(config.intermediate_size));
      for (Linear& linear : block.linears) {
        if (linear.role == kGate || linear.role == kUp) keep_rows(linear, kept);
        if (linear.role == kDown) keep_columns(linear, kept);
      }
    }
  }

  void compress(Linear&, const LayerStats&) const override {}

 private:
  int64_t kept_heads(int64_t all) const {
    return std::max<int64_t>(1, all - static_cast<int64_t>(static_cast<double>(all) * heads_));
  }
  // A multiple, so that kernels and groups fit, unless there are too few.
  int64_t kept_neurons(int64_t all) const {
    const int64_t kept = std::max<int64_t>(1, all - static_cast<int64_t>(static_cast<double>(all) * neurons_));
    return std::min(all, (kept + multiple_ - 1) / multiple_ * multiple_);
  }

  // By role: what a row [R] or column [C] contributes to the importance of its group.
  using Scores = std::array<Tensor, kLinearRoles>;
  void score(Block& block, const BlockInputs& inputs, Scores& rows, Scores& columns) const {
    const std::map<std::string, Tensor> energies =
        importance_ == "activation" ? input_energies(block, inputs) : std::map<std::string, Tensor>();
    for (const Linear& linear : block.linears) {
      const Tensor squares = dense_values(linear, kLlmPruner).to(at::kFloat).square();
      Tensor by_row = squares.sum(1), by_column = squares.sum(0);
      if (importance_ == "taylor") {
        OCKHAM_CHECK(inputs.gradients != nullptr);
        by_row = inputs.gradients->at(linear.name).rows;
        by_column = inputs.gradients->at(linear.name).columns;
      } else if (importance_ == "activation") {
        by_row.zero_();
        by_column.mul_(energies.at(linear.name));
      }
      rows[linear.role] = by_row;
      columns[linear.role] = by_column;
    }
  }

  // Sums of x^2 over all tokens by linear, float32 [C].
  static std::map<std::string, Tensor> input_energies(const Block& block, const BlockInputs& inputs) {
    InputRecorder recorder;
    BlockContext context = inputs.context;
    context.observer = &recorder;
    std::map<std::string, Tensor> energies;
    for (int64_t sample = 0; sample < inputs.hidden.size(0); ++sample) {
      block.forward(inputs.hidden.narrow(0, sample, 1), context);
      for (const Linear& linear : block.linears) {
        const Tensor energy = recorder.of(linear).to(at::kFloat).square().sum(0);
        Tensor& sum = energies[linear.name];
        sum = sum.defined() ? sum.add_(energy) : energy;
      }
    }
    return energies;
  }

  // Indices int64 in rising order; among equals the first stay.
  static Tensor highest(const Tensor& scores, int64_t count) {
    const Tensor order = at::argsort(scores, /*stable=*/true, 0, /*descending=*/true);
    return std::get<0>(order.narrow(0, 0, count).sort());
  }
  static Tensor spread(const Tensor& groups, int64_t width) {
    return (groups.unsqueeze(1) * width + at::arange(width, groups.options())).flatten();
  }
  static void keep_rows(Linear& linear, const Tensor& kept) {
    linear.weight = DenseWeight{dense_values(linear, kLlmPruner).index_select(0, kept)};
    if (linear.bias.defined()) linear.bias = linear.bias.index_select(0, kept);
  }
  static void keep_columns(Linear& linear, const Tensor& kept) {
    linear.weight = DenseWeight{dense_values(linear, kLlmPruner).index_select(1, kept)};
  }

  std::string where_;
  double heads_, neurons_;
  int64_t multiple_;
  std::string importance_;
};

ParamSpec share(const char* name, const char* summary) {
  return real_spec(name, summary, 0.25, 0, 1);
}

}  // namespace

const MethodEntry& llm_pruner_entry() {
  static const MethodEntry kEntry = {
      kLlmPruner,
      "pruning",
      "Removes whole heads and neurons with all weights coupled to them; the model gets smaller and stays dense.",
      "Ma et al., LLM-Pruner: On the Structural Pruning of Large Language Models, NeurIPS 2023",
      {share("heads", "share of the key heads of every block that go, each with its query heads"),
       share("neurons", "share of the neurons of every MLP that go"),
       int_spec("multiple", "the number of neurons that stay is rounded up to a multiple of this", 8, 1, 65536),
       text_spec("importance", "what decides: first-order loss change, output energy, or weights", "taylor",
                 {"taylor", "activation", "magnitude"})},
      [](const Params& params) { return std::make_unique<LlmPruner>(params); },
      {}};
  return kEntry;
}

}  // namespace ockham
