// Ockham's container, version 1: how a weight format lies in safetensors. For a linear X:
//   dense          X.weight [R, C]
//   bitmap-sparse  X.mask U8 [R, ceil(C/8)], bit c%8 of byte c/8 set where a value is stored; X.values [non-zeros], row
//                  by row
//   group-int      X.codes U8 [R, ceil(C*bits/8)], codes one after another from the lowest bit, each row starting a
//                  byte; X.scales [R, G]; X.zeros U8 [R, ceil(G*bits/8)] packed as the codes are, absent when symmetric
//     out of order X.group_index U8 [C, 2]: the group of each column, low byte first
//     with zeros   X.mask as above; X.codes U8 [ceil(stored*bits/8)] holds the stored positions only, as one stream
//   int8, float8, nested-int, group-sparse, low-rank: docs/formats.md
// The record of X in config.json, quantization_config.modules: {format, rows, columns} and for group-int {bits,
// group_size, symmetric, masked, indexed}.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "ockham/io/json.h"
#include "ockham/model/weight.h"

namespace ockham {

inline constexpr int64_t kPackedVersion = 1;

// NOLINTNEXTLINE(bugprone-exception-escape): Json's move asserts its invariants.
struct PackedWeight {
  Json record;
  std::vector<std::pair<std::string, Tensor>> parts;  // suffix (".mask") and tensor
};
PackedWeight pack_weight(const Weight& weight);

// What a record's tensors must look like; -1 stands for any size.
struct PackedPart {
  std::string suffix;
  std::vector<int64_t> shape;
  bool is_bytes = false;  // U8, otherwise floating point
};
// `where` names the record in errors; rows and columns are what the model's config asks for.
std::vector<PackedPart> packed_parts(const Json& record, const std::string& where, int64_t rows, int64_t columns);
// The inverse of pack_weight; `read` gives each part with the shape and type asked for.
Weight unpack_weight(const Json& record, const std::string& where,
                     const std::function<Tensor(const PackedPart&)>& read);

// Codes uint8 [R, N], each below 2^bits, to bytes [R, ceil(N*bits/8)], and back.
Tensor pack_bits(const Tensor& codes, int64_t bits);
Tensor unpack_bits(const Tensor& bytes, int64_t bits, int64_t count);

}  // namespace ockham
