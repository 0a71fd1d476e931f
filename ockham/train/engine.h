// What computes loss and gradients of a packed batch. Weights and gradients live in one flat float32 buffer, so that
// the optimizer, clipping and checkpoints are single passes over memory; engines keep their own copy in the dtype they
// compute in.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ockham/io/families/config.h"
#include "ockham/model/decoder.h"
#include "ockham/train/attention.h"

namespace ockham {

// Where a tensor of the checkpoint stands in the flat buffer. q, k, v are neighbours, so are gate and up: each group is
// one matrix for the engine.
struct ParameterSpan {
  std::string name;
  int64_t offset = 0;
  int64_t rows = 0, columns = 0;  // columns 0: a vector
  int64_t elements() const { return rows * (columns ? columns : 1); }
};
struct ParameterLayout {
  std::vector<ParameterSpan> spans;
  int64_t elements = 0;
  static ParameterLayout of(const ModelConfig& config);
  const ParameterSpan& find(const std::string& name) const;
};

// Documents one behind the other, padded to the engine's number of rows. Every document attends to itself only and its
// positions start at 0.
struct PackedBatch {
  std::vector<int32_t> ids;      // rows
  std::vector<int32_t> targets;  // the next token, -1 where there is none
  std::vector<float> weights;    // of each target in the loss
  std::vector<int32_t> positions;
  std::vector<Segment> segments;  // ascending, without gaps from row 0
  int64_t tokens = 0;             // rows that belong to documents
  double target_weight = 0;       // sum of the weights of rows with a target
};

class TrainEngine {
 public:
  virtual ~TrainEngine() = default;
  // Takes over new weights (the flat buffer); called after every optimizer step.
  virtual void load_weights(const float* values) = 0;
  // Weighted sum of -log p over the targets of all batches (each of the engine's rows), in nats; adds `scale` times its
  // gradient to the flat buffer.
  virtual double add_gradients(std::span<const PackedBatch> batches, float scale, float* gradients) = 0;
  virtual double loss(const PackedBatch& batch) = 0;
};

// Handwritten forward and backward pass for the CPU, `rows` tokens at a time; F32, or BF16 with float32 accumulation.
// Error(kUnsupported) unless hidden and intermediate sizes are multiples of 16 and head_dim of 32, without biases.
std::unique_ptr<TrainEngine> make_fused_engine(const ModelConfig& config, int64_t rows, DType dtype);
// Through Decoder and autograd, on any device: the reference for the other, and the way to a GPU. There the weights
// stay float32, and BF16 means that products may round their factors to TF32 (10 bits; bf16 has 7).
std::unique_ptr<TrainEngine> make_autograd_engine(const ModelConfig& config, DType dtype, const at::Device& device);

// Weights between the flat buffer and a decoder in any dtype.
void copy_weights(const ParameterLayout& layout, const float* values, Decoder& decoder);

}  // namespace ockham
