// Rectangular tiles of a matrix, for what is decided or scaled tile by tile. The last tiles of a row or column may be
// smaller; tiles larger than the matrix are cut to it.
#pragma once

#include <cstdint>
#include <string>

#include "ockham/core/params.h"
#include "ockham/tensor/tensor.h"

namespace ockham {

struct Tile {
  int64_t rows = 1, columns = 1;
};

// "4x16", or "*" in place of a number for as many as there are; false where the text is no such thing.
bool parse_tile(const std::string& text, Tile& tile);
// Error(kInput) for anything but "ROWSxCOLUMNS".
Tile read_tile(const Params& params, const std::string& key);

// matrix [R, C] -> [tile rows, tile columns, elements of a tile], zeros where a tile reaches beyond the matrix.
Tensor tiled(const Tensor& matrix, Tile tile);
// One value per tile -> that value in every place of its tile, [R, C].
Tensor untiled(const Tensor& values, Tile tile, at::IntArrayRef shape);
// Mask bool [R, C], true on the `count` tiles with the lowest scores [tile rows, tile columns], ties from the left.
Tensor lowest_tiles(const Tensor& scores, int64_t count, Tile tile, at::IntArrayRef shape);

}  // namespace ockham
