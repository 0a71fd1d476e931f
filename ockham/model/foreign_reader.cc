// Reading of foreign layouts into weight formats.
#include "ockham/model/foreign_reader.h"

#include <fmt/format.h>

#include <span>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/core/integers.h"
#include "ockham/core/progress.h"
#include "ockham/io/formats/awq.h"
#include "ockham/io/formats/bitmask.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

std::span<const uint32_t> words_of(const Tensor& tensor) {
  OCKHAM_CHECK(tensor.scalar_type() == at::kInt && tensor.is_contiguous());
  return {reinterpret_cast<const uint32_t*>(tensor.const_data_ptr<int32_t>()), static_cast<size_t>(tensor.numel())};
}

Tensor bytes_tensor(const std::vector<uint8_t>& bytes, int64_t rows, int64_t columns) {
  OCKHAM_CHECK(static_cast<int64_t>(bytes.size()) == rows * columns);
  Tensor result = at::empty({rows, columns}, at::kByte);
  std::copy(bytes.begin(), bytes.end(), result.mutable_data_ptr<uint8_t>());
  return result;
}

// Scales [R, G] from any of the shapes [1], [1, 1], [R, 1], [R, G], or block scales spread over rows and columns.
Tensor spread_scales(const Tensor& scales, int64_t rows) {
  const Tensor flat = scales.dim() == 2 ? scales : scales.reshape({-1, 1});
  return flat.size(0) == rows ? flat : flat.expand({rows, flat.size(1)}).contiguous();
}

Weight read_packed(const std::string& linear, const ForeignLinear& stored, const LoadTensor& load) {
  const Tensor words = load(linear + ".weight_packed");
  Tensor codes = at::empty({stored.rows, stored.columns}, at::kByte);
  const auto all = words_of(words);
  const auto width = static_cast<size_t>(words.size(1)), columns = static_cast<size_t>(stored.columns);
  for (int64_t r = 0; r < stored.rows; ++r) {
    unpack_words(all.subspan(static_cast<size_t>(r) * width, width), stored.bits, stored.layout,
                 {codes.mutable_data_ptr<uint8_t>() + r * stored.columns, columns});
  }
  Tensor zeros;
  if (stored.has_zeros) {
    const Tensor packed = load(linear + ".weight_zero_point").t().contiguous();  // [G, words]
    zeros = at::empty({stored.groups, stored.rows}, at::kByte);
    const auto lines = words_of(packed);
    const auto line = static_cast<size_t>(packed.size(1));
    for (int64_t g = 0; g < stored.groups; ++g) {
      unpack_words(lines.subspan(static_cast<size_t>(g) * line, line), stored.bits, stored.layout,
                   {zeros.mutable_data_ptr<uint8_t>() + g * stored.rows, static_cast<size_t>(stored.rows)});
    }
    zeros = zeros.t().contiguous();
  }
  const Tensor scales = spread_scales(load(linear + ".weight_scale"), stored.rows);
  GroupIntWeight weight = make_group_int(stored.bits, stored.group_size, codes, scales, zeros, linear);
  if (stored.has_index) {
    const Tensor index = load(linear + ".weight_g_idx").to(at::kLong);
    if (index.min().item<int64_t>() < 0 || index.max().item<int64_t>() >= stored.groups)
      throw_input("{}.weight_g_idx: names a group beyond {}; download the model again", linear, stored.groups - 1);
    weight.group_index = index;
  }
  return weight;
}

Weight read_integer(const std::string& linear, const ForeignLinear& stored, const LoadTensor& load) {
  const Tensor codes = (load(linear + ".weight").to(at::kShort) + 128).to(at::kByte);
  Tensor zeros;
  if (stored.has_zeros) zeros = spread_scales(load(linear + ".weight_zero_point"), stored.rows).to(at::kShort) + 128;
  return make_group_int(8, stored.group_size, codes, spread_scales(load(linear + ".weight_scale"), stored.rows), zeros,
                        linear);
}

Tensor read_float(const std::string& linear, const ForeignLinear& stored, const LoadTensor& load) {
  Tensor scales = load(linear + ".weight_scale").to(at::kFloat);
  if (!scales.isfinite().all().item<bool>())
    throw_input("{}.weight_scale: holds non-finite values; download the model again", linear);
  if (scales.dim() != 2) scales = scales.reshape({1, 1});
  const auto spread = [&scales](int64_t dimension, int64_t size) {
    const int64_t block = ceil_div(size, scales.size(dimension));
    scales = scales.repeat_interleave(block, dimension).narrow(dimension, 0, size);
  };
  spread(0, stored.rows);
  spread(1, stored.columns);
  return load(linear + ".weight").to(at::kFloat) * scales;
}

Weight read_bitmask(const std::string& linear, const ForeignLinear& stored, const LoadTensor& load) {
  const std::string base = stored.kind == ForeignKind::kBitmask24 ? linear : linear + ".weight";
  const Tensor bits = load(base + ".bitmask");
  const auto is_stored =
      expand_bitmask({bits.const_data_ptr<uint8_t>(), static_cast<size_t>(bits.numel())}, stored.rows, stored.columns);
  SparseWeight weight{stored.rows, stored.columns, load(base + ".compressed").flatten(),
                      bytes_tensor(is_stored, stored.rows, stored.columns).to(at::kBool)};
  const int64_t expected = weight.mask.sum().item<int64_t>();
  if (weight.values.size(0) != expected) {
    throw_input("{}.compressed: has {} values, expected {} as its bitmask says; download the model again", base,
                weight.values.size(0), expected);
  }
  if (!weight.values.isfinite().all().item<bool>())
    throw_input("{}.compressed: holds non-finite values; download the model again", base);
  return weight;
}

Weight read_bitsandbytes(const std::string& linear, const ForeignLinear& stored, const LoadTensor& load) {
  constexpr float kReciprocal = 7.874015718698502e-3F;  // the library's own, of 127
  const Tensor codes = (load(linear + ".weight").to(at::kShort) + 128).to(at::kByte);
  return make_group_int(8, stored.columns, codes, load(linear + ".SCB").unsqueeze(1) * kReciprocal, Tensor(), linear);
}

Weight read_block_float(const std::string& linear, const LoadTensor& load) {
  const Tensor codes = load(linear + ".weight").to(at::kFloat);
  Tensor scales = load(linear + ".weight_scale_inv").to(at::kFloat);
  for (const int64_t i : {0, 1}) {
    const int64_t block = ceil_div(codes.size(i), scales.size(i));
    scales = scales.repeat_interleave(block, i).narrow(i, 0, codes.size(i));
  }
  return DenseWeight{codes * scales};
}

Weight read_awq(const std::string& linear, const ForeignLinear& stored, const LoadTensor& load) {
  const auto codes = unpack_awq(words_of(load(linear + ".qweight")), stored.rows);
  const auto zeros = unpack_awq(words_of(load(linear + ".qzeros")), stored.rows);
  return make_group_int(4, stored.group_size, bytes_tensor(codes, stored.rows, stored.columns),
                        load(linear + ".scales").t().contiguous(), bytes_tensor(zeros, stored.rows, stored.groups),
                        linear);
}

void read_gptq_index(const std::string& linear, const ForeignLinear& stored, const Tensor& index,
                     GroupIntWeight& weight) {
  const Tensor plain = at::arange(stored.columns).div(stored.group_size, "floor").to(at::kLong);
  if (at::equal(index, plain)) return;
  if (index.min().item<int64_t>() < 0 || index.max().item<int64_t>() >= stored.groups) {
    throw_input("{}.g_idx: names groups {} to {}, expected 0 to {}; download the model again", linear,
                index.min().item<int64_t>(), index.max().item<int64_t>(), stored.groups - 1);
  }
  weight.group_index = index;
}

}  // namespace

GroupIntWeight make_group_int(int64_t bits, int64_t group_size, Tensor codes, Tensor scales, const Tensor& zeros,
                              const std::string& where) {
  if (!scales.isfinite().all().item<bool>())
    throw_input("{}: its scales hold non-finite values, expected finite numbers; download the model again", where);
  GroupIntWeight weight;
  weight.bits = bits;
  weight.group_size = group_size;
  weight.codes = std::move(codes);
  weight.scales = std::move(scales);
  const int64_t middle = int64_t{1} << (bits - 1);
  weight.is_symmetric = !zeros.defined() || (zeros == middle).all().item<bool>();
  if (weight.is_symmetric) return weight;
  const int64_t largest = zeros.max().item<int64_t>();
  if (largest >> bits != 0) {
    if (bits == 8) throw_input("{}: a zero point is {}, expected at most 255", where, largest);
    ++weight.bits;
  }
  weight.zeros = zeros.to(at::kByte).contiguous();
  return weight;
}

std::unique_ptr<ForeignReader> ForeignReader::detect(const Json& config, const std::string& directory) {
  auto reader = std::make_unique<ForeignReader>();
  reader->layout_ = ForeignLayout::detect(config, directory);
  return reader->layout_ == nullptr ? nullptr : std::move(reader);
}

std::vector<std::string> ForeignReader::check(const std::string& linear, int64_t rows, int64_t columns,
                                              const FindTensor& find) {
  std::optional<ForeignLinear> stored = layout_->check(linear, rows, columns, find);
  if (!stored) return {};
  return linears_.insert_or_assign(linear, std::move(*stored)).first->second.suffixes;
}

Tensor ForeignReader::read_gptq_zeros(const std::string& linear, const ForeignLinear& stored, const LoadTensor& load) {
  const auto fields =
      unpack_gptq_zeros(words_of(load(linear + ".qzeros")), stored.rows, stored.groups, stored.bits, stored.layout);
  const GptqZeros used = detect_gptq_zeros(fields, stored.bits, stored.is_symmetric, stored.zeros);
  if (used != stored.zeros && !is_warned_) {
    log_warning(fmt::format("{}, but the zero points of '{}' are those of {}; read so", layout_->zeros_label(), linear,
                            used == GptqZeros::kStored ? "gptq_v2" : "gptq"));
    is_warned_ = true;
  }
  Tensor zeros = bytes_tensor(fields, stored.rows, stored.groups).to(at::kShort);
  if (used == GptqZeros::kStoredMinusOne) zeros += 1;
  return zeros;
}

Weight ForeignReader::read(const std::string& linear, const LoadTensor& load) {
  const ForeignLinear& stored = linears_.at(linear);
  switch (stored.kind) {
    case ForeignKind::kWords:
      return read_packed(linear, stored, load);
    case ForeignKind::kInteger:
      return read_integer(linear, stored, load);
    case ForeignKind::kFloat8:
      return DenseWeight{read_float(linear, stored, load)};
    case ForeignKind::kBitmask:
    case ForeignKind::kBitmask24:
      return read_bitmask(linear, stored, load);
    case ForeignKind::kBitsandbytes:
      return read_bitsandbytes(linear, stored, load);
    case ForeignKind::kBlockFloat8:
      return read_block_float(linear, load);
    case ForeignKind::kAwq:
      return read_awq(linear, stored, load);
    case ForeignKind::kGptq:
      break;
  }
  const auto codes =
      unpack_gptq_codes(words_of(load(linear + ".qweight")), stored.rows, stored.columns, stored.bits, stored.layout);
  GroupIntWeight weight =
      make_group_int(stored.bits, stored.group_size, bytes_tensor(codes, stored.rows, stored.columns),
                     load(linear + ".scales").t().contiguous(), read_gptq_zeros(linear, stored, load), linear);
  if (stored.has_index) read_gptq_index(linear, stored, load(linear + ".g_idx").to(at::kLong), weight);
  return weight;
}

}  // namespace ockham
