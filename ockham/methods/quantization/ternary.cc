// ternary: every weight becomes -1, 0 or 1 times a scale.
// Paper: Li et al., "Ternary Weight Networks" (2016): of the weights that share a scale, those with |w| at most
// threshold * mean|w| become zero, the scale is the mean magnitude of the others (the best one for their signs).
// `tile` and `tile_sparsity` zero whole tiles beforehand, those with the smallest sum of squares, as block-wise ternary
// accelerators want it. Needs: nothing. Weight format: group-int, 2 bits. Zeros stay zero.
#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/methods/method.h"
#include "ockham/methods/pruning/tiles.h"
#include "ockham/methods/quantization/grid.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr int64_t kBits = 2, kZeroCode = 2;

class Ternary final : public Method {
 public:
  explicit Ternary(const Params& params)
      : threshold_(params.real("threshold")),
        group_size_(params.integer("group_size")),
        tile_(read_tile(params, "tile")),
        tile_sparsity_(params.real("tile_sparsity")) {
    if (group_size_ == 0)
      throw_input("{}: key 'group_size' is 0, expected -1 (one scale per output row) or at least 1", params.where());
  }

  void compress(Linear& linear, const LayerStats& stats) const override {
    Tensor weights = weight_to_dense(linear.weight, at::kFloat);
    if (tile_sparsity_ > 0) {
      const Tensor energy = tiled(weights.square(), tile_).sum(2);
      const int64_t count = static_cast<int64_t>(static_cast<double>(energy.numel()) * tile_sparsity_);
      weights = weights.masked_fill(lowest_tiles(energy, count, tile_, weights.sizes()), 0);
    }
    GroupIntWeight result;
    result.bits = kBits;
    result.is_symmetric = true;
    const int64_t columns = weights.size(1);
    result.group_size = group_size_ < 0 ? columns : std::min(group_size_, columns);
    const Tile group = {1, result.group_size};
    const Tensor magnitude = weights.abs(), filled = tiled(at::ones_like(weights), group).sum(2);
    const Tensor limit = tiled(magnitude, group).sum(2) / filled * threshold_;
    const Tensor is_kept = (magnitude > untiled(limit, group, weights.sizes())).logical_and(weights != 0);
    const Tensor kept = tiled(is_kept.to(at::kFloat), group).sum(2);
    Tensor scales = tiled(magnitude.masked_fill(is_kept.logical_not(), 0), group).sum(2) / kept.clamp_min(1);
    scales = scales.masked_fill(kept == 0, 1);
    const at::ScalarType type = scale_type_for(linear.weight, stats.stored);
    result.scales = scales.to(type == at::kHalf && scales.min().item<double>() < kSmallestHalf ? at::kFloat : type);
    result.codes = (weights.sign() * is_kept).add_(kZeroCode).to(at::kByte);
    linear.weight = result;
  }

 private:
  double threshold_;
  int64_t group_size_;
  Tile tile_;
  double tile_sparsity_;
};

}  // namespace

const MethodEntry& ternary_entry() {
  static const MethodEntry kEntry = {
      "ternary",
      "quantization",
      "Makes every weight -1, 0 or 1 times a scale; whole tiles may be zeroed beforehand.",
      "Li et al., Ternary Weight Networks, 2016",
      {real_spec("threshold", "weights up to this many times the mean magnitude become zero", 0.7, 0, 10),
       group_size_spec(), text_spec("tile", "weights that are zeroed together, ROWSxCOLUMNS", "4x8"),
       real_spec("tile_sparsity", "share of the tiles that are zeroed first", 0.0, 0, 1)},
      [](const Params& params) { return std::make_unique<Ternary>(params); },
      {}};
  return kEntry;
}

}  // namespace ockham
