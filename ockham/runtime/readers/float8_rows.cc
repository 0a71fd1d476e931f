#include "ockham/runtime/readers/float8_rows.h"

#include <algorithm>
#include <array>

#include "ockham/core/error.h"
#include "ockham/io/formats/small_floats.h"

namespace ockham {
namespace {

const std::array<float, 256>& values_of_codes() {
  static const std::array<float, 256> kValues = [] {
    std::array<float, 256> values;
    for (size_t code = 0; code < values.size(); ++code) values[code] = float8_e4m3_to_float(static_cast<uint8_t>(code));
    return values;
  }();
  return kValues;
}

}  // namespace

MatrixRows float8_rows(const Float8Matrix& matrix, DType type) {
  const auto* codes = reinterpret_cast<const uint8_t*>(matrix.codes.bytes.data());
  const auto is_broken = [](uint8_t code) { return (code & 127) == 127; };
  if (std::any_of(codes, codes + matrix.codes.bytes.size(), is_broken)) {
    throw_input("{}: tensor '{}' holds NaN, expected finite 8-bit floats; write or download the model again",
                matrix.codes.path, matrix.codes.name);
  }
  MatrixRows result;
  result.rows = matrix.codes.shape[0];
  result.columns = matrix.codes.shape[1];
  result.type = type;
  result.floats = [matrix, codes, columns = result.columns](int64_t row, float* values) {
    const std::array<float, 256>& of_codes = values_of_codes();
    const int64_t tiles = (columns + matrix.tile_columns - 1) / matrix.tile_columns;
    const float* scales = matrix.scales->data() + row / matrix.tile_rows * matrix.scale_columns;
    const uint8_t* from = codes + row * columns;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t end = std::min((tile + 1) * matrix.tile_columns, columns);
      for (int64_t c = tile * matrix.tile_columns; c < end; ++c) values[c] = of_codes[from[c]] * scales[tile];
    }
  };
  return result;
}

}  // namespace ockham
