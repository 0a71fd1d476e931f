// The forward pass without gradients, and the backward pass that repeats each block's forward.
#include "ockham/pipeline/gradients.h"

#include <ATen/core/grad_mode.h>

#include <memory>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/scratch_file.h"
#include "ockham/methods/quantization/grid.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

// Sums over the samples so far of one linear.
struct Sums {
  Tensor gradient;  // float32 [R, C]
  Tensor squares;   // float64 [C], summed over the rows, sample by sample
  Tensor salience;  // float64 [R]
  Tensor rounding;  // float32 [R, C]: what coarse rounding changes
};
// What MixLLM rounds the less salient rows to.
constexpr GridOptions kCoarse = {4, 128, false};

Block as_variables(Block block) {
  for (Tensor* tensor : block.tensors()) *tensor = tensor->to(at::kFloat);
  for (Linear& linear : block.linears) {
    // Its own storage: the block may share its tensors with a model.
    const Tensor values = weight_to_dense(linear.weight, at::kFloat).detach().clone();
    linear.weight = DenseWeight{values.requires_grad_(true)};
    if (linear.bias.defined()) linear.bias = linear.bias.to(at::kFloat);
  }
  return block;
}

const Tensor& values_of(const Linear& linear) {
  return std::get<DenseWeight>(linear.weight).values;
}

// Gradient of the mean loss of one sequence with respect to the last block's output [1, T, H].
Tensor loss_gradient(const Decoder& frame, const Tensor& hidden, const Tensor& ids) {
  const Tensor variable = hidden.detach().requires_grad_(true);
  const int64_t predictions = ids.size(1) - 1;
  const Tensor logits = frame.logits(frame.finish(variable)).narrow(1, 0, predictions);
  const Tensor loss = at::cross_entropy_loss(logits.flatten(0, 1), ids.narrow(1, 1, predictions).flatten());
  loss.backward();
  return variable.grad();
}

GradientStats reduce(const Linear& linear, const Sums& sums, int64_t samples) {
  if (!sums.gradient.isfinite().all().item<bool>())
    throw_input("calibration: gradients of '{}' are not finite, expected finite ones; use other calibration data",
                linear.name);
  const Tensor products = (values_of(linear).detach() * sums.gradient).abs_().div_(static_cast<double>(samples));
  return {products.sum(1), products.sum(0), (sums.squares / static_cast<double>(samples)).to(at::kFloat),
          sums.salience};
}

// Of one sample. The loss is not linear in the row: the square stands for the second-order term.
void add_sample(const Tensor& gradient, Sums& sums) {
  const Tensor squares = gradient.square().sum({0}, false, at::kDouble);
  const Tensor change = (gradient * sums.rounding).sum({1}, false, at::kDouble);
  const Tensor salience = (change + 0.5 * change.square()).abs();
  if (!sums.gradient.defined()) {
    sums.gradient = gradient.clone();
    sums.squares = squares;
    sums.salience = salience;
    return;
  }
  sums.gradient.add_(gradient);
  sums.squares.add_(squares);
  sums.salience.add_(salience);
}

// From saliences to places among the rows of all linears.
void rank_rows(std::map<std::string, GradientStats>& stats) {
  std::vector<Tensor> all;
  for (auto& [name, one] : stats) all.push_back(one.place);
  const Tensor saliences = at::cat(all);
  const Tensor order = std::get<1>(at::sort(saliences, true, 0, true));
  const auto rows = static_cast<double>(order.size(0));
  Tensor places = at::empty_like(saliences);
  places.index_copy_(0, order, at::arange(1, order.size(0) + 1, saliences.options()).div_(rows));
  int64_t first = 0;
  for (auto& [name, one] : stats) {
    const int64_t count = one.place.size(0);
    one.place = places.narrow(0, first, count).clone();
    first += count;
  }
}

// Hidden states that are wanted again in the opposite order.
class HiddenStack {
 public:
  explicit HiddenStack(const std::string& scratch) {
    if (!scratch.empty()) file_ = std::make_unique<ScratchFile>(scratch);
  }
  // Their storage may be used again where they go to disk.
  void push(const Tensor& hidden) {
    if (file_ == nullptr) return kept_.push_back(hidden);
    const Tensor bytes = hidden.contiguous().cpu();
    file_->push(bytes.const_data_ptr(), static_cast<size_t>(bytes.nbytes()));
  }
  // `like`: of the size and type that was pushed.
  Tensor pop(const Tensor& like) {
    if (file_ == nullptr) {
      Tensor hidden = kept_.back();
      kept_.pop_back();
      return hidden;
    }
    Tensor hidden = at::empty(like.sizes(), like.options().device(at::kCPU));
    file_->pop(hidden.mutable_data_ptr(), static_cast<size_t>(hidden.nbytes()));
    return hidden.to(like.device());
  }

 private:
  std::unique_ptr<ScratchFile> file_;
  std::vector<Tensor> kept_;
};

}  // namespace

std::map<std::string, GradientStats> measure_gradients(const Decoder& model, int64_t blocks,
                                                       const std::function<Block(int64_t)>& read, const Tensor& ids,
                                                       const std::string& scratch) {
  OCKHAM_CHECK(ids.size(1) >= 2);
  const int64_t samples = ids.size(0);
  Decoder frame = model;
  frame.blocks.clear();
  frame.to(at::kFloat, model.device());
  const BlockContext context = frame.make_context(1, ids.size(1), nullptr, {});
  HiddenStack inputs(scratch);  // of every block, [samples, tokens, H]
  Tensor gradients =
      frame.embed(ids);  // the states first; then, of the loss with respect to the block at hand's output
  {
    const at::NoGradGuard no_grad;
    for (int64_t index = 0; index < blocks; ++index) {
      check_interrupt();
      const Block block = as_variables(read(index));
      inputs.push(scratch.empty() ? gradients.clone() : gradients);
      for (int64_t sample = 0; sample < samples; ++sample) {
        Tensor part = gradients.narrow(0, sample, 1);
        part.copy_(block.forward(part, context));
      }
    }
  }
  const at::AutoGradMode grad(true);
  for (int64_t sample = 0; sample < samples; ++sample)
    gradients.narrow(0, sample, 1)
        .copy_(loss_gradient(frame, gradients.narrow(0, sample, 1), ids.narrow(0, sample, 1)));
  std::map<std::string, GradientStats> result;
  for (int64_t index = blocks; index-- > 0;) {
    const Tensor states = inputs.pop(gradients);
    const Block block = as_variables(read(index));
    std::vector<Sums> sums(block.linears.size());
    for (size_t i = 0; i < sums.size(); ++i) {
      const Tensor values = values_of(block.linears[i]).detach();
      sums[i].rounding = round_trip(values, kCoarse, at::kFloat).sub_(values);
    }
    for (int64_t sample = 0; sample < samples; ++sample) {
      check_interrupt();
      const Tensor input = states.narrow(0, sample, 1).detach().clone().requires_grad_(true);
      block.forward(input, context).backward(gradients.narrow(0, sample, 1));
      gradients.narrow(0, sample, 1).copy_(input.grad());
      for (size_t i = 0; i < sums.size(); ++i) {
        Tensor& gradient = values_of(block.linears[i]).mutable_grad();
        if (!gradient.defined()) gradient = at::zeros_like(values_of(block.linears[i]));
        add_sample(gradient, sums[i]);
        gradient.reset();
      }
    }
    for (size_t i = 0; i < sums.size(); ++i) result[block.linears[i].name] = reduce(block.linears[i], sums[i], samples);
    report_progress({"gradients", blocks - index, blocks, "blocks"});
  }
  rank_rows(result);
  return result;
}

}  // namespace ockham
