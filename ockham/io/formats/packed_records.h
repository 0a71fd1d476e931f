// Ockham's container, version 1: how a weight format lies in safetensors. For a linear X:
//   dense          X.weight [R, C]
//   bitmap-sparse  X.mask U8 [R, ceil(C/8)], bit c%8 of byte c/8 set where a value is stored; X.values [non-zeros], row
//                  by row
//   group-int      X.codes U8 [R, ceil(C*bits/8)], codes one after another from the lowest bit, each row starting a
//                  byte; X.scales [R, G]; X.zeros U8 [R, ceil(G*bits/8)] packed as the codes are, absent when symmetric
//     out of order X.group_index U8 [C, 2]: the group of each column, low byte first
//     with zeros   X.mask as above; X.codes U8 [ceil(stored*bits/8)] holds the stored positions only, as one stream
//     two widths   X.narrow U8 [ceil(R/8)], a bit set for each row whose codes take narrow_bits; X.codes U8 [bytes],
//                  row by row, each starting a byte; never together with zeros
//   int8, float8, nested-int, group-sparse, low-rank: docs/formats.md
// The record of X in config.json, quantization_config.modules: {format, rows, columns} and for group-int {bits,
// group_size, symmetric, masked, indexed, narrow_bits}.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ockham/io/json.h"

namespace ockham {

inline constexpr int64_t kPackedVersion = 1;

enum class PackedFormat { kBitmapSparse, kGroupInt, kInt8, kFloat8, kNestedInt, kGroupSparse, kLowRank, kDense };

// The settings of a record; those of other formats keep their defaults.
struct PackedRecord {
  PackedFormat format = PackedFormat::kGroupInt;
  std::string where;  // for errors
  int64_t rows = 0, columns = 0;
  int64_t bits = 0, group_size = 0, groups = 0;  // of group-int, nested-int, group-sparse; G = ceil(C / group_size)
  bool is_symmetric = false, is_masked = false, is_indexed = false;
  int64_t narrow_bits = 0;                                     // of group-int: of the rows marked narrow; 0: none are
  double threshold = std::numeric_limits<double>::infinity();  // of int8
  bool has_kept = false;
  int64_t tile_rows = 0, tile_columns = 0;   // of float8
  int64_t rank = 0;                          // of low-rank
  std::shared_ptr<const PackedRecord> base;  // of low-rank: kDense, or another format; null without one
};
// `where` names the record in errors; rows and columns are what the model's config asks for. Error(kInput) names the
// key, what was found and what is expected; Error(kUnsupported) an unknown format.
PackedRecord parse_packed_record(const Json& record, const std::string& where, int64_t rows, int64_t columns);

// What a record's tensors must look like; -1 stands for any size.
struct PackedPart {
  std::string suffix;
  std::vector<int64_t> shape;
  bool is_bytes = false;  // U8, otherwise floating point
};
std::vector<PackedPart> packed_parts(const PackedRecord& record);

// Codes [first, first + count) of a stream of codes of 1 to 8 bits, the first from the lowest bit of the first byte;
// one a byte. The stream holds all of them.
void unpack_codes(std::span<const uint8_t> stream, int64_t first, int64_t count, int64_t bits, uint8_t* codes);

}  // namespace ockham
