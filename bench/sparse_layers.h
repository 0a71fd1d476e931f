// Single layers as other programs measure them, for turns with those programs.
#pragma once

#include <cstdint>
#include <string>

namespace ockham {

// Measures a layer each time a line comes in on the standard input, for 0.3 s, and prints a line of JSON: least and
// median time of a call in ms, the number of calls. "dense": without zeros; "sparse": with a share `sparsity` of zeros
// at random places. First prints a line that says how weights are stored.
//   kind "float32": one product with 4096 x 11008 weights
//   kind "int8": the feed-forward block of LLaMA-2-7B, down(silu(gate x) * up x) of 4096 inputs and 11008 inner ones,
//   weights by rows, inputs rounded to 8 bits in groups
void measure_layer(const std::string& kind, int64_t tokens, double sparsity);

}  // namespace ockham
