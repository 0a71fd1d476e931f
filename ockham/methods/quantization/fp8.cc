// fp8: weights as 8-bit floats with one scale per output row or per tile.
// Paper: Micikevicius et al., "FP8 Formats for Deep Learning" (2022): E4M3, 4 bits of exponent, 3 of mantissa, no
// infinities, largest value 448. The scale brings the largest magnitude of its tile to 448; rounding is to nearest,
// ties to even. Needs: nothing. Weight format: float8. Left out: 8-bit inputs, E5M2. Zeros stay zero.
#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/methods/method.h"
#include "ockham/methods/pruning/tiles.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr double kLargest = 448;

class Fp8 final : public Method {
 public:
  explicit Fp8(const Params& params) : is_per_row_(params.text("tile") == "row") {
    if (!is_per_row_) tile_ = read_tile(params, "tile");
  }

  void compress(Linear& linear, const LayerStats&) const override {
    const Tensor weights = weight_to_dense(linear.weight, at::kFloat);
    Float8Weight result;
    result.tile_rows = is_per_row_ ? 1 : std::min(tile_.rows, weights.size(0));
    result.tile_columns = is_per_row_ ? weights.size(1) : std::min(tile_.columns, weights.size(1));
    const Tensor largest = std::get<0>(tiled(weights.abs(), {result.tile_rows, result.tile_columns}).max(2));
    result.scales = (largest / kLargest).masked_fill(largest == 0, 1);
    const Tensor spread = untiled(result.scales, {result.tile_rows, result.tile_columns}, weights.sizes());
    // A quotient that is a little over for its rounding would turn into NaN.
    const Tensor codes = (weights / spread).clamp(-kLargest, kLargest).to(at::kFloat8_e4m3fn);
    // -0 is 0 as well.
    result.codes = codes.view(at::kByte).masked_fill(codes.to(at::kFloat) == 0, 0);
    linear.weight = result;
  }

 private:
  bool is_per_row_;
  Tile tile_;
};

}  // namespace

const MethodEntry& fp8_entry() {
  static const MethodEntry kEntry = {
      "fp8",
      "quantization",
      "Rounds weights to 8-bit floats with a scale for every output row or tile.",
      "Micikevicius et al., FP8 Formats for Deep Learning, 2022",
      {text_spec("tile", "weights that share a scale: row, or ROWSxCOLUMNS as in \"128x128\"", "row")},
      [](const Params& params) { return std::make_unique<Fp8>(params); },
      {}};
  return kEntry;
}

}  // namespace ockham
