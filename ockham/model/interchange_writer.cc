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

bool InterchangeWriter::fits(const Weight& weight, int64_t bits, int64_t group_size) const {
  const int64_t rows = weight_rows(weight), columns = weight_columns(weight);
  if (options_.format == "compressed-tensors") return columns % group_size == 0;
  if (options_.format == "awq") return rows % 8 == 0 && columns % group_size == 0;
  if (options_.format == "int8") return group_size == columns;
  return rows * bits % 32 == 0 && columns * bits % 32 == 0;
}

GroupIntWeight InterchangeWriter::choose_codes(const std::string& linear, const Weight& weight, bool& is_exact) const {
  const int64_t columns = weight_columns(weight);
  const std::string& format = options_.format;
  GroupIntWeight result;
  is_exact = false;
  if (const auto* group = std::get_if<GroupIntWeight>(&weight)) {
    const bool has_zeros =
        format == "gptq_v2" || format == "awq" || (format == "compressed-tensors" && options_.asymmetric);
    const bool takes_index = format == "gptq" || format == "gptq_v2" || !group->group_index.defined();
    // Only the narrowest width that holds the codes: a wider one would take the zero points in, but twice the bytes.
    const std::vector<int64_t> widths = widths_of(format);
    const auto width = std::lower_bound(widths.begin(), widths.end(), group->bits);
    is_exact = width != widths.end() && takes_index && fits(weight, *width, group->group_size) &&
               refit_codes(*group, *width, has_zeros, result);
    if (is_exact) return result;
    if (!group->is_symmetric && !has_zeros && format != "int8" && !rounds_again_) {
      throw_input(
          "{}: has zero points, which {} does not carry portably; write gptq_v2, awq or gguf, compressed-tensors with "
          "--asymmetric, or pass --bits to round the weights again",
          linear, format);
    }
  }
  const int64_t wanted = options_.group_size;
  const int64_t group_size = wanted < 0 || wanted > columns || columns % wanted != 0 ? columns : wanted;
  const bool is_symmetric = !options_.asymmetric || format == "gptq" || format == "int8";
  return round_to_grid(weight_to_dense(weight, at::kFloat), options_.bits, group_size, is_symmetric);
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

std::vector<std::pair<std::string, Tensor>> InterchangeWriter::pack_float(const Weight& weight, Tensor& written) const {
  const Tensor values = weight_to_dense(weight, at::kFloat);
  Tensor scales = values.abs().amax(1, true) / 448;
  scales = scales.masked_fill(scales == 0, 1);
  const Tensor codes = (values / scales).clamp(-448, 448).to(at::kFloat8_e4m3fn);
  written = codes.to(at::kFloat) * scales;
  return {{".weight", codes}, {".weight_scale", scales}};
}

std::vector<std::pair<std::string, Tensor>> InterchangeWriter::pack(const std::string& linear, const Weight& weight,
                                                                    DType dtype) {
  if (options_.format == "fp8") {
    Tensor written;
    auto parts = pack_float(weight, written);
    summary_.account(linear, weight_to_dense(weight, at::kFloat), written, false);
    layouts_[{8, -1, true, false}].push_back(linear);
    return parts;
  }
  bool is_exact = false;
  GroupIntWeight group = choose_codes(linear, weight, is_exact);
  const int64_t columns = weight_columns(weight);
  columns_[linear] = columns;
  if (!fits(weight, group.bits, group.group_size)) {
    log_warning(fmt::format("{}: [{}, {}] does not fit {} at {} bits and stays dense", linear, weight_rows(weight),
                            columns, options_.format, group.bits));
    ++summary_.dense;
    dense_.push_back(linear);
    return {{".weight", weight_to_dense(weight, to_scalar_type(dtype))}};
  }
  const bool takes_half = options_.format == "gptq" || options_.format == "gptq_v2" || options_.format == "awq";
  if (takes_half || group.scales.scalar_type() == at::kDouble)
    group.scales = group.scales.to(takes_half ? at::kHalf : at::kFloat);
  if (!group.scales.isfinite().all().item<bool>()) {
    throw_input("{}: a scale is beyond what {} can hold (65504); write compressed-tensors", linear, options_.format);
  }
  summary_.account(linear, weight_to_dense(weight, at::kFloat), weight_to_dense(group, at::kFloat), is_exact);
  layouts_[{group.bits, group.group_size == columns ? -1 : group.group_size, group.is_symmetric,
            group.group_index.defined()}]
      .push_back(linear);
  return pack_group(group);
}

}  // namespace ockham
