// Packing to and from the container's layouts.
#include "ockham/model/packed.h"

#include <bit>
#include <cstring>
#include <map>

#include "ockham/core/error.h"
#include "ockham/core/integers.h"
#include "ockham/model/packed_formats.h"
#include "ockham/tensor/masked.h"
#include "ockham/tensor/ops.h"
#include "ockham/tensor/parallel.h"

namespace ockham {
namespace {

PackedWeight pack(const DenseWeight& weight) {
  return {Json(), {{".weight", weight.values}}};
}

PackedWeight pack(const SparseWeight& weight) {
  PackedWeight packed;
  packed.record = {{"format", "bitmap-sparse"}, {"rows", weight.rows}, {"columns", weight.columns}};
  packed.parts = {{".mask", pack_bits(weight.mask.to(at::kByte), 1)}, {".values", weight.values}};
  return packed;
}

// Rows of two widths, one behind another.
Tensor pack_widths(const GroupIntWeight& weight) {
  std::vector<Tensor> rows;
  for (int64_t row = 0; row < weight.codes.size(0); ++row) {
    const bool is_narrow = weight.narrow[row].item<bool>();
    rows.push_back(pack_bits(weight.codes.narrow(0, row, 1), is_narrow ? weight.narrow_bits : weight.bits).flatten());
  }
  return at::cat(rows);
}

PackedWeight pack(const GroupIntWeight& weight) {
  PackedWeight packed;
  const bool is_masked = weight.mask.defined();
  packed.record = {{"format", "group-int"}, {"rows", weight.codes.size(0)},    {"columns", weight.codes.size(1)},
                   {"bits", weight.bits},   {"group_size", weight.group_size}, {"symmetric", weight.is_symmetric},
                   {"masked", is_masked}};
  if (weight.group_index.defined()) {
    packed.record["indexed"] = true;
    const Tensor index = weight.group_index;
    packed.parts.emplace_back(".group_index",
                              at::stack({index.bitwise_and(255), index.bitwise_right_shift(8)}, 1).to(at::kByte));
  }
  if (is_masked) {
    const Tensor stored = weight.mask.logical_not();
    packed.parts.emplace_back(".mask", pack_bits(stored.to(at::kByte), 1));
    packed.parts.emplace_back(".codes",
                              pack_bits(keep_masked(weight.codes, stored).unsqueeze(0), weight.bits).flatten());
  } else if (weight.narrow.defined()) {
    packed.record["narrow_bits"] = weight.narrow_bits;
    packed.parts.emplace_back(".narrow", pack_bits(weight.narrow.to(at::kByte).unsqueeze(0), 1).flatten());
    packed.parts.emplace_back(".codes", pack_widths(weight));
  } else {
    packed.parts.emplace_back(".codes", pack_bits(weight.codes, weight.bits));
  }
  packed.parts.emplace_back(".scales", weight.scales);
  if (!weight.is_symmetric) packed.parts.emplace_back(".zeros", pack_bits(weight.zeros, weight.bits));
  return packed;
}

PackedWeight pack(const Int8Weight& weight) {
  return pack_int8(weight);
}
PackedWeight pack(const Float8Weight& weight) {
  return pack_float8(weight);
}
PackedWeight pack(const NestedIntWeight& weight) {
  return pack_nested(weight);
}
PackedWeight pack(const GroupSparseWeight& weight) {
  return pack_group_sparse(weight);
}
PackedWeight pack(const LowRankWeight& weight) {
  return pack_low_rank(weight);
}

Tensor read_mask(const PackedRecord& record, const PackedParts& parts) {
  return unpack_bits(parts.at(".mask"), 1, record.columns).to(at::kBool);
}

void check_count(const std::string& where, const char* part, int64_t found, int64_t expected) {
  if (found != expected) {
    throw_input("{}: part '{}' has {} elements, expected {} as the mask says; write the model again", where, part,
                found, expected);
  }
}

Weight unpack_sparse(const PackedRecord& record, const PackedParts& parts) {
  SparseWeight weight{record.rows, record.columns, parts.at(".values"), read_mask(record, parts)};
  check_count(record.where, ".values", weight.values.size(0), weight.mask.sum().item<int64_t>());
  return weight;
}

Tensor read_group_index(const PackedRecord& record, const Tensor& bytes) {
  const Tensor wide = bytes.to(at::kLong);
  Tensor index = wide.select(1, 0) + wide.select(1, 1) * 256;
  if (const int64_t last = index.max().item<int64_t>(); last >= record.groups)
    throw_input("{}: part '.group_index' names group {}, expected 0 to {}; write the model again", record.where, last,
                record.groups - 1);
  return index;
}

void unpack_widths(const PackedRecord& record, const PackedParts& parts, GroupIntWeight& weight) {
  weight.narrow_bits = record.narrow_bits;
  weight.narrow = unpack_bits(parts.at(".narrow").unsqueeze(0), 1, record.rows).flatten().to(at::kBool);
  const int64_t width = ceil_div(record.columns * record.bits, 8),
                narrow_width = ceil_div(record.columns * record.narrow_bits, 8);
  const int64_t narrow = weight.narrow.sum().item<int64_t>();
  const Tensor& stream = parts.at(".codes");
  check_count(record.where, ".codes", stream.size(0), narrow * narrow_width + (record.rows - narrow) * width);
  std::vector<Tensor> rows;
  for (int64_t row = 0, at = 0; row < record.rows; ++row) {
    const bool is_narrow = weight.narrow[row].item<bool>();
    const int64_t bytes = is_narrow ? narrow_width : width;
    rows.push_back(unpack_bits(stream.narrow(0, at, bytes).unsqueeze(0), is_narrow ? record.narrow_bits : record.bits,
                               record.columns));
    at += bytes;
  }
  weight.codes = at::cat(rows);
}

Weight unpack_group_int(const PackedRecord& record, const PackedParts& parts) {
  GroupIntWeight weight;
  weight.bits = record.bits;
  weight.group_size = record.group_size;
  weight.is_symmetric = record.is_symmetric;
  weight.scales = parts.at(".scales");
  if (record.is_indexed) weight.group_index = read_group_index(record, parts.at(".group_index"));
  if (!record.is_symmetric) weight.zeros = unpack_bits(parts.at(".zeros"), record.bits, record.groups);
  if (record.narrow_bits > 0) {
    unpack_widths(record, parts, weight);
    return weight;
  }
  if (!record.is_masked) {
    weight.codes = unpack_bits(parts.at(".codes"), record.bits, record.columns);
    return weight;
  }
  const Tensor stored = read_mask(record, parts);
  const int64_t count = stored.sum().item<int64_t>();
  const Tensor& stream = parts.at(".codes");
  check_count(record.where, ".codes", stream.size(0), ceil_div(count * record.bits, 8));
  const Tensor codes = unpack_bits(stream.unsqueeze(0), record.bits, count).flatten();
  weight.codes = spread_masked(codes, stored);
  weight.mask = stored.logical_not();
  return weight;
}

}  // namespace

PackedWeight pack_weight(const Weight& weight) {
  return std::visit([](const auto& format) { return pack(format); }, weight);
}

Weight unpack_weight(const Json& json, const std::string& where, const std::function<Tensor(const PackedPart&)>& read) {
  const PackedRecord record =
      parse_packed_record(json, where, json_integer(json, "rows", where), json_integer(json, "columns", where));
  PackedParts parts;
  for (const PackedPart& part : packed_parts(record)) parts[part.suffix] = read(part);
  return unpack_weight(record, parts);
}

Weight unpack_weight(const PackedRecord& record, const PackedParts& parts) {
  switch (record.format) {
    case PackedFormat::kBitmapSparse:
      return unpack_sparse(record, parts);
    case PackedFormat::kGroupInt:
      return unpack_group_int(record, parts);
    case PackedFormat::kInt8:
      return unpack_int8(record, parts);
    case PackedFormat::kFloat8:
      return unpack_float8(record, parts);
    case PackedFormat::kNestedInt:
      return unpack_nested(record, parts);
    case PackedFormat::kGroupSparse:
      return unpack_group_sparse(record, parts);
    case PackedFormat::kLowRank:
      return unpack_low_rank(record, parts);
    case PackedFormat::kDense:
      return DenseWeight{parts.at(".weight")};
  }
  OCKHAM_CHECK(false);
}

namespace {

// Rows of codes that threads take at a time.
constexpr int64_t kRowsPerPart = 32;

// Eight bytes of 0 or 1 as the bits of one, the first lowest: the product puts byte i at bit 56 + i.
uint8_t gather_bits(const uint8_t* flags) {
  uint64_t bytes;
  std::memcpy(&bytes, flags, sizeof(bytes));
  return static_cast<uint8_t>((bytes * 0x0102040810204080ULL) >> 56);
}

void pack_row(const uint8_t* in, int64_t count, int64_t bits, uint8_t* out) {
  int64_t first = 0;
  if (bits == 1 && std::endian::native == std::endian::little)
    for (; first + 8 <= count; first += 8) *out++ = gather_bits(in + first);
  uint32_t pending = 0;
  int64_t held = 0;
  for (int64_t i = first; i < count; ++i) {
    pending |= static_cast<uint32_t>(in[i]) << held;
    held += bits;
    for (; held >= 8; held -= 8, pending >>= 8) *out++ = static_cast<uint8_t>(pending);
  }
  if (held > 0) *out = static_cast<uint8_t>(pending);
}

void unpack_row(const uint8_t* in, int64_t count, int64_t bits, uint8_t* out) {
  const uint32_t low = (1U << bits) - 1;
  uint32_t pending = 0;
  int64_t held = 0;
  for (int64_t i = 0; i < count; ++i) {
    for (; held < bits; held += 8) pending |= static_cast<uint32_t>(*in++) << held;
    out[i] = static_cast<uint8_t>(pending & low);
    pending >>= bits;
    held -= bits;
  }
}

}  // namespace

Tensor pack_bits(const Tensor& codes, int64_t bits) {
  const Tensor source = codes.to(at::kCPU).contiguous();
  const int64_t rows = source.size(0), count = source.size(1), width = ceil_div(count * bits, 8);
  Tensor bytes = at::zeros({rows, width}, at::kByte);
  const uint8_t* in = source.const_data_ptr<uint8_t>();
  uint8_t* out = bytes.mutable_data_ptr<uint8_t>();
  parallel_rows(0, rows, kRowsPerPart, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) pack_row(in + row * count, count, bits, out + row * width);
  });
  return bytes;
}

Tensor unpack_bits(const Tensor& bytes, int64_t bits, int64_t count) {
  const Tensor source = bytes.contiguous();
  const int64_t rows = source.size(0), width = source.size(1);
  OCKHAM_CHECK(width * 8 >= count * bits);
  Tensor codes = at::empty({rows, count}, at::kByte);
  const uint8_t* in = source.const_data_ptr<uint8_t>();
  uint8_t* out = codes.mutable_data_ptr<uint8_t>();
  parallel_rows(0, rows, kRowsPerPart, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) unpack_row(in + row * width, count, bits, out + row * count);
  });
  return codes;
}

}  // namespace ockham
