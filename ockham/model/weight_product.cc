// Products with inputs, for the formats that round those.
#include <algorithm>
#include <cmath>

#include "ockham/model/weight.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

// Sums of this many products of 8-bit integers are exact in float32: 127^2 * 1040 < 2^24.
constexpr int64_t kExactColumns = 1040;

// left [T, C] times right [R, C]^T, both whole numbers of at most 127, without any rounding.
Tensor integer_product(const Tensor& left, const Tensor& right) {
  const int64_t columns = left.size(1);
  if (columns <= kExactColumns) return left.matmul(right.to(at::kFloat).t());
  Tensor sum = at::zeros({left.size(0), right.size(0)}, left.options().dtype(at::kDouble));
  for (int64_t begin = 0; begin < columns; begin += kExactColumns) {
    const int64_t width = std::min(kExactColumns, columns - begin);
    sum.add_(left.narrow(1, begin, width).matmul(right.narrow(1, begin, width).to(at::kFloat).t()));
  }
  return sum;
}

Tensor int8_product(const Int8Weight& weight, const Tensor& input) {
  const Tensor x = input.reshape({-1, input.size(-1)}).to(at::kFloat);
  Tensor regular = x;
  if (weight.kept.defined()) regular = regular.index_fill(1, weight.kept, 0);
  Tensor outliers;  // columns found in this call
  if (std::isfinite(weight.threshold)) {
    const Tensor is_outlier = regular.abs() >= weight.threshold;
    Tensor is_column = is_outlier.any(0);
    if (weight.kept.defined()) is_column = is_column.index_fill(0, weight.kept, false);
    outliers = is_column.nonzero().flatten();
    // Outliers do not count for a token's maximum, so its other inputs keep their resolution.
    if (outliers.numel() > 0) regular = regular.masked_fill(is_outlier, 0);
  }
  Tensor largest = regular.abs().amax(1, true);
  largest = largest.masked_fill(largest == 0, 1);
  Tensor rounded = at::round(regular * (127 / largest));
  const bool has_outliers = outliers.defined() && outliers.numel() > 0;
  if (has_outliers) rounded = rounded.index_fill(1, outliers, 0);
  const Tensor scales = weight.scales.to(at::kFloat);
  Tensor output = (integer_product(rounded, weight.codes) * (largest / 127) * scales).to(at::kFloat);
  if (has_outliers) {
    const Tensor columns = weight.codes.index_select(1, outliers).to(at::kFloat) * scales.unsqueeze(1);
    output = output + x.index_select(1, outliers).matmul(columns.t());
  }
  if (weight.kept.defined())
    output = output + x.index_select(1, weight.kept).matmul(weight.kept_values.to(at::kFloat).t());
  std::vector<int64_t> shape = input.sizes().vec();
  shape.back() = weight.codes.size(0);
  return output.view(shape).to(input.scalar_type());
}

bool rounds_inputs(const Weight& weight) {
  if (const auto* low = std::get_if<LowRankWeight>(&weight))
    return low->base != nullptr && rounds_inputs(low->base->weight);
  return std::holds_alternative<Int8Weight>(weight);
}

}  // namespace

Tensor weight_product(const Weight& weight, const Tensor& input) {
  if (const auto* dense = std::get_if<DenseWeight>(&weight)) return at::linear(input, dense->values);
  if (const auto* int8 = std::get_if<Int8Weight>(&weight)) return int8_product(*int8, input);
  if (const auto* low = std::get_if<LowRankWeight>(&weight)) {
    const at::ScalarType type = input.scalar_type();
    const Tensor path = at::linear(at::linear(input, low->right.to(type)), low->left.to(type));
    return low->base == nullptr ? path : weight_product(low->base->weight, input) + path;
  }
  return at::linear(input, weight_to_dense(weight, input.scalar_type()));
}

Weight weight_unpacked(const Weight& weight, at::ScalarType type) {
  if (!rounds_inputs(weight)) return DenseWeight{weight_to_dense(weight, type)};
  if (const auto* low = std::get_if<LowRankWeight>(&weight)) {
    const Weight base = weight_unpacked(low->base->weight, type);
    return LowRankWeight{std::make_shared<const WeightBox>(WeightBox{base}), low->left.to(type), low->right.to(type)};
  }
  Int8Weight int8 = std::get<Int8Weight>(weight);
  int8.codes = int8.codes.to(at::kFloat);
  int8.scales = int8.scales.to(at::kFloat);
  if (int8.kept.defined()) int8.kept_values = int8.kept_values.to(at::kFloat);
  return int8;
}

}  // namespace ockham
