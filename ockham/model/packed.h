// Weights in Ockham's container: packing and unpacking; its records and layouts are in ockham/io/formats.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "ockham/io/formats/packed_records.h"
#include "ockham/io/json.h"
#include "ockham/model/weight.h"

namespace ockham {

// NOLINTNEXTLINE(bugprone-exception-escape): Json's move asserts its invariants.
struct PackedWeight {
  Json record;
  std::vector<std::pair<std::string, Tensor>> parts;  // suffix (".mask") and tensor
};
PackedWeight pack_weight(const Weight& weight);

// The inverse of pack_weight; `where` names the record in errors, `read` gives each part with the shape and type asked
// for.
Weight unpack_weight(const Json& record, const std::string& where,
                     const std::function<Tensor(const PackedPart&)>& read);

// Codes uint8 [R, N], each below 2^bits, to bytes [R, ceil(N*bits/8)], and back.
Tensor pack_bits(const Tensor& codes, int64_t bits);
Tensor unpack_bits(const Tensor& bytes, int64_t bits, int64_t count);

}  // namespace ockham
