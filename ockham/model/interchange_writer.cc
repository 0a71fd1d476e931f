// Packing of linears, and the settings that go with them.
#include "ockham/model/interchange_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/formats/awq.h"
#include "ockham/io/formats/gptq.h"
#include "ockham/io/formats/packed_words.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

std::span<const uint8_t> bytes_of(const Tensor& tensor) {
  OCKHAM_CHECK(tensor.scalar_type() == at::kByte && tensor.is_contiguous());
  return {tensor.const_data_ptr<uint8_t>(), static_cast<size_t>(tensor.numel())};
}

Tensor words_tensor(const std::vector<uint32_t>& words, int64_t lines) {
  Tensor result = at::empty({lines, lines == 0 ? 0 : static_cast<int64_t>(words.size()) / lines}, at::kInt);
  std::copy(words.begin(), words.end(), reinterpret_cast<uint32_t*>(result.mutable_data_ptr<int32_t>()));
  return result;
}

Tensor pack_lines(const Tensor& codes, int64_t bits) {
  const int64_t lines = codes.size(0), count = codes.size(1), width = packed_words(count, bits, WordLayout::kDense);
  std::vector<uint32_t> words(static_cast<size_t>(lines * width));
  for (int64_t i = 0; i < lines; ++i) {
    pack_words(bytes_of(codes).subspan(static_cast<size_t>(i * count), static_cast<size_t>(count)), bits,
               WordLayout::kDense,
               std::span(words).subspan(static_cast<size_t>(i * width), static_cast<size_t>(width)));
  }
  return words_tensor(words, lines);
}

Tensor zeros_of(const GroupIntWeight& weight) {
  if (!weight.is_symmetric) return weight.zeros.contiguous();
  return at::full(weight.scales.sizes(), static_cast<double>(int64_t{1} << (weight.bits - 1)), at::kByte);
}

std::vector<int64_t> widths_of(const std::string& format) {
  if (format == "compressed-tensors") return {4, 8};
  if (format == "int8") return {8};
  if (format == "awq") return {4};
  return {2, 3, 4, 8};
}

}  // namespace

InterchangeWriter::InterchangeWriter(const InterchangeOptions& options)
    : options_(options), rounds_again_(options.bits != 0) {
  if (options_.bits == 0) options_.bits = options_.format == "int8" ? 8 : 4;
  if (options_.format == "int8") options_.group_size = -1;
  if (options_.format == "fp8") return;
  const auto widths = widths_of(options_.format);
  if (std::find(widths.begin(), widths.end(), options_.bits) == widths.end())
    throw_input("--bits is {}, expected {} for {}", options_.bits, Json(widths).dump(), options_.format);
  if (options_.group_size == 0 || options_.group_size < -1)
    throw_input("--group-size is {}, expected a positive number or -1 for whole rows", options_.group_size);
}

bool InterchangeWriter::fits(int64_t rows, int64_t columns, int64_t bits, int64_t group_size) const {
  if (options_.format == "compressed-tensors") return columns % group_size == 0;
  if (options_.format == "awq") return rows % 8 == 0 && columns % group_size == 0;
  if (options_.format == "int8") return group_size == columns;
  return rows * bits % 32 == 0 && columns * bits % 32 == 0;
}

GroupIntWeight InterchangeWriter::choose_codes(const std::string& linear, const Weight& weight, int64_t rows,
                                               bool& is_exact) const {
  const int64_t columns = weight_columns(weight);
  const std::string& format = options_.format;
  GroupIntWeight result;
  is_exact = false;
  if (const auto group = as_group_int(weight)) {
    const bool has_zeros =
        format == "gptq_v2" || format == "awq" || (format == "compressed-tensors" && options_.asymmetric);
    const bool takes_index = format == "gptq" || format == "gptq_v2" || !group->group_index.defined();
    // Only the narrowest width that holds the codes: a wider one would take the zero points in, but twice the bytes.
    const std::vector<int64_t> widths = widths_of(format);
    const auto width = std::lower_bound(widths.begin(), widths.end(), group->bits);
    is_exact = width != widths.end() && takes_index && fits(rows, columns, *width, group->group_size) &&
               refit_codes(*group, *width, has_zeros, result);
    if (is_exact) return result;
    if (!group->is_symmetric && !has_zeros && format != "int8" && !rounds_again_) {
      throw_input(
          "{}: has zero points, which {} does not carry portably; write gptq_v2, awq or gguf, compressed-tensors with "
          "--asymmetric, or pass --bits to round the weights again",
          linear, format);
    }
  }
  check_holds(linear, weight);
  return round_again(weight);
}

// A second rounding happens where it is asked for, or between grids of one kind; other formats lose what they are for.
void InterchangeWriter::check_holds(const std::string& linear, const Weight& weight) const {
  const bool is_plain = std::holds_alternative<DenseWeight>(weight) || std::holds_alternative<SparseWeight>(weight) ||
                        as_group_int(weight).has_value();
  if (rounds_again_ || is_plain) return;
  throw_error(ErrorKind::kUnsupported,
              "{}: is stored as {}, which {} does not hold; write dense or gguf, or pass --bits to round the weights "
              "again",
              linear, weight_format(weight), options_.format);
}

GroupIntWeight InterchangeWriter::round_again(const Weight& weight) const {
  const int64_t columns = weight_columns(weight), wanted = options_.group_size;
  const int64_t group_size = wanted < 0 || wanted > columns || columns % wanted != 0 ? columns : wanted;
  const bool is_symmetric = !options_.asymmetric || options_.format == "gptq" || options_.format == "int8";
  return round_to_grid(weight_to_dense(weight, at::kFloat), options_.bits, group_size, is_symmetric);
}

// A narrower grid fits a wider one, long groups are several short ones, and a symmetric grid is one with equal zeros.
bool InterchangeWriter::unify(std::vector<GroupIntWeight>& grids) const {
  const int64_t columns = grids.front().codes.size(1);
  int64_t bits = 0, group_size = columns;
  bool is_symmetric = true;
  for (const GroupIntWeight& grid : grids) {
    bits = std::max(bits, grid.bits);
    group_size = std::min(group_size, grid.group_size);
    is_symmetric = is_symmetric && grid.is_symmetric;
  }
  const Tensor& index = grids.front().group_index;
  for (GroupIntWeight& grid : grids) {
    const bool is_same =
        grid.group_index.defined() == index.defined() && (!index.defined() || at::equal(grid.group_index, index));
    const int64_t size = std::min(grid.group_size, columns), repeats = size / group_size;
    if (!is_same || size % group_size != 0 || (index.defined() && repeats > 1)) return false;
    if (grid.bits != bits && !refit_codes(GroupIntWeight(grid), bits, !grid.is_symmetric, grid)) return false;
    if (!is_symmetric && grid.is_symmetric) {
      grid.zeros = zeros_of(grid);
      grid.is_symmetric = false;
    }
    if (repeats <= 1) continue;
    const int64_t groups = (columns + group_size - 1) / group_size;
    grid.scales = grid.scales.repeat_interleave(repeats, 1).narrow(1, 0, groups).contiguous();
    if (grid.zeros.defined()) grid.zeros = grid.zeros.repeat_interleave(repeats, 1).narrow(1, 0, groups).contiguous();
    grid.group_size = group_size;
  }
  return true;
}

std::vector<std::pair<std::string, Tensor>> InterchangeWriter::pack_group(const GroupIntWeight& weight) const {
  const Tensor codes = weight.codes.contiguous();
  const int64_t rows = codes.size(0), columns = codes.size(1);
  if (options_.format == "int8") {
    return {{".weight", (codes.to(at::kShort) - 128).to(at::kChar)}, {".weight_scale", weight.scales}};
  }
  if (options_.format == "compressed-tensors") {
    std::vector<std::pair<std::string, Tensor>> parts = {{".weight_packed", pack_lines(codes, weight.bits)},
                                                         {".weight_scale", weight.scales},
                                                         {".weight_shape", at::tensor({rows, columns}, at::kLong)}};
    if (!weight.is_symmetric) {
      parts.emplace_back(".weight_zero_point", pack_lines(weight.zeros.t().contiguous(), weight.bits).t().contiguous());
    }
    return parts;
  }
  const Tensor scales = weight.scales.t().contiguous(), zeros = zeros_of(weight);
  if (options_.format == "awq") {
    return {{".qweight", words_tensor(pack_awq(bytes_of(codes), rows), columns)},
            {".qzeros", words_tensor(pack_awq(bytes_of(zeros), rows), scales.size(0))},
            {".scales", scales}};
  }
  // v1 stores z - 1; only symmetric grids get here, so z is at least 1.
  const Tensor fields = options_.format == "gptq" ? zeros - 1 : zeros;
  const Tensor index = weight.group_index.defined() ? weight.group_index.to(at::kInt)
                                                    : at::arange(columns).div(weight.group_size, "floor").to(at::kInt);
  const auto words = pack_gptq_codes(bytes_of(codes), rows, weight.bits, WordLayout::kDense);
  return {{".qweight", words_tensor(words, columns * weight.bits / 32)},
          {".qzeros",
           words_tensor(pack_gptq_zeros(bytes_of(fields), rows, weight.bits, WordLayout::kDense), scales.size(0))},
          {".scales", scales},
          {".g_idx", index}};
}

void InterchangeWriter::pack_float(const std::string& linear, const Weight& weight, Tensor& codes, Tensor& scales) {
  const Tensor values = weight_to_dense(weight, at::kFloat);
  const auto* float8 = std::get_if<Float8Weight>(&weight);
  const bool keeps_codes = float8 != nullptr && float8->tile_columns >= values.size(1);
  if (keeps_codes) {
    codes = float8->codes;
    scales = float8->scales.repeat_interleave(float8->tile_rows, 0).narrow(0, 0, values.size(0)).contiguous();
  } else {
    check_holds(linear, weight);
    scales = values.abs().amax(1, true) / 448;
    scales = scales.masked_fill(scales == 0, 1);
    codes = (values / scales).clamp(-448, 448).to(at::kFloat8_e4m3fn).view(at::kByte);
  }
  summary_.account(linear, values, codes.view(at::kFloat8_e4m3fn).to(at::kFloat) * scales, keeps_codes);
}

std::vector<std::pair<std::string, Tensor>> InterchangeWriter::pack(const std::string& linear, const Weight& weight,
                                                                    DType dtype) {
  return pack({linear, {{linear, &weight}}, [](const std::vector<Tensor>& parts) { return parts.front(); }}, dtype);
}

std::vector<std::pair<std::string, Tensor>> InterchangeWriter::pack(const Parts& parts, DType dtype) {
  const auto dense = [&](at::ScalarType type) {
    std::vector<Tensor> values;
    for (const auto& [linear, weight] : parts.linears) values.push_back(weight_to_dense(*weight, type));
    return values;
  };
  if (options_.format == "fp8") {
    // A scale belongs to a row, so parts are rounded apart.
    std::vector<Tensor> codes, scales;
    for (const auto& [linear, weight] : parts.linears)
      pack_float(linear, *weight, codes.emplace_back(), scales.emplace_back());
    layouts_[{8, -1, true, false}].push_back(parts.module);
    return {{".weight", parts.join(codes).view(at::kFloat8_e4m3fn)}, {".weight_scale", parts.join(scales)}};
  }
  int64_t rows = 0;
  for (const auto& [linear, weight] : parts.linears) rows += weight_rows(*weight);
  std::vector<GroupIntWeight> grids;
  std::vector<bool> are_exact;
  for (const auto& [linear, weight] : parts.linears) {
    bool is_exact = false;
    grids.push_back(choose_codes(linear, *weight, rows, is_exact));
    are_exact.push_back(is_exact);
  }
  const int64_t columns = weight_columns(*parts.linears.front().second);
  columns_[parts.module] = columns;
  if (!unify(grids)) {
    if (!rounds_again_) {
      throw_input(
          "{}: {} and its neighbours have grids that no common one holds, and {} keeps them in one tensor; compress "
          "them "
          "alike, write gguf, or pass --bits to round the weights again",
          parts.module, parts.linears.front().first, options_.format);
    }
    for (size_t i = 0; i < grids.size(); ++i) {
      grids[i] = round_again(*parts.linears[i].second);
      are_exact[i] = false;
    }
  }
  GroupIntWeight group = grids.front();
  const auto join = [&](Tensor GroupIntWeight::*member) {
    std::vector<Tensor> tensors;
    for (const GroupIntWeight& grid : grids) tensors.push_back(grid.*member);
    group.*member = (group.*member).defined() ? parts.join(tensors) : Tensor();
  };
  for (Tensor GroupIntWeight::*member : {&GroupIntWeight::codes, &GroupIntWeight::scales, &GroupIntWeight::zeros})
    join(member);
  if (!fits(rows, columns, group.bits, group.group_size)) {
    log_warning(fmt::format("{}: [{}, {}] does not fit {} at {} bits and stays dense", parts.module, rows, columns,
                            options_.format, group.bits));
    summary_.dense += static_cast<int64_t>(parts.linears.size());
    dense_.push_back(parts.module);
    return {{".weight", parts.join(dense(to_scalar_type(dtype)))}};
  }
  const bool takes_half = options_.format == "gptq" || options_.format == "gptq_v2" || options_.format == "awq";
  const auto shorten = [&](GroupIntWeight& grid) {
    if (takes_half || grid.scales.scalar_type() == at::kDouble)
      grid.scales = grid.scales.to(takes_half ? at::kHalf : at::kFloat);
  };
  shorten(group);
  if (!group.scales.isfinite().all().item<bool>()) {
    throw_input("{}: a scale is beyond what {} can hold (65504); write compressed-tensors", parts.module,
                options_.format);
  }
  for (size_t i = 0; i < grids.size(); ++i) {
    shorten(grids[i]);
    const auto& [linear, weight] = parts.linears[i];
    summary_.account(linear, weight_to_dense(*weight, at::kFloat), weight_to_dense(grids[i], at::kFloat), are_exact[i]);
  }
  layouts_[{group.bits, group.group_size == columns ? -1 : group.group_size, group.is_symmetric,
            group.group_index.defined()}]
      .push_back(parts.module);
  return pack_group(group);
}

}  // namespace ockham
