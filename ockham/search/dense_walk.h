// One pass of the dense model over token sequences, with the statistics of every block's linears.
#pragma once

#include <cstdint>
#include <functional>

#include "ockham/model/checkpoint.h"
#include "ockham/pipeline/layer_statistics.h"

namespace ockham {

struct DenseWalk {
  const Checkpoint& checkpoint;
  const Tensor& ids;  // int64 [samples, tokens]
  unsigned needs = kNeedsNothing;
  std::function<bool(int64_t block)> is_wanted;  // whose statistics are asked for
  // After the block's forward over all sequences.
  std::function<void(const Block&, const StatisticsCollector&)> take;
};
// Blocks 0 to last, as compress() walks over the sequences, so that the statistics are the same to the bit.
void walk_dense(const DenseWalk& walk, int64_t last);

}  // namespace ockham
