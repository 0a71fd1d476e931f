// What a step of a model reads and multiplies, by its shape and by how its weights are kept: the arithmetic behind
// shares and operational intensities.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "ockham/bench/machine_limits.h"
#include "ockham/runtime/engine_model.h"
#include "ockham/runtime/paged_cache.h"

namespace ockham {

struct ModelCost {
  // Of the blocks' linears, the head, and the projections beside the embedding; not the embedding, of which a token
  // reads one row.
  double weights = 0, packed_bytes = 0;
  double linear_weights = 0, linear_bytes = 0;  // of these the blocks' linears
  double kept_dense = 0;                        // share of linear_weights whose layout has no place for zeros
  MultiplyUnit unit = MultiplyUnit::kF32;       // that most linears are held against with many tokens
  std::map<std::string, double> layouts;        // what the kernels call their forms, with the weights of each

  double bits_per_weight() const { return weights > 0 ? 8 * packed_bytes / weights : 0; }
};
ModelCost cost_of(const EngineModel& model);

// Bytes that a sequence that has read so many tokens holds; of codes with everything that stands beside them.
double cache_bytes(const KvShape& cache, int64_t tokens);

struct StepCost {
  double bytes = 0, operations = 0;
};
// One token for each of `batch` sequences, behind `context` tokens each. Of a mixture's experts those count that
// evenly spread choices would touch. `cache`: how keys and values are stored.
StepCost decode_cost(const EngineModel& model, double context, int64_t batch, const KvShape& cache);
// `batch` prompts of `prompt` tokens, in passes of `pass_tokens`, and the logits of the last token of each.
StepCost prefill_cost(const EngineModel& model, int64_t prompt, int64_t batch, int64_t pass_tokens,
                      const KvShape& cache);

}  // namespace ockham
