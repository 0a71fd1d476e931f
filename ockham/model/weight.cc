// Weight formats in memory: unpacking and sizes.
#include "ockham/model/weight.h"

#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

// [R, G] -> [R, C]: every group's value beside each of its columns; the last group may be shorter.
Tensor spread_groups(const Tensor& values, const GroupIntWeight& weight) {
  const int64_t columns = weight.codes.size(1);
  if (values.size(1) == 1) return values.expand({values.size(0), columns});
  if (weight.group_index.defined()) return values.index_select(1, weight.group_index);
  return values.repeat_interleave(weight.group_size, 1).narrow(1, 0, columns);
}

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
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
  const Tensor empty = at::zeros({weight.rows, weight.columns}, weight.values.options());
  return empty.masked_scatter(weight.mask, weight.values).to(type);
}

int64_t bytes_of(const DenseWeight& weight) {
  return static_cast<int64_t>(weight.values.nbytes());
}

int64_t bytes_of(const GroupIntWeight& weight) {
  const int64_t rows = weight.codes.size(0), columns = weight.codes.size(1);
  int64_t bytes = static_cast<int64_t>(weight.scales.nbytes());
  if (!weight.is_symmetric) bytes += rows * ceil_div(weight.scales.size(1) * weight.bits, 8);
  if (weight.group_index.defined()) bytes += 2 * columns;
  if (!weight.mask.defined()) return bytes + rows * ceil_div(columns * weight.bits, 8);
  const int64_t kept = weight.mask.numel() - weight.mask.sum().item<int64_t>();
  return bytes + rows * ceil_div(columns, 8) + ceil_div(kept * weight.bits, 8);
}

int64_t bytes_of(const SparseWeight& weight) {
  return static_cast<int64_t>(weight.values.nbytes()) + weight.rows * ceil_div(weight.columns, 8);
}

}  // namespace

Tensor weight_to_dense(const Weight& weight, at::ScalarType type) {
  return std::visit([type](const auto& format) { return dense_of(format, type); }, weight);
}

int64_t weight_rows(const Weight& weight) {
  if (const auto* dense = std::get_if<DenseWeight>(&weight)) return dense->values.size(0);
  if (const auto* group = std::get_if<GroupIntWeight>(&weight)) return group->codes.size(0);
  return std::get<SparseWeight>(weight).rows;
}

int64_t weight_columns(const Weight& weight) {
  if (const auto* dense = std::get_if<DenseWeight>(&weight)) return dense->values.size(1);
  if (const auto* group = std::get_if<GroupIntWeight>(&weight)) return group->codes.size(1);
  return std::get<SparseWeight>(weight).columns;
}

int64_t weight_bytes(const Weight& weight) {
  return std::visit([](const auto& format) { return bytes_of(format); }, weight);
}

std::string weight_format(const Weight& weight) {
  if (std::holds_alternative<DenseWeight>(weight)) return "dense";
  return std::holds_alternative<GroupIntWeight>(weight) ? "group-int" : "bitmap-sparse";
}

Weight pack_if_smaller(const Weight& weight) {
  const auto* dense = std::get_if<DenseWeight>(&weight);
  if (dense == nullptr) return weight;
  const Tensor mask = dense->values != 0;
  const int64_t kept = mask.sum().item<int64_t>();
  SparseWeight sparse{dense->values.size(0), dense->values.size(1), {}, mask};
  const int64_t value_bytes = static_cast<int64_t>(dense->values.element_size());
  if (kept * value_bytes + sparse.rows * ceil_div(sparse.columns, 8) >= bytes_of(*dense)) return weight;
  sparse.values = dense->values.masked_select(mask);
  return sparse;
}

}  // namespace ockham
