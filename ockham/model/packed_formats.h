// The container's formats beyond integers in groups and bitmaps; private to packed.cc. A record has been checked for
// its rows and columns before any of these is called.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ockham/model/packed.h"

namespace ockham {

using PackedParts = std::map<std::string, Tensor>;

struct PackedFormat {
  std::vector<PackedPart> (*parts)(const Json& record, const std::string& where, int64_t rows, int64_t columns);
  Weight (*unpack)(const Json& record, const std::string& where, const PackedParts& parts);
};
// Null for a name that is none of these.
const PackedFormat* find_packed_format(const std::string& name);

PackedWeight pack_int8(const Int8Weight& weight);
PackedWeight pack_float8(const Float8Weight& weight);
PackedWeight pack_nested(const NestedIntWeight& weight);
PackedWeight pack_group_sparse(const GroupSparseWeight& weight);
PackedWeight pack_low_rank(const LowRankWeight& weight);

}  // namespace ockham
