// Layouts of int8, float8, nested-int, group-sparse and low-rank.
#include "ockham/model/packed_formats.h"

#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr int64_t kMostRanks = 65536;

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

int64_t integer_between(const Json& record, const char* key, const std::string& where, int64_t low, int64_t high) {
  const int64_t value = json_integer(record, key, where);
  if (value < low || value > high)
    throw_input("{}: key '{}' is {}, expected {} to {}; write the model again", where, key, value, low, high);
  return value;
}

void expect_count(const std::string& where, const char* part, int64_t found, int64_t expected) {
  if (found != expected) {
    throw_input("{}: part '{}' has {} elements, expected {} as the rest of the weight says; write the model again",
                where, part, found, expected);
  }
}

Json head(const char* format, int64_t rows, int64_t columns) {
  return {{"format", format}, {"rows", rows}, {"columns", columns}};
}
int64_t rows_of(const Json& record, const std::string& where) {
  return json_integer(record, "rows", where);
}
int64_t columns_of(const Json& record, const std::string& where) {
  return json_integer(record, "columns", where);
}

Tensor bits_of(const Tensor& mask) {
  return pack_bits(mask.to(at::kByte), 1);
}
Tensor mask_of(const Tensor& bytes, int64_t count) {
  return unpack_bits(bytes, 1, count).to(at::kBool);
}

// int8

std::vector<PackedPart> int8_parts(const Json& record, const std::string& where, int64_t rows, int64_t columns) {
  std::vector<PackedPart> parts = {{".codes", {rows, columns}, true}, {".scales", {rows}, false}};
  if (json_flag(record, "kept", where, false)) {
    parts.push_back({".kept", {ceil_div(columns, 8)}, true});
    parts.push_back({".kept_values", {rows, -1}, false});
  }
  return parts;
}

Weight unpack_int8(const Json& record, const std::string& where, const PackedParts& parts) {
  Int8Weight weight;
  weight.codes = parts.at(".codes").view(at::kChar);
  weight.scales = parts.at(".scales");
  weight.threshold = json_real(record, "threshold", where, weight.threshold);
  if (!(weight.threshold >= 0))
    throw_input("{}: key 'threshold' is {}, expected 0 or more; write the model again", where, weight.threshold);
  if (!json_flag(record, "kept", where, false)) return weight;
  weight.kept = mask_of(parts.at(".kept").unsqueeze(0), columns_of(record, where)).flatten().nonzero().flatten();
  weight.kept_values = parts.at(".kept_values");
  expect_count(where, ".kept_values", weight.kept_values.size(1), weight.kept.size(0));
  return weight;
}

// float8

std::vector<PackedPart> float8_parts(const Json& record, const std::string& where, int64_t rows, int64_t columns) {
  const int64_t tall = integer_between(record, "tile_rows", where, 1, rows),
                wide = integer_between(record, "tile_columns", where, 1, columns);
  return {{".codes", {rows, columns}, true}, {".scales", {ceil_div(rows, tall), ceil_div(columns, wide)}, false}};
}

Weight unpack_float8(const Json& record, const std::string& where, const PackedParts& parts) {
  Float8Weight weight;
  weight.tile_rows = json_integer(record, "tile_rows", where);
  weight.tile_columns = json_integer(record, "tile_columns", where);
  weight.codes = parts.at(".codes");
  weight.scales = parts.at(".scales").to(at::kFloat);
  if ((weight.codes.bitwise_and(127) == 127).any().item<bool>())
    throw_input("{}: part '.codes' holds NaN, expected finite 8-bit floats; write the model again", where);
  return weight;
}

// nested-int

std::vector<PackedPart> nested_parts(const Json& record, const std::string& where, int64_t rows, int64_t columns) {
  const int64_t bits = integer_between(record, "bits", where, 2, 8),
                groups = ceil_div(columns, integer_between(record, "group_size", where, 1, columns));
  std::vector<PackedPart> parts = {{".codes", {rows, ceil_div(columns * bits, 8)}, true},
                                   {".scales", {rows, groups}, false},
                                   {".lows", {rows, groups}, false}};
  if (json_flag(record, "masked", where, false)) parts.push_back({".mask", {rows, ceil_div(columns, 8)}, true});
  return parts;
}

Weight unpack_nested(const Json& record, const std::string& where, const PackedParts& parts) {
  NestedIntWeight weight;
  const int64_t columns = columns_of(record, where);
  weight.bits = json_integer(record, "bits", where);
  weight.group_size = json_integer(record, "group_size", where);
  weight.codes = unpack_bits(parts.at(".codes"), weight.bits, columns);
  weight.scales = parts.at(".scales");
  weight.lows = parts.at(".lows");
  if (parts.contains(".mask")) weight.mask = mask_of(parts.at(".mask"), columns).logical_not();
  return weight;
}

// group-sparse

std::vector<PackedPart> group_sparse_parts(const Json& record, const std::string& where, int64_t rows,
                                           int64_t columns) {
  integer_between(record, "bits", where, 2, 8);
  const int64_t size = integer_between(record, "group_size", where, 1, columns);
  if (columns % size != 0)
    throw_input("{}: key 'group_size' is {}, expected a divisor of {}; write the model again", where, size, columns);
  return {{".kept", {rows, ceil_div(columns / size, 8)}, true},
          {".codes", {-1}, true},
          {".scales", {-1}, false},
          {".zeros", {-1}, true}};
}

Weight unpack_group_sparse(const Json& record, const std::string& where, const PackedParts& parts) {
  GroupSparseWeight weight;
  weight.rows = rows_of(record, where);
  weight.columns = columns_of(record, where);
  weight.bits = json_integer(record, "bits", where);
  weight.group_size = json_integer(record, "group_size", where);
  weight.kept = mask_of(parts.at(".kept"), weight.columns / weight.group_size);
  const int64_t groups = weight.kept.sum().item<int64_t>();
  const Tensor &codes = parts.at(".codes"), &zeros = parts.at(".zeros");
  expect_count(where, ".codes", codes.size(0), ceil_div(groups * weight.group_size * weight.bits, 8));
  expect_count(where, ".zeros", zeros.size(0), ceil_div(groups * weight.bits, 8));
  weight.scales = parts.at(".scales");
  expect_count(where, ".scales", weight.scales.size(0), groups);
  weight.codes =
      unpack_bits(codes.unsqueeze(0), weight.bits, groups * weight.group_size).view({groups, weight.group_size});
  weight.zeros = unpack_bits(zeros.unsqueeze(0), weight.bits, groups).flatten();
  return weight;
}

// low-rank

// The record of the base, which lies in the same tensors with ".base" before their suffixes; null without one.
const Json* base_of(const Json& record, const std::string& where) {
  const auto found = record.find("base");
  if (found == record.end()) return nullptr;
  if (!found->is_object()) throw_input("{}: key 'base' is no object, expected a record; write the model again", where);
  if (json_text(*found, "format", where + ", base") == "low-rank")
    throw_input("{}: key 'base' is a low-rank weight itself, expected another format; write the model again", where);
  return &*found;
}

std::vector<PackedPart> low_rank_parts(const Json& record, const std::string& where, int64_t rows, int64_t columns) {
  const int64_t rank = integer_between(record, "rank", where, 0, kMostRanks);
  std::vector<PackedPart> parts = {{".left", {rows, rank}, false}, {".right", {rank, columns}, false}};
  const Json* base = base_of(record, where);
  if (base == nullptr) return parts;
  if (json_text(*base, "format", where) == "dense") {
    parts.push_back({".base.weight", {rows, columns}, false});
    return parts;
  }
  for (PackedPart part : packed_parts(*base, where + ", base", rows, columns)) {
    part.suffix = ".base" + part.suffix;
    parts.push_back(part);
  }
  return parts;
}

Weight unpack_low_rank(const Json& record, const std::string& where, const PackedParts& parts) {
  LowRankWeight weight;
  weight.left = parts.at(".left");
  weight.right = parts.at(".right");
  const Json* base = base_of(record, where);
  if (base == nullptr) return weight;
  WeightBox box;
  if (json_text(*base, "format", where) == "dense") {
    box.weight = DenseWeight{parts.at(".base.weight")};
  } else {
    box.weight =
        unpack_weight(*base, where + ", base", [&](const PackedPart& part) { return parts.at(".base" + part.suffix); });
  }
  weight.base = std::make_shared<const WeightBox>(std::move(box));
  return weight;
}

}  // namespace

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

const PackedFormat* find_packed_format(const std::string& name) {
  static const std::map<std::string, PackedFormat> kFormats = {
      {"int8", {int8_parts, unpack_int8}},
      {"float8", {float8_parts, unpack_float8}},
      {"nested-int", {nested_parts, unpack_nested}},
      {"group-sparse", {group_sparse_parts, unpack_group_sparse}},
      {"low-rank", {low_rank_parts, unpack_low_rank}}};
  const auto found = kFormats.find(name);
  return found == kFormats.end() ? nullptr : &found->second;
}

}  // namespace ockham
