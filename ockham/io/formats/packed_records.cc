// Records of the container, checked, and the tensors that follow from them.
#include "ockham/io/formats/packed_records.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/core/integers.h"

namespace ockham {
namespace {

constexpr int64_t kMostRanks = 65536;

constexpr std::pair<std::string_view, PackedFormat> kFormats[] = {{"bitmap-sparse", PackedFormat::kBitmapSparse},
                                                                  {"group-int", PackedFormat::kGroupInt},
                                                                  {"int8", PackedFormat::kInt8},
                                                                  {"float8", PackedFormat::kFloat8},
                                                                  {"nested-int", PackedFormat::kNestedInt},
                                                                  {"group-sparse", PackedFormat::kGroupSparse},
                                                                  {"low-rank", PackedFormat::kLowRank}};

PackedFormat format_of(const Json& record, const std::string& where) {
  const std::string name = json_text(record, "format", where);
  const auto* found =
      std::find_if(std::begin(kFormats), std::end(kFormats), [&](const auto& format) { return format.first == name; });
  if (found == std::end(kFormats)) {
    throw_error(
        ErrorKind::kUnsupported,
        "{}: key 'format' is '{}', expected bitmap-sparse, group-int, int8, float8, nested-int, group-sparse or "
        "low-rank",
        where, name);
  }
  return found->second;
}

int64_t integer_between(const Json& record, const char* key, const std::string& where, int64_t low, int64_t high) {
  const int64_t value = json_integer(record, key, where);
  if (value < low || value > high)
    throw_input("{}: key '{}' is {}, expected {} to {}; write the model again", where, key, value, low, high);
  return value;
}

void parse_groups(const Json& json, PackedRecord& record) {
  record.bits = integer_between(json, "bits", record.where, 2, 8);
  record.group_size = integer_between(json, "group_size", record.where, 1, record.columns);
  record.groups = ceil_div(record.columns, record.group_size);
  record.is_masked = json_flag(json, "masked", record.where, false);
}

void parse_group_int(const Json& json, PackedRecord& record) {
  parse_groups(json, record);
  record.is_symmetric = json_flag(json, "symmetric", record.where);
  record.is_indexed = json_flag(json, "indexed", record.where, false);
  if (!json.contains("narrow_bits")) return;
  record.narrow_bits = integer_between(json, "narrow_bits", record.where, 2, record.bits - 1);
  for (const auto& [key, is_set] : {std::pair("masked", record.is_masked), {"symmetric", record.is_symmetric}})
    if (is_set)
      throw_input("{}: key '{}' is true, expected false beside narrow_bits; write the model again", record.where, key);
}

void parse_int8(const Json& json, PackedRecord& record) {
  record.threshold = json_real(json, "threshold", record.where, record.threshold);
  if (!(record.threshold >= 0)) {
    throw_input("{}: key 'threshold' is {}, expected 0 or more; write the model again", record.where, record.threshold);
  }
  record.has_kept = json_flag(json, "kept", record.where, false);
}

void parse_float8(const Json& json, PackedRecord& record) {
  record.tile_rows = integer_between(json, "tile_rows", record.where, 1, record.rows);
  record.tile_columns = integer_between(json, "tile_columns", record.where, 1, record.columns);
}

void parse_group_sparse(const Json& json, PackedRecord& record) {
  parse_groups(json, record);
  if (record.columns % record.group_size != 0) {
    throw_input("{}: key 'group_size' is {}, expected a divisor of {}; write the model again", record.where,
                record.group_size, record.columns);
  }
}

void parse_low_rank(const Json& json, PackedRecord& record) {
  const std::string& where = record.where;
  record.rank = integer_between(json, "rank", where, 0, kMostRanks);
  const auto base = json.find("base");
  if (base == json.end()) return;
  if (!base->is_object()) throw_input("{}: key 'base' is no object, expected a record; write the model again", where);
  const std::string format = json_text(*base, "format", where + ", base");
  if (format == "low-rank")
    throw_input("{}: key 'base' is a low-rank weight itself, expected another format; write the model again", where);
  if (format == "dense") {
    PackedRecord dense;
    dense.format = PackedFormat::kDense;
    dense.where = where + ", base";
    dense.rows = record.rows;
    dense.columns = record.columns;
    record.base = std::make_shared<const PackedRecord>(std::move(dense));
  } else {
    record.base =
        std::make_shared<const PackedRecord>(parse_packed_record(*base, where + ", base", record.rows, record.columns));
  }
}

std::vector<PackedPart> group_int_parts(const PackedRecord& record) {
  const auto [rows, columns, bits] = std::tuple(record.rows, record.columns, record.bits);
  std::vector<PackedPart> parts = {{".scales", {rows, record.groups}, false}};
  if (!record.is_symmetric) parts.push_back({".zeros", {rows, ceil_div(record.groups * bits, 8)}, true});
  if (record.is_indexed) parts.push_back({".group_index", {columns, 2}, true});
  if (record.is_masked) {
    parts.push_back({".mask", {rows, ceil_div(columns, 8)}, true});
    parts.push_back({".codes", {-1}, true});
  } else if (record.narrow_bits > 0) {
    parts.push_back({".narrow", {ceil_div(rows, 8)}, true});
    parts.push_back({".codes", {-1}, true});
  } else {
    parts.push_back({".codes", {rows, ceil_div(columns * bits, 8)}, true});
  }
  return parts;
}

std::vector<PackedPart> int8_parts(const PackedRecord& record) {
  std::vector<PackedPart> parts = {{".codes", {record.rows, record.columns}, true}, {".scales", {record.rows}, false}};
  if (record.has_kept) {
    parts.push_back({".kept", {ceil_div(record.columns, 8)}, true});
    parts.push_back({".kept_values", {record.rows, -1}, false});
  }
  return parts;
}

std::vector<PackedPart> nested_parts(const PackedRecord& record) {
  std::vector<PackedPart> parts = {{".codes", {record.rows, ceil_div(record.columns * record.bits, 8)}, true},
                                   {".scales", {record.rows, record.groups}, false},
                                   {".lows", {record.rows, record.groups}, false}};
  if (record.is_masked) parts.push_back({".mask", {record.rows, ceil_div(record.columns, 8)}, true});
  return parts;
}

std::vector<PackedPart> low_rank_parts(const PackedRecord& record) {
  std::vector<PackedPart> parts = {{".left", {record.rows, record.rank}, false},
                                   {".right", {record.rank, record.columns}, false}};
  if (record.base == nullptr) return parts;
  for (PackedPart part : packed_parts(*record.base)) {
    part.suffix = ".base" + part.suffix;
    parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace

PackedRecord parse_packed_record(const Json& json, const std::string& where, int64_t rows, int64_t columns) {
  PackedRecord record;
  record.where = where;
  record.format = format_of(json, where);
  record.rows = json_integer(json, "rows", where);
  record.columns = json_integer(json, "columns", where);
  if (record.rows != rows || record.columns != columns) {
    throw_input("{}: shape is [{}, {}], expected [{}, {}]; config and weights are not of one model", where, record.rows,
                record.columns, rows, columns);
  }
  switch (record.format) {
    case PackedFormat::kGroupInt:
      parse_group_int(json, record);
      break;
    case PackedFormat::kInt8:
      parse_int8(json, record);
      break;
    case PackedFormat::kFloat8:
      parse_float8(json, record);
      break;
    case PackedFormat::kNestedInt:
      parse_groups(json, record);
      break;
    case PackedFormat::kGroupSparse:
      parse_group_sparse(json, record);
      break;
    case PackedFormat::kLowRank:
      parse_low_rank(json, record);
      break;
    case PackedFormat::kBitmapSparse:
    case PackedFormat::kDense:
      break;
  }
  return record;
}

std::vector<PackedPart> packed_parts(const PackedRecord& record) {
  const int64_t rows = record.rows, columns = record.columns;
  switch (record.format) {
    case PackedFormat::kDense:
      return {{".weight", {rows, columns}, false}};
    case PackedFormat::kBitmapSparse:
      return {{".mask", {rows, ceil_div(columns, 8)}, true}, {".values", {-1}, false}};
    case PackedFormat::kGroupInt:
      return group_int_parts(record);
    case PackedFormat::kInt8:
      return int8_parts(record);
    case PackedFormat::kFloat8:
      return {{".codes", {rows, columns}, true},
              {".scales", {ceil_div(rows, record.tile_rows), ceil_div(columns, record.tile_columns)}, false}};
    case PackedFormat::kNestedInt:
      return nested_parts(record);
    case PackedFormat::kGroupSparse:
      return {{".kept", {rows, ceil_div(record.groups, 8)}, true},
              {".codes", {-1}, true},
              {".scales", {-1}, false},
              {".zeros", {-1}, true}};
    case PackedFormat::kLowRank:
      return low_rank_parts(record);
  }
  OCKHAM_CHECK(false);
}

void unpack_codes(std::span<const uint8_t> stream, int64_t first, int64_t count, int64_t bits, uint8_t* codes) {
  if (count <= 0) return;
  OCKHAM_CHECK(first >= 0 && ceil_div((first + count) * bits, 8) <= static_cast<int64_t>(stream.size()));
  const uint32_t low = (1U << bits) - 1;
  const uint8_t* in = stream.data() + first * bits / 8;
  int64_t held = 8 - first * bits % 8;
  uint32_t pending = static_cast<uint32_t>(*in++) >> (8 - held);
  for (int64_t i = 0; i < count; ++i) {
    for (; held < bits; held += 8) pending |= static_cast<uint32_t>(*in++) << held;
    codes[i] = static_cast<uint8_t>(pending & low);
    pending >>= bits;
    held -= bits;
  }
}

}  // namespace ockham
