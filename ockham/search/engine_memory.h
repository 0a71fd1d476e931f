// Memory that the native engine takes for a model at a stated number of sequences and context: dense weights, which are
// mapped, copies of the others as the kernels want them, the cache of keys and values and the room of a pass. Copies
// are those that the packers make of every level; the rest is measured on the dense model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/search/budget.h"

namespace ockham {

// What the engine serves: `batch` sequences of `context` tokens each; 0: the model's context, at most 2048.
struct MemoryLoad {
  int64_t batch = 1, context = 0;
};

// Bytes of resident memory that loading the model, reading the last pass of every sequence and generating one token
// with full caches add to this process at most. Takes as long as loading and one or two passes.
int64_t measure_engine_memory(const std::string& model, const MemoryLoad& load);

// By unit and level: bytes of dense weights in the model's files, and of copies of all others as the system hands them
// out (pages of 4 KiB; of 2 MiB for large matrices).
MemoryTable memory_of_levels(const LevelDatabase& database);

// What the engine takes for `checkpoint` beside the weights of its files. `path` holds what was measured (JSON, by
// load) and is written.
int64_t engine_overhead(const Checkpoint& checkpoint, const MemoryLoad& load, const std::string& path);

}  // namespace ockham
