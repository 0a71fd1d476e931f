// Models whose weights are made up, in memory, in any format of the kernels: for measuring speed, and nothing else.
// What such a model answers means nothing, and so does any measure of its quality.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "ockham/runtime/model_files.h"

namespace ockham {

// How the linears are stored.
struct WeightFormat {
  enum class Kind { kFloat, kInteger, kGroupSparse };
  Kind kind = Kind::kFloat;
  DType type = DType::kBF16;  // of floats
  int64_t bits = 4;           // of integers: 2 to 8
  int64_t group_size = 128;   // of integers: columns of one scale, 0: a row; of kGroupSparse: 16
  double sparsity = 0;        // share of weights that are zero, 0 to below 1

  // "int4 g128", "bf16 50 %", "gqsa 50 %".
  std::string name() const;
};
// "f32", "f16", "bf16", "int2" to "int8", or "gqsa" (4 bits, groups of 16 columns kept or dropped row by row; takes a
// sparsity of 0.5 where none is given). Error(kUsage) names the key and what is expected.
WeightFormat parse_weight_format(const std::string& name, int64_t group_size, double sparsity);
// Bits of a weight as the kernels keep it, as far as that can be told beforehand: at most what packing takes.
double expected_bits(const WeightFormat& format);

struct RandomModelSpec {
  std::string shape;  // name, for messages
  ModelConfig config;
  WeightFormat linears;
  WeightFormat head;  // of the matrix that logits come from
};

// Bytes of all matrices that the engine will hold.
double expected_bytes(const RandomModelSpec& spec);
// Weights are drawn from a normal distribution (0.02 wide) once for some rows, which come again in every matrix, with
// memory of its own for each. With sparsity s the weights of least magnitude are zeros; with kGroupSparse the groups
// whose first weight is least.
std::shared_ptr<const ModelFiles> make_random_model(const RandomModelSpec& spec);

}  // namespace ockham
