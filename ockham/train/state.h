// Everything a training run needs to go on: one file, replaced as a whole.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/train/data.h"
#include "ockham/train/engine.h"

namespace ockham {

struct TrainState {
  std::vector<float> values, first, second;  // weights and AdamW's moments, in the order of ParameterLayout
  BatchStream::Position position;            // of the data
  int64_t step = 0, tokens = 0;
  double seconds = 0;                      // spent in training so far, over all runs
  double loss = 0;                         // a running mean, nats per token
  std::string config_sha256, data_sha256;  // of the run that it belongs to
};

// Normal weights from the seed: embeddings with deviation 0.02, matrices with 1 / sqrt(columns), those that write to
// the residual stream (o, down) smaller by sqrt(2 * blocks); norms 1.
void initialize(const ParameterLayout& layout, int64_t blocks, uint64_t seed, TrainState& state);
// The weights of a model directory instead; its tokenizer files are copied into `work`. Error(kInput) where the shape
// or the vocabulary is another.
void start_from(const std::string& model, const ParameterLayout& layout, const ModelConfig& config,
                const std::string& work, TrainState& state);
void save_state(const TrainState& state, const ParameterLayout& layout, const std::string& path);
// Error(kInput) where the file belongs to another model.
TrainState load_state(const ParameterLayout& layout, const std::string& path);

}  // namespace ockham
