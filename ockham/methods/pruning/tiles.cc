// Cutting a matrix into tiles and back.
#include "ockham/methods/pruning/tiles.h"

#include <algorithm>
#include <charconv>

#include "ockham/core/error.h"
#include "ockham/core/integers.h"
#include "ockham/methods/pruning/pattern.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr int64_t kLongest = 65536, kWhole = int64_t{1} << 40;

bool parse_length(const std::string& text, int64_t& length) {
  if (text == "*") {
    length = kWhole;
    return true;
  }
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, length);
  return parsed.ec == std::errc() && parsed.ptr == end && length >= 1 && length <= kLongest;
}

Tile cut(Tile tile, at::IntArrayRef shape) {
  return {std::min(tile.rows, shape[0]), std::min(tile.columns, shape[1])};
}

}  // namespace

bool parse_tile(const std::string& text, Tile& tile) {
  const size_t cross = text.find('x');
  if (cross == std::string::npos) return false;
  return parse_length(text.substr(0, cross), tile.rows) && parse_length(text.substr(cross + 1), tile.columns);
}

Tile read_tile(const Params& params, const std::string& key) {
  Tile tile;
  if (!parse_tile(params.text(key), tile))
    throw_input("{}: key '{}' is '{}', expected ROWSxCOLUMNS of 1 to 65536 each or *, as in \"4x16\"; correct it",
                params.where(), key, params.text(key));
  return tile;
}

Tensor tiled(const Tensor& matrix, Tile asked) {
  const Tile tile = cut(asked, matrix.sizes());
  const int64_t down = ceil_div(matrix.size(0), tile.rows), across = ceil_div(matrix.size(1), tile.columns);
  const Tensor padded =
      at::constant_pad_nd(matrix, {0, across * tile.columns - matrix.size(1), 0, down * tile.rows - matrix.size(0)});
  return padded.view({down, tile.rows, across, tile.columns}).transpose(1, 2).reshape({down, across, -1});
}

Tensor untiled(const Tensor& values, Tile asked, at::IntArrayRef shape) {
  const Tile tile = cut(asked, shape);
  return values.repeat_interleave(tile.rows, 0)
      .repeat_interleave(tile.columns, 1)
      .narrow(0, 0, shape[0])
      .narrow(1, 0, shape[1])
      .contiguous();
}

Tensor lowest_tiles(const Tensor& scores, int64_t count, Tile tile, at::IntArrayRef shape) {
  return untiled(lowest_of_each_row(scores.reshape({1, -1}), count).view(scores.sizes()), tile, shape);
}

}  // namespace ockham
