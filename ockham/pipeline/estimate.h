// What a recipe will cost on this machine, from a trial on one block.
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
// Runs the recipe on the model's largest block with made-up sequences, of about 2048 tokens, and measures time and
// memory; what grows with the calibration data and the number of blocks is added. Memory is that of a process that has
// done nothing else before.
RecipeEstimate estimate_recipe(const Checkpoint& checkpoint, const Recipe& recipe, DType dtype);
// The same for a model whose weights are not here. A random block of its shape, made narrower where a whole one would
// take long, stands for the first: seconds are scaled up by the operations, bytes by the weights. Bytes are exact where
// they follow from the recipe (integers, patterns, sparsities) and groups divide both widths; seconds are a guess.
RecipeEstimate estimate_recipe(const ModelConfig& config, const Recipe& recipe, DType dtype);

}  // namespace ockham
