// What a recipe will cost on this machine, from a trial on the model's first block.
#pragma once

#include <cstdint>

#include "ockham/model/checkpoint.h"
#include "ockham/pipeline/recipe.h"

namespace ockham {

struct RecipeEstimate {
  double seconds = 0;          // of the whole run
  int64_t output_bytes = 0;    // packed
  int64_t peak_bytes = 0;      // resident memory
  double forward_seconds = 0;  // of `seconds`: the two calibration forwards of every block
};
// Reads the first block, compresses it with made-up inputs and times a forward of at most 2048 tokens.
RecipeEstimate estimate_recipe(const Checkpoint& checkpoint, const Recipe& recipe, DType dtype);

}  // namespace ockham
