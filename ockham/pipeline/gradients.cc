// The forward pass without gradients, and the backward pass that repeats each block's forward.
#include "ockham/pipeline/gradients.h"

#include <ATen/core/grad_mode.h>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

// Sums over the samples so far of one linear.
struct Sums {
  Tensor gradient;  // float32 [R, C]
  Tensor squares;   // float64 [C], summed over the rows, sample by sample
};

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
  return {products.sum(1), products.sum(0), (sums.squares / static_cast<double>(samples)).to(at::kFloat)};
}

}  // namespace

std::map<std::string, GradientStats> measure_gradients(const Decoder& model, int64_t blocks,
                                                       const std::function<Block(int64_t)>& read, const Tensor& ids) {
  OCKHAM_CHECK(ids.size(1) >= 2);
  const int64_t samples = ids.size(0);
  Decoder frame = model;
  frame.blocks.clear();
  frame.to(at::kFloat, model.device());
  const BlockContext context = frame.make_context(1, ids.size(1), nullptr, {});
  std::vector<Tensor> inputs = {frame.embed(ids)};  // of every block, [samples, tokens, H]
  {
    const at::NoGradGuard no_grad;
    for (int64_t index = 0; index < blocks; ++index) {
      check_interrupt();
      const Block block = as_variables(read(index));
      Tensor output = at::empty_like(inputs.back());
      for (int64_t sample = 0; sample < samples; ++sample)
        output.narrow(0, sample, 1).copy_(block.forward(inputs.back().narrow(0, sample, 1), context));
      inputs.push_back(output);
    }
  }
  const at::AutoGradMode grad(true);
  Tensor gradients = inputs.back();  // of the loss with respect to the outputs of the block at hand
  for (int64_t sample = 0; sample < samples; ++sample)
    gradients.narrow(0, sample, 1)
        .copy_(loss_gradient(frame, gradients.narrow(0, sample, 1), ids.narrow(0, sample, 1)));
  std::map<std::string, GradientStats> result;
  for (int64_t index = blocks; index-- > 0;) {
    inputs.pop_back();
    const Block block = as_variables(read(index));
    std::vector<Sums> sums(block.linears.size());
    for (int64_t sample = 0; sample < samples; ++sample) {
      check_interrupt();
      const Tensor input = inputs.back().narrow(0, sample, 1).detach().clone().requires_grad_(true);
      block.forward(input, context).backward(gradients.narrow(0, sample, 1));
      gradients.narrow(0, sample, 1).copy_(input.grad());
      for (size_t i = 0; i < sums.size(); ++i) {
        Tensor& gradient = values_of(block.linears[i]).mutable_grad();
        if (!gradient.defined()) gradient = at::zeros_like(values_of(block.linears[i]));
        const Tensor squares = gradient.square().sum({0}, false, at::kDouble);
        sums[i].squares = sums[i].squares.defined() ? sums[i].squares.add_(squares) : squares;
        sums[i].gradient = sums[i].gradient.defined() ? sums[i].gradient.add_(gradient) : gradient.clone();
        gradient.reset();
      }
    }
    for (size_t i = 0; i < sums.size(); ++i) result[block.linears[i].name] = reduce(block.linears[i], sums[i], samples);
    report_progress({"gradients", blocks - index, blocks, "blocks"});
  }
  return result;
}

}  // namespace ockham
