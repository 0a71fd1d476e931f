// The container's formats beyond integers in groups and bitmaps; private to packed.cc.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ockham/model/packed.h"

namespace ockham {

using PackedParts = std::map<std::string, Tensor>;  // by suffix

PackedWeight pack_int8(const Int8Weight& weight);
PackedWeight pack_float8(const Float8Weight& weight);
PackedWeight pack_nested(const NestedIntWeight& weight);
PackedWeight pack_group_sparse(const GroupSparseWeight& weight);
PackedWeight pack_low_rank(const LowRankWeight& weight);

Weight unpack_int8(const PackedRecord& record, const PackedParts& parts);
Weight unpack_float8(const PackedRecord& record, const PackedParts& parts);
Weight unpack_nested(const PackedRecord& record, const PackedParts& parts);
Weight unpack_group_sparse(const PackedRecord& record, const PackedParts& parts);
Weight unpack_low_rank(const PackedRecord& record, const PackedParts& parts);
// Of any format, from parts that packed_parts() asked for.
Weight unpack_weight(const PackedRecord& record, const PackedParts& parts);

}  // namespace ockham
