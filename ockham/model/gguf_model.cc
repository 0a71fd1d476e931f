// Reading of GGUF models.
#include "ockham/model/gguf_model.h"

#include <cstring>

#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"

namespace ockham {
Tensor gguf_rope_order(int64_t heads, int64_t dim) {
  return at::arange(heads * dim).view({heads, 2, dim / 2}).transpose(1, 2).reshape({-1});
}

Tensor GgufModel::read_tensor(const std::string& name) const {
  const Place& part = place(name);
  const GgufType type = part.from.tensor->type;
  const auto bytes = part.bytes();
  Tensor result;
  if (gguf_type_info(type).elements == 1) {
    result = at::empty(part.shape, to_scalar_type(gguf_dtype(type)));
    if (!bytes.empty()) std::memcpy(result.mutable_data_ptr(), bytes.data(), bytes.size());
  } else {
    result = at::empty(part.shape, at::kFloat);
    dequantize_gguf(type, bytes, {result.mutable_data_ptr<float>(), static_cast<size_t>(result.numel())});
  }
  part.from.file->forget(*part.from.tensor);
  if (part.shift != 0) result = result.to(at::kFloat) - part.shift;
  if (part.heads == 0) return result;
  // order[i] is the row of ours that lies at i.
  return at::empty_like(result).index_copy_(0, gguf_rope_order(part.heads, result.size(0) / part.heads), result);
}

Weight GgufModel::read_weight(const std::string& linear) const {
  const Place& part = place(linear + ".weight");
  const GgufTensor& tensor = *part.from.tensor;
  const auto grid = gguf_grid(tensor.type);
  if (!grid) return DenseWeight{read_tensor(linear + ".weight")};
  GroupIntWeight weight;
  weight.bits = grid->bits;
  weight.group_size = grid->group;
  weight.is_symmetric = true;
  weight.codes = at::empty(part.shape, at::kByte);
  weight.scales = at::empty({part.shape[0], part.shape[1] / grid->group}, at::kFloat);
  read_gguf_grid(tensor.type, part.bytes(),
                 {weight.codes.mutable_data_ptr<uint8_t>(), static_cast<size_t>(weight.codes.numel())},
                 {weight.scales.mutable_data_ptr<float>(), static_cast<size_t>(weight.scales.numel())});
  part.from.file->forget(tensor);
  if (!weight.scales.isfinite().all().item<bool>())
    throw_input("{}: tensor '{}' holds non-finite scales; download the model again", path(), tensor.name);
  if (part.heads > 0) {
    const Tensor order = gguf_rope_order(part.heads, weight.codes.size(0) / part.heads);
    weight.codes = at::empty_like(weight.codes).index_copy_(0, order, weight.codes);
    weight.scales = at::empty_like(weight.scales).index_copy_(0, order, weight.scales);
  }
  return weight;
}

}  // namespace ockham
