// Loss and gradients through Decoder and libtorch's autograd, on any device.
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/core/rng.h"
#include "ockham/tensor/ops.h"
#include "ockham/train/engine.h"

namespace ockham {
namespace {

class AutogradEngine final : public TrainEngine {
 public:
  AutogradEngine(const ModelConfig& config, DType dtype, const at::Device& device)
      : layout_(ParameterLayout::of(config)), decoder_(Decoder::random(config, 0, DType::kF32)), device_(device) {
    decoder_->to(to_scalar_type(dtype), device);
    parameters_ = decoder_->parameters();
    for (auto& [name, tensor] : parameters_) tensor.requires_grad_(true);
  }

  void load_weights(const float* values) override { copy_weights(layout_, values, *decoder_); }

  double add_gradients(const PackedBatch& batch, float scale, float* gradients) override {
    at::Tensor loss = forward(batch);
    (loss * scale).backward();
    for (auto& [name, tensor] : parameters_) {
      const ParameterSpan& span = layout_.find(name);
      at::Tensor to = at::from_blob(gradients + span.offset, {span.elements()}, at::TensorOptions().dtype(at::kFloat));
      to.add_(tensor.grad().detach().to(at::kCPU, at::kFloat).reshape({-1}));
      tensor.mutable_grad().reset();
    }
    return loss.item<double>();
  }

  double loss(const PackedBatch& batch) override {
    const at::NoGradGuard no_grad;
    return forward(batch).item<double>();
  }

 private:
  at::Tensor forward(const PackedBatch& batch) const {
    const auto rows = static_cast<int64_t>(batch.ids.size());
    const auto tensor_of = [&](const std::vector<int32_t>& values) {
      return at::tensor(at::ArrayRef<int32_t>(values), at::TensorOptions().dtype(at::kInt)).to(device_, at::kLong);
    };
    // May attend: to the same document, backwards. Rows behind the documents see only themselves.
    std::vector<int32_t> document(batch.ids.size(), -1);
    for (size_t i = 0; i < batch.segments.size(); ++i) {
      std::fill_n(document.begin() + batch.segments[i].begin, batch.segments[i].length, static_cast<int32_t>(i));
    }
    const at::Tensor owner = tensor_of(document), index = at::arange(rows, owner.options());
    const at::Tensor same = owner.unsqueeze(0) == owner.unsqueeze(1), before = index.unsqueeze(0) <= index.unsqueeze(1);
    const at::Tensor is_self = index.unsqueeze(0) == index.unsqueeze(1);
    const at::Tensor padding_row = (owner < 0).unsqueeze(1);
    const at::Tensor mask = (same & before & ~padding_row) | is_self;

    const int64_t longest = 1 + *std::max_element(batch.positions.begin(), batch.positions.end());
    BlockContext context = decoder_->make_context(1, longest, nullptr, {});
    const at::Tensor positions = tensor_of(batch.positions);
    context.cos = context.cos.reshape({longest, -1}).index_select(0, positions);
    context.sin = context.sin.reshape({longest, -1}).index_select(0, positions);
    context.mask = mask.view({1, 1, rows, rows});
    at::Tensor hidden = decoder_->embed(tensor_of(batch.ids).view({1, rows}));
    for (size_t i = 0; i < decoder_->blocks.size(); ++i) {
      context.index = static_cast<int64_t>(i);
      hidden = decoder_->blocks[i].forward(hidden, context);
    }
    const at::Tensor logits = decoder_->logits(decoder_->finish(hidden));
    const at::Tensor targets = tensor_of(batch.targets);
    const at::Tensor weights =
        at::tensor(at::ArrayRef<float>(batch.weights)).to(device_) * (targets >= 0).to(at::kFloat);
    const at::Tensor log_p = at::log_softmax(logits.view({rows, -1}), -1, at::kFloat);
    return -(log_p.gather(1, targets.clamp_min(0).unsqueeze(1)).squeeze(1) * weights).sum();
  }

  ParameterLayout layout_;
  std::unique_ptr<Decoder> decoder_;
  at::Device device_;
  std::vector<std::pair<std::string, at::Tensor>> parameters_;
};

}  // namespace

std::unique_ptr<TrainEngine> make_autograd_engine(const ModelConfig& config, DType dtype, const at::Device& device) {
  return std::make_unique<AutogradEngine>(config, dtype, device);
}

}  // namespace ockham
