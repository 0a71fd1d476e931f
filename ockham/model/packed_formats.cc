// Layouts of int8, float8, nested-int, group-sparse and low-rank.
#include "ockham/model/packed_formats.h"

#include "ockham/core/error.h"
#include "ockham/core/integers.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

void expect_count(const std::string& where, const char* part, int64_t found, int64_t expected) {
  if (found != expected) {
    throw_input("{}: part '{}' has {} elements, expected {} as the rest of the weight says; write the model again",
                where, part, found, expected);
  }
}

Json head(const char* format, int64_t rows, int64_t columns) {
  return {{"format", format}, {"rows", rows}, {"columns", columns}};
}

Tensor bits_of(const Tensor& mask) {
  return pack_bits(mask.to(at::kByte), 1);
}
Tensor mask_of(const Tensor& bytes, int64_t count) {
  return unpack_bits(bytes, 1, count).to(at::kBool);
}

}  // namespace

// int8

Weight unpack_int8(const PackedRecord& record, const PackedParts& parts) {
  Int8Weight weight;
  weight.codes = parts.at(".codes").view(at::kChar);
  weight.scales = parts.at(".scales");
  weight.threshold = record.threshold;
  if (!record.has_kept) return weight;
  weight.kept = mask_of(parts.at(".kept").unsqueeze(0), record.columns).flatten().nonzero().flatten();
  weight.kept_values = parts.at(".kept_values");
  expect_count(record.where, ".kept_values", weight.kept_values.size(1), weight.kept.size(0));
  return weight;
}

// float8

Weight unpack_float8(const PackedRecord& record, const PackedParts& parts) {
  Float8Weight weight;
  weight.tile_rows = record.tile_rows;
  weight.tile_columns = record.tile_columns;
  weight.codes = parts.at(".codes");
  weight.scales = parts.at(".scales").to(at::kFloat);
  if ((weight.codes.bitwise_and(127) == 127).any().item<bool>())
    throw_input("{}: part '.codes' holds NaN, expected finite 8-bit floats; write the model again", record.where);
  return weight;
}

// nested-int

Weight unpack_nested(const PackedRecord& record, const PackedParts& parts) {
  NestedIntWeight weight;
  const int64_t columns = record.columns;
  weight.bits = record.bits;
  weight.group_size = record.group_size;
  weight.codes = unpack_bits(parts.at(".codes"), weight.bits, columns);
  weight.scales = parts.at(".scales");
  weight.lows = parts.at(".lows");
  if (parts.contains(".mask")) weight.mask = mask_of(parts.at(".mask"), columns).logical_not();
  return weight;
}

// group-sparse

Weight unpack_group_sparse(const PackedRecord& record, const PackedParts& parts) {
  GroupSparseWeight weight;
  weight.rows = record.rows;
  weight.columns = record.columns;
  weight.bits = record.bits;
  weight.group_size = record.group_size;
  weight.kept = mask_of(parts.at(".kept"), weight.columns / weight.group_size);
  const int64_t groups = weight.kept.sum().item<int64_t>();
  const Tensor &codes = parts.at(".codes"), &zeros = parts.at(".zeros");
  expect_count(record.where, ".codes", codes.size(0), ceil_div(groups * weight.group_size * weight.bits, 8));
  expect_count(record.where, ".zeros", zeros.size(0), ceil_div(groups * weight.bits, 8));
  weight.scales = parts.at(".scales");
  expect_count(record.where, ".scales", weight.scales.size(0), groups);
  weight.codes =
      unpack_bits(codes.unsqueeze(0), weight.bits, groups * weight.group_size).view({groups, weight.group_size});
  weight.zeros = unpack_bits(zeros.unsqueeze(0), weight.bits, groups).flatten();
  return weight;
}

// low-rank

Weight unpack_low_rank(const PackedRecord& record, const PackedParts& parts) {
  LowRankWeight weight;
  weight.left = parts.at(".left");
  weight.right = parts.at(".right");
  if (record.base == nullptr) return weight;
  PackedParts base;  // the parts whose suffixes begin with ".base"
  for (const PackedPart& part : packed_parts(*record.base)) base[part.suffix] = parts.at(".base" + part.suffix);
  weight.base = std::make_shared<const WeightBox>(WeightBox{unpack_weight(*record.base, base)});
  return weight;
}

PackedWeight pack_int8(const Int8Weight& weight) {
  PackedWeight packed;
  packed.record = head("int8", weight.codes.size(0), weight.codes.size(1));
  if (std::isfinite(weight.threshold)) packed.record["threshold"] = weight.threshold;
  packed.parts = {{".codes", weight.codes.to(at::kChar).contiguous().view(at::kByte)}, {".scales", weight.scales}};
  if (!weight.kept.defined()) return packed;
  packed.record["kept"] = true;
  const Tensor mask = at::zeros({1, weight.codes.size(1)}, at::kByte).index_fill(1, weight.kept.to(at::kCPU), 1);
  packed.parts.emplace_back(".kept", pack_bits(mask, 1).flatten());
  packed.parts.emplace_back(".kept_values", weight.kept_values);
  return packed;
}

PackedWeight pack_float8(const Float8Weight& weight) {
  PackedWeight packed;
  packed.record = head("float8", weight.codes.size(0), weight.codes.size(1));
  packed.record["tile_rows"] = weight.tile_rows;
  packed.record["tile_columns"] = weight.tile_columns;
  packed.parts = {{".codes", weight.codes}, {".scales", weight.scales}};
  return packed;
}

PackedWeight pack_nested(const NestedIntWeight& weight) {
  PackedWeight packed;
  packed.record = head("nested-int", weight.codes.size(0), weight.codes.size(1));
  packed.record["bits"] = weight.bits;
  packed.record["group_size"] = weight.group_size;
  packed.record["masked"] = weight.mask.defined();
  packed.parts = {{".codes", pack_bits(weight.codes, weight.bits)}, {".scales", weight.scales}, {".lows", weight.lows}};
  if (weight.mask.defined()) packed.parts.emplace_back(".mask", bits_of(weight.mask.logical_not()));
  return packed;
}

PackedWeight pack_group_sparse(const GroupSparseWeight& weight) {
  PackedWeight packed;
  packed.record = head("group-sparse", weight.rows, weight.columns);
  packed.record["bits"] = weight.bits;
  packed.record["group_size"] = weight.group_size;
  packed.parts = {{".kept", bits_of(weight.kept)},
                  {".codes", pack_bits(weight.codes.reshape({1, -1}), weight.bits).flatten()},
                  {".scales", weight.scales},
                  {".zeros", pack_bits(weight.zeros.unsqueeze(0), weight.bits).flatten()}};
  return packed;
}

PackedWeight pack_low_rank(const LowRankWeight& weight) {
  PackedWeight packed;
  packed.record = head("low-rank", weight.left.size(0), weight.right.size(1));
  packed.record["rank"] = weight.left.size(1);
  packed.parts = {{".left", weight.left}, {".right", weight.right}};
  if (weight.base == nullptr) return packed;
  PackedWeight base = pack_weight(weight.base->weight);
  if (base.record.is_null()) base.record = head("dense", weight.left.size(0), weight.right.size(1));
  packed.record["base"] = base.record;
  for (const auto& [suffix, part] : base.parts) packed.parts.emplace_back(".base" + suffix, part);
  return packed;
}

}  // namespace ockham
