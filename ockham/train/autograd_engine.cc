// Loss and gradients through Decoder and libtorch's autograd, on any device.
#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <limits>

#include "ockham/core/error.h"
#include "ockham/core/rng.h"
#include "ockham/tensor/ops.h"
#include "ockham/train/engine.h"

namespace ockham {
namespace {

constexpr int64_t kGpuTokens = 32768;  // of one pass: a GPU waits for small ones, and the logits take 4 bytes a word

class AutogradEngine final : public TrainEngine {
 public:
  AutogradEngine(const ModelConfig& config, DType dtype, const at::Device& device)
      : layout_(ParameterLayout::of(config)), decoder_(Decoder::random(config, 0, DType::kF32)), device_(device) {
    if (!device.is_cpu()) {
      at::globalContext().setAllowTF32CuBLAS(dtype == DType::kBF16);
      dtype = DType::kF32;
    }
    decoder_->to(to_scalar_type(dtype), device);
    // All weights are parts of one tensor, and so are their gradients, so that each way is one copy.
    values_ = at::zeros({layout_.elements}, at::TensorOptions().dtype(to_scalar_type(dtype)).device(device));
    gradients_ = at::zeros_like(values_);
    for (auto& [name, tensor] : decoder_->parameters()) {
      const ParameterSpan& span = layout_.find(name);
      OCKHAM_CHECK(tensor.numel() == span.elements());
      tensor.set_data(values_.narrow(0, span.offset, span.elements()).view(tensor.sizes()));
      tensor.requires_grad_(true);
      tensor.mutable_grad() = gradients_.narrow(0, span.offset, span.elements()).view(tensor.sizes());
    }
  }

  void load_weights(const float* values) override {
    const at::NoGradGuard no_grad;
    values_.copy_(flat(const_cast<float*>(values)));
  }

  double add_gradients(std::span<const PackedBatch> batches, float scale, float* gradients) override {
    double loss = 0;
    gradients_.zero_();
    while (!batches.empty()) {
      const auto rows = static_cast<int64_t>(batches.front().ids.size());
      const size_t together = device_.is_cpu() ? 1 : static_cast<size_t>(std::max<int64_t>(1, kGpuTokens / rows));
      const std::span<const PackedBatch> part = batches.first(std::min(together, batches.size()));
      const at::Tensor sum = forward(part);
      (sum * scale).backward();
      loss += sum.item<double>();
      batches = batches.subspan(part.size());
    }
    flat(gradients).add_(gradients_.to(at::kCPU, at::kFloat));
    return loss;
  }

  double loss(const PackedBatch& batch) override {
    const at::NoGradGuard no_grad;
    return forward({&batch, 1}).item<double>();
  }

 private:
  at::Tensor flat(float* values) const {
    return at::from_blob(values, {layout_.elements}, at::TensorOptions().dtype(at::kFloat));
  }

  // One field of all batches on the device: [batches, rows].
  template <typename T>
  at::Tensor gather(std::span<const PackedBatch> batches, std::vector<T> PackedBatch::*field, at::ScalarType as) const {
    std::vector<at::Tensor> parts;
    for (const PackedBatch& batch : batches) {
      std::vector<T>& values = const_cast<PackedBatch&>(batch).*field;
      parts.push_back(at::from_blob(values.data(), {static_cast<int64_t>(values.size())},
                                    at::TensorOptions().dtype(c10::CppTypeToScalarType<T>::value)));
    }
    return at::stack(parts).to(device_, as);
  }

  // What is added to the scores: 0 to the same document backwards, else minus infinity. Rows behind the documents see
  // themselves alone.
  at::Tensor mask_of(std::span<const PackedBatch> batches) const {
    const size_t rows = batches.front().ids.size();
    std::vector<at::Tensor> parts;
    for (const PackedBatch& batch : batches) {
      std::vector<int32_t> document(rows, -1);
      for (size_t i = 0; i < batch.segments.size(); ++i) {
        std::fill_n(document.begin() + batch.segments[i].begin, batch.segments[i].length, static_cast<int32_t>(i));
      }
      parts.push_back(at::tensor(at::ArrayRef<int32_t>(document), at::TensorOptions().dtype(at::kInt)));
    }
    const at::Tensor owner = at::stack(parts).to(device_), index = at::arange(owner.size(1), owner.options());
    const at::Tensor before = index.unsqueeze(0) <= index.unsqueeze(1), self = index.unsqueeze(0) == index.unsqueeze(1);
    const at::Tensor same = (owner.unsqueeze(1) == owner.unsqueeze(2)) & (owner >= 0).unsqueeze(2);
    const at::Tensor sees = (same & before) | self;
    return at::zeros(sees.sizes(), values_.options())
        .masked_fill_(sees.logical_not(), -std::numeric_limits<float>::infinity())
        .unsqueeze(1);
  }

  // The same without a mask. Rows behind the documents are one more.
  void place_documents(std::span<const PackedBatch> batches, BlockContext& context) const {
    std::vector<int32_t> begins;
    int32_t row = 0;
    for (const PackedBatch& batch : batches) {
      for (const Segment& segment : batch.segments) begins.push_back(row + static_cast<int32_t>(segment.begin));
      if (batch.tokens < static_cast<int64_t>(batch.ids.size()))
        begins.push_back(row + static_cast<int32_t>(batch.tokens));
      row += static_cast<int32_t>(batch.ids.size());
    }
    begins.push_back(row);
    for (size_t i = 1; i < begins.size(); ++i)
      context.longest_document = std::max<int64_t>(context.longest_document, begins[i] - begins[i - 1]);
    context.documents = at::tensor(at::ArrayRef<int32_t>(begins), at::TensorOptions().dtype(at::kInt)).to(device_);
  }

  // The weighted sum of the batches' losses.
  at::Tensor forward(std::span<const PackedBatch> batches) const {
    const auto count = static_cast<int64_t>(batches.size()), rows = static_cast<int64_t>(batches.front().ids.size());
    const at::Tensor positions = gather(batches, &PackedBatch::positions, at::kLong);
    const int64_t longest = 1 + positions.max().item<int64_t>();
    BlockContext context = decoder_->make_context(1, longest, nullptr, {});
    for (Tensor* table : {&context.cos, &context.sin}) {
      *table = table->reshape({longest, -1}).index_select(0, positions.flatten()).view({count, rows, -1});
    }
    if (device_.is_cuda()) {
      place_documents(batches, context);
    } else {
      context.mask = mask_of(batches);
    }
    at::Tensor hidden = decoder_->embed(gather(batches, &PackedBatch::ids, at::kLong));
    for (size_t i = 0; i < decoder_->blocks.size(); ++i) {
      context.index = static_cast<int64_t>(i);
      hidden = decoder_->blocks[i].forward(hidden, context);
    }
    const at::Tensor logits = decoder_->logits(decoder_->finish(hidden));
    const at::Tensor targets = gather(batches, &PackedBatch::targets, at::kLong).flatten();
    const at::Tensor weights =
        gather(batches, &PackedBatch::weights, at::kFloat).flatten() * (targets >= 0).to(at::kFloat);
    const at::Tensor log_p = at::log_softmax(logits.view({count * rows, -1}), -1, at::kFloat);
    return -(log_p.gather(1, targets.clamp_min(0).unsqueeze(1)).squeeze(1) * weights).sum();
  }

  ParameterLayout layout_;
  std::unique_ptr<Decoder> decoder_;
  at::Device device_;
  at::Tensor values_, gradients_;  // flat
};

}  // namespace

std::unique_ptr<TrainEngine> make_autograd_engine(const ModelConfig& config, DType dtype, const at::Device& device) {
  return std::make_unique<AutogradEngine>(config, dtype, device);
}

}  // namespace ockham
