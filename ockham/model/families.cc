// Parts of fused linears, and which member holds which tensor.
#include "ockham/model/families.h"

#include <utility>

#include "ockham/core/error.h"
#include "ockham/tensor/masked.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

Tensor Block::*member_of(BlockTensorRole role) {
  return block_member(role);
}
Tensor Decoder::*member_of(FrameTensorRole role) {
  return frame_member(role);
}

template <typename Placed, typename Role>
std::vector<Placed> with_members(std::vector<TensorSpec<Role>> specs) {
  std::vector<Placed> result;
  for (TensorSpec<Role>& spec : specs)
    result.push_back({std::move(spec.name), member_of(spec.role), std::move(spec.shape)});
  return result;
}

}  // namespace

Tensor Block::*block_member(BlockTensorRole role) {
  using Role = BlockTensorRole;
  switch (role) {
    case Role::kInputNorm:
      return &Block::input_norm;
    case Role::kInputNormBias:
      return &Block::input_norm_bias;
    case Role::kPostAttentionNorm:
      return &Block::post_attention_norm;
    case Role::kPostAttentionNormBias:
      return &Block::post_attention_norm_bias;
    case Role::kAttentionOutputNorm:
      return &Block::attention_output_norm;
    case Role::kMlpOutputNorm:
      return &Block::mlp_output_norm;
    case Role::kQueryNorm:
      return &Block::query_norm;
    case Role::kKeyNorm:
      return &Block::key_norm;
    case Role::kRouter:
      return &Block::router;
    case Role::kSharedGate:
      return &Block::shared_gate;
  }
  OCKHAM_CHECK(false);
}

Tensor Decoder::*frame_member(FrameTensorRole role) {
  using Role = FrameTensorRole;
  switch (role) {
    case Role::kEmbedding:
      return &Decoder::embedding;
    case Role::kFinalNorm:
      return &Decoder::final_norm;
    case Role::kFinalNormBias:
      return &Decoder::final_norm_bias;
    case Role::kHead:
      return &Decoder::head;
    case Role::kPositions:
      return &Decoder::position_embedding;
    case Role::kProjectIn:
      return &Decoder::project_in;
    case Role::kProjectOut:
      return &Decoder::project_out;
  }
  OCKHAM_CHECK(false);
}

Tensor take_part(const Tensor& fused, const LinearSpec& part) {
  if (part.interleaved_heads == 0) return fused.narrow(0, part.first_row, part.rows).clone();
  const int64_t heads = part.interleaved_heads, parts = part.stored_rows / part.rows,
                place = part.first_row / part.rows;
  std::vector<int64_t> shape = {heads, parts, part.rows / heads};
  if (fused.dim() == 2) shape.push_back(fused.size(1));
  Tensor rows = fused.reshape(shape).select(1, place);
  return rows.flatten(0, 1).clone();
}

Tensor join_parts(const std::vector<Tensor>& parts, const LinearSpec& first) {
  if (first.interleaved_heads == 0) return at::cat(parts, 0);
  std::vector<Tensor> by_head;
  for (const Tensor& part : parts) {
    std::vector<int64_t> shape = {first.interleaved_heads, first.rows / first.interleaved_heads};
    if (part.dim() == 2) shape.push_back(part.size(1));
    by_head.push_back(part.reshape(shape));
  }
  return at::stack(by_head, 1).flatten(0, 2);
}

Weight take_part(const Weight& fused, const LinearSpec& part) {
  if (const auto* group = std::get_if<GroupIntWeight>(&fused)) {
    GroupIntWeight result = *group;
    for (Tensor* tensor : {&result.codes, &result.scales, &result.zeros, &result.mask})
      if (tensor->defined()) *tensor = take_part(*tensor, part);
    return result;
  }
  if (const auto* sparse = std::get_if<SparseWeight>(&fused)) {
    const Tensor mask = take_part(sparse->mask, part);
    const Tensor values = take_part(weight_to_dense(fused, sparse->values.scalar_type()), part);
    return SparseWeight{part.rows, part.columns, keep_masked(values, mask), mask};
  }
  return DenseWeight{take_part(std::get<DenseWeight>(fused).values, part)};
}

std::vector<BlockTensor> block_tensors(const ModelConfig& config, int64_t index) {
  return with_members<BlockTensor>(block_tensor_specs(config, index));
}

std::vector<FrameTensor> frame_tensors(const ModelConfig& config) {
  return with_members<FrameTensor>(frame_tensor_specs(config));
}

}  // namespace ockham
