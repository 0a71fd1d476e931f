// The bitmaps of compressed-tensors' legacy sparse formats: U8 [rows, ceil(columns/8)], bit k of byte j = column 8j+k,
// set where a value is stored; the values follow row by row.
//   sparse-bitmask     X.weight.{shape I64 [2], compressed [stored], bitmask, row_offsets I64 [rows]}
//   sparse-24-bitmask  X.{shape I64 [2,1], compressed [rows, columns/2], bitmask}: two stored in every four columns,
//                      zeros among them where a group has more than two
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ockham {

// One byte for each position, [rows * columns], 1 where a value is stored. Bits beyond the columns are ignored.
std::vector<uint8_t> expand_bitmask(std::span<const uint8_t> bitmask, int64_t rows, int64_t columns);

}  // namespace ockham
