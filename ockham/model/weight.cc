// Weight formats in memory: unpacking and sizes.
#include "ockham/model/weight.h"

#include "ockham/core/error.h"
#include "ockham/core/integers.h"
#include "ockham/tensor/masked.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

// [R, G] -> [R, C]: every group's value beside each of its columns; the last group may be shorter.
Tensor spread_groups(const Tensor& values, int64_t group_size, int64_t columns) {
  if (values.size(1) == 1) return values.expand({values.size(0), columns});
  return values.repeat_interleave(group_size, 1).narrow(1, 0, columns);
}
Tensor spread_groups(const Tensor& values, const GroupIntWeight& weight) {
  if (values.size(1) > 1 && weight.group_index.defined()) return values.index_select(1, weight.group_index);
  return spread_groups(values, weight.group_size, weight.codes.size(1));
}

Tensor dense_of(const DenseWeight& weight, at::ScalarType type) {
  return weight.values.to(type);
}

Tensor dense_of(const GroupIntWeight& weight, at::ScalarType type) {
  // Products are exact enough in float32 (or the scales' float64) and are rounded once, to `type`.
  const at::ScalarType wide = weight.scales.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const Tensor scales = spread_groups(weight.scales.to(wide), weight);
  Tensor steps = weight.codes.to(wide);
  if (weight.is_symmetric) {
    steps.sub_(static_cast<double>(int64_t{1} << (weight.bits - 1)));
  } else {
    steps.sub_(spread_groups(weight.zeros.to(wide), weight));
  }
  if (weight.mask.defined()) steps.masked_fill_(weight.mask, 0);
  return (steps * scales).to(type);
}

Tensor dense_of(const SparseWeight& weight, at::ScalarType type) {
  return spread_masked(weight.values, weight.mask).to(type);
}

Tensor dense_of(const Int8Weight& weight, at::ScalarType type) {
  const Tensor values = weight.codes.to(at::kFloat) * weight.scales.to(at::kFloat).unsqueeze(1);
  if (!weight.kept.defined()) return values.to(type);
  return values.index_copy(1, weight.kept, weight.kept_values.to(at::kFloat)).to(type);
}

Tensor dense_of(const Float8Weight& weight, at::ScalarType type) {
  const int64_t rows = weight.codes.size(0), columns = weight.codes.size(1);
  const Tensor scales =
      spread_groups(weight.scales, weight.tile_columns, columns).repeat_interleave(weight.tile_rows, 0);
  return (weight.codes.view(at::kFloat8_e4m3fn).to(at::kFloat) * scales.narrow(0, 0, rows)).to(type);
}

Tensor dense_of(const NestedIntWeight& weight, at::ScalarType type) {
  const int64_t columns = weight.codes.size(1), hidden = 8 - weight.bits;
  const double step = static_cast<double>(int64_t{1} << hidden);
  Tensor values = weight.codes.to(at::kFloat).mul_(step).add_((step - 1) / 2);
  values = values * spread_groups(weight.scales.to(at::kFloat), weight.group_size, columns) +
           spread_groups(weight.lows.to(at::kFloat), weight.group_size, columns);
  return (weight.mask.defined() ? values.masked_fill(weight.mask, 0) : values).to(type);
}

Tensor dense_of(const GroupSparseWeight& weight, at::ScalarType type) {
  const Tensor steps = weight.codes.to(at::kFloat) - weight.zeros.to(at::kFloat).unsqueeze(1);
  const Tensor values = steps * weight.scales.to(at::kFloat).unsqueeze(1);
  const Tensor mask = weight.kept.unsqueeze(2).expand({-1, -1, weight.group_size});
  return at::zeros(mask.sizes(), values.options())
      .masked_scatter(mask, values)
      .view({weight.rows, weight.columns})
      .to(type);
}

Tensor dense_of(const LowRankWeight& weight, at::ScalarType type) {
  const Tensor product = weight.left.to(at::kFloat).matmul(weight.right.to(at::kFloat));
  if (weight.base == nullptr) return product.to(type);
  return (weight_to_dense(weight.base->weight, at::kFloat) + product).to(type);
}

int64_t bytes_of(const DenseWeight& weight) {
  return static_cast<int64_t>(weight.values.nbytes());
}

int64_t bytes_of(const GroupIntWeight& weight) {
  const int64_t rows = weight.codes.size(0), columns = weight.codes.size(1);
  int64_t bytes = static_cast<int64_t>(weight.scales.nbytes());
  if (!weight.is_symmetric) bytes += rows * ceil_div(weight.scales.size(1) * weight.bits, 8);
  if (weight.group_index.defined()) bytes += 2 * columns;
  if (weight.narrow.defined()) {
    const int64_t narrow = weight.narrow.sum().item<int64_t>();
    return bytes + ceil_div(rows, 8) + narrow * ceil_div(columns * weight.narrow_bits, 8) +
           (rows - narrow) * ceil_div(columns * weight.bits, 8);
  }
  if (!weight.mask.defined()) return bytes + rows * ceil_div(columns * weight.bits, 8);
  const int64_t kept = weight.mask.numel() - weight.mask.sum().item<int64_t>();
  return bytes + rows * ceil_div(columns, 8) + ceil_div(kept * weight.bits, 8);
}

int64_t bytes_of(const SparseWeight& weight) {
  return static_cast<int64_t>(weight.values.nbytes()) + weight.rows * ceil_div(weight.columns, 8);
}

int64_t bytes_of(const Int8Weight& weight) {
  const int64_t bytes = weight.codes.numel() + static_cast<int64_t>(weight.scales.nbytes());
  if (!weight.kept.defined()) return bytes;
  return bytes + ceil_div(weight.codes.size(1), 8) + static_cast<int64_t>(weight.kept_values.nbytes());
}

int64_t bytes_of(const Float8Weight& weight) {
  return weight.codes.numel() + static_cast<int64_t>(weight.scales.nbytes());
}

int64_t bytes_of(const NestedIntWeight& weight) {
  const int64_t rows = weight.codes.size(0), columns = weight.codes.size(1);
  const int64_t bytes = static_cast<int64_t>(weight.scales.nbytes() + weight.lows.nbytes());
  return bytes + rows * ceil_div(columns * weight.bits, 8) + (weight.mask.defined() ? rows * ceil_div(columns, 8) : 0);
}

int64_t bytes_of(const GroupSparseWeight& weight) {
  const int64_t groups = weight.codes.size(0);
  return weight.rows * ceil_div(weight.kept.size(1), 8) + ceil_div(weight.codes.numel() * weight.bits, 8) +
         static_cast<int64_t>(weight.scales.nbytes()) + ceil_div(groups * weight.bits, 8);
}

int64_t bytes_of(const LowRankWeight& weight) {
  const int64_t bytes = static_cast<int64_t>(weight.left.nbytes() + weight.right.nbytes());
  return bytes + (weight.base == nullptr ? 0 : weight_bytes(weight.base->weight));
}

struct Names {
  std::string operator()(const DenseWeight&) const { return "dense"; }
  std::string operator()(const GroupIntWeight&) const { return "group-int"; }
  std::string operator()(const SparseWeight&) const { return "bitmap-sparse"; }
  std::string operator()(const Int8Weight&) const { return "int8"; }
  std::string operator()(const Float8Weight&) const { return "float8"; }
  std::string operator()(const NestedIntWeight&) const { return "nested-int"; }
  std::string operator()(const GroupSparseWeight&) const { return "group-sparse"; }
  std::string operator()(const LowRankWeight&) const { return "low-rank"; }
};

struct Shapes {
  using Shape = std::pair<int64_t, int64_t>;
  static Shape of(const Tensor& matrix) { return {matrix.size(0), matrix.size(1)}; }
  Shape operator()(const DenseWeight& weight) const { return of(weight.values); }
  Shape operator()(const GroupIntWeight& weight) const { return of(weight.codes); }
  Shape operator()(const SparseWeight& weight) const { return {weight.rows, weight.columns}; }
  Shape operator()(const Int8Weight& weight) const { return of(weight.codes); }
  Shape operator()(const Float8Weight& weight) const { return of(weight.codes); }
  Shape operator()(const NestedIntWeight& weight) const { return of(weight.codes); }
  Shape operator()(const GroupSparseWeight& weight) const { return {weight.rows, weight.columns}; }
  Shape operator()(const LowRankWeight& weight) const { return {weight.left.size(0), weight.right.size(1)}; }
};

struct Types {
  at::ScalarType operator()(const DenseWeight& weight) const { return weight.values.scalar_type(); }
  at::ScalarType operator()(const GroupIntWeight& weight) const { return weight.scales.scalar_type(); }
  at::ScalarType operator()(const SparseWeight& weight) const { return weight.values.scalar_type(); }
  at::ScalarType operator()(const Int8Weight& weight) const { return weight.scales.scalar_type(); }
  at::ScalarType operator()(const Float8Weight& weight) const { return weight.scales.scalar_type(); }
  at::ScalarType operator()(const NestedIntWeight& weight) const { return weight.scales.scalar_type(); }
  at::ScalarType operator()(const GroupSparseWeight& weight) const { return weight.scales.scalar_type(); }
  at::ScalarType operator()(const LowRankWeight& weight) const { return weight.left.scalar_type(); }
};

// Moves the tensors of a format; values change their type, codes and scales do not.
struct Mover {
  at::ScalarType type;
  std::optional<at::Device> device;
  void move(std::initializer_list<Tensor*> tensors) const {
    for (Tensor* tensor : tensors)
      if (tensor->defined() && device) *tensor = tensor->to(*device);
  }
  void convert(Tensor& tensor) const {
    if (tensor.defined()) tensor = tensor.to(device.value_or(tensor.device()), type);
  }
  void operator()(DenseWeight& weight) const { convert(weight.values); }
  void operator()(SparseWeight& weight) const {
    convert(weight.values);
    move({&weight.mask});
  }
  void operator()(GroupIntWeight& weight) const {
    move({&weight.codes, &weight.scales, &weight.zeros, &weight.mask, &weight.group_index, &weight.narrow});
  }
  void operator()(Int8Weight& weight) const {
    move({&weight.codes, &weight.scales, &weight.kept});
    convert(weight.kept_values);
  }
  void operator()(Float8Weight& weight) const { move({&weight.codes, &weight.scales}); }
  void operator()(NestedIntWeight& weight) const { move({&weight.codes, &weight.scales, &weight.lows, &weight.mask}); }
  void operator()(GroupSparseWeight& weight) const {
    move({&weight.kept, &weight.codes, &weight.scales, &weight.zeros});
  }
  void operator()(LowRankWeight& weight) const {
    convert(weight.left);
    convert(weight.right);
    if (weight.base != nullptr)
      weight.base = std::make_shared<const WeightBox>(WeightBox{weight_to(weight.base->weight, type, device)});
  }
};

}  // namespace

Tensor weight_to_dense(const Weight& weight, at::ScalarType type) {
  return std::visit([type](const auto& format) { return dense_of(format, type); }, weight);
}

Weight weight_to(const Weight& weight, at::ScalarType type, std::optional<at::Device> device) {
  Weight moved = weight;
  std::visit(Mover{type, device}, moved);
  return moved;
}

at::ScalarType weight_type(const Weight& weight) {
  return std::visit(Types(), weight);
}

Tensor weight_values(const Weight& weight) {
  const bool has_values = std::holds_alternative<DenseWeight>(weight) || std::holds_alternative<SparseWeight>(weight);
  return weight_to_dense(weight, has_values ? weight_type(weight) : at::kFloat);
}

int64_t weight_zeros(const Weight& weight) {
  const auto* low = std::get_if<LowRankWeight>(&weight);
  if (low != nullptr && low->base != nullptr) return weight_zeros(low->base->weight);
  const Tensor values = weight_to_dense(weight, at::kFloat);
  return values.numel() - values.count_nonzero().item<int64_t>();
}

int64_t weight_rows(const Weight& weight) {
  return std::visit(Shapes(), weight).first;
}

int64_t weight_columns(const Weight& weight) {
  return std::visit(Shapes(), weight).second;
}

int64_t weight_bytes(const Weight& weight) {
  return std::visit([](const auto& format) { return bytes_of(format); }, weight);
}

std::string weight_format(const Weight& weight) {
  return std::visit(Names(), weight);
}

Weight pack_if_smaller(const Weight& weight) {
  const auto* dense = std::get_if<DenseWeight>(&weight);
  if (dense == nullptr) return weight;
  const Tensor mask = dense->values != 0;
  const int64_t kept = mask.count_nonzero().item<int64_t>();  // sum() would make integers of 8 bytes first
  SparseWeight sparse{dense->values.size(0), dense->values.size(1), {}, mask};
  const int64_t value_bytes = static_cast<int64_t>(dense->values.element_size());
  if (kept * value_bytes + sparse.rows * ceil_div(sparse.columns, 8) >= bytes_of(*dense)) return weight;
  sparse.values = keep_masked(dense->values, mask);
  return sparse;
}

}  // namespace ockham
