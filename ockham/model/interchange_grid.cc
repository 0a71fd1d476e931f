// Integer grids: carrying codes over, and rounding to nearest where there are none; what either did to the values.
#include <cmath>

#include "ockham/core/error.h"
#include "ockham/model/interchange_writer.h"
#include "ockham/tensor/ops.h"

namespace ockham {

void ConversionSummary::account(const std::string& linear, const Tensor& source, const Tensor& written,
                                bool keeps_codes) {
  const double size = source.norm().item<double>(), miss = (written - source).norm().item<double>();
  const double error = size > 0 ? miss / size : miss;
  ++(error == 0 ? exact : keeps_codes ? rescaled : rounded);
  if (error > worst_error || !std::isfinite(error)) {
    worst_error = error;
    worst_linear = linear;
  }
}

std::optional<GroupIntWeight> as_group_int(const Weight& weight) {
  if (const auto* group = std::get_if<GroupIntWeight>(&weight)) return *group;
  GroupIntWeight result;
  if (const auto* int8 = std::get_if<Int8Weight>(&weight); int8 != nullptr && !int8->kept.defined()) {
    result.bits = 8;
    result.group_size = int8->codes.size(1);
    result.codes = (int8->codes.to(at::kShort) + 128).to(at::kByte);
    result.scales = int8->scales.unsqueeze(1);
    return result;
  }
  const auto* sparse = std::get_if<GroupSparseWeight>(&weight);
  if (sparse == nullptr) return std::nullopt;
  // Groups that are zero have the code of zero.
  const int64_t rows = sparse->rows, groups = sparse->kept.size(1), middle = int64_t{1} << (sparse->bits - 1);
  result.bits = sparse->bits;
  result.group_size = sparse->group_size;
  result.is_symmetric = sparse->zeros.numel() == 0 || (sparse->zeros == middle).all().item<bool>();
  const auto spread = [&](const Tensor& kept, double fill) {
    return at::full({rows, groups}, fill, kept.options()).masked_scatter(sparse->kept, kept);
  };
  const auto zero = static_cast<double>(middle);
  result.scales = spread(sparse->scales, 1);
  if (!result.is_symmetric) result.zeros = spread(sparse->zeros, zero);
  result.codes = at::full({rows, groups, sparse->group_size}, zero, sparse->codes.options())
                     .masked_scatter(sparse->kept.unsqueeze(2), sparse->codes)
                     .reshape({rows, sparse->columns});
  return result;
}

bool refit_codes(const GroupIntWeight& weight, int64_t bits, bool keeps_zeros, GroupIntWeight& result) {
  const int64_t columns = weight.codes.size(1), middle = int64_t{1} << (bits - 1);
  result = weight;
  result.bits = bits;
  result.mask = Tensor();
  Tensor zeros = at::full_like(weight.scales, static_cast<double>(int64_t{1} << (weight.bits - 1)), at::kShort);
  if (!weight.is_symmetric) zeros = weight.zeros.to(at::kShort);
  Tensor spread = weight.group_index.defined() ? zeros.index_select(1, weight.group_index)
                                               : zeros.repeat_interleave(weight.group_size, 1).narrow(1, 0, columns);
  Tensor steps = weight.codes.to(at::kShort) - spread;
  if (weight.mask.defined()) steps.masked_fill_(weight.mask, 0);
  if (keeps_zeros && !weight.is_symmetric) {
    if (weight.bits > bits) return false;
    result.codes = (steps + spread).to(at::kByte);
    return true;
  }
  if (steps.min().item<int64_t>() < -middle || steps.max().item<int64_t>() >= middle) return false;
  result.is_symmetric = true;
  result.zeros = Tensor();
  result.codes = (steps + middle).to(at::kByte);
  return true;
}

GroupIntWeight round_to_grid(const Tensor& values, int64_t bits, int64_t group_size, bool is_symmetric) {
  GroupIntWeight weight;
  weight.bits = bits;
  weight.group_size = group_size;
  weight.is_symmetric = is_symmetric;
  const int64_t rows = values.size(0), columns = values.size(1), groups = (columns + group_size - 1) / group_size;
  const Tensor padded = at::constant_pad_nd(values.to(at::kFloat), {0, groups * group_size - columns});
  const Tensor grouped = padded.reshape({rows, groups, group_size});
  const Tensor high = grouped.amax(2).clamp_min(0), low = grouped.amin(2).clamp_max(0);
  const double levels = static_cast<double>((int64_t{1} << bits) - 1),
               middle = static_cast<double>(int64_t{1} << (bits - 1));
  weight.scales = is_symmetric ? at::maximum(high, -low) / (levels / 2) : (high - low) / levels;
  weight.scales = weight.scales.masked_fill(weight.scales == 0, 1);
  Tensor zeros = at::full_like(weight.scales, middle);
  if (!is_symmetric) zeros = at::round(-low / weight.scales).clamp(0, levels);
  const Tensor codes = at::round(grouped / weight.scales.unsqueeze(2)) + zeros.unsqueeze(2);
  weight.codes =
      codes.clamp(0, levels).to(at::kByte).reshape({rows, groups * group_size}).narrow(1, 0, columns).contiguous();
  if (!is_symmetric) weight.zeros = zeros.to(at::kByte);
  return weight;
}

}  // namespace ockham
