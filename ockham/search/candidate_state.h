// What a CandidateEvaluator holds; private to candidate.cc and candidate_run.cc.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "ockham/search/candidate.h"

namespace ockham {

// body(i) for i in [0, n), each on one of the threads that are free; operations inside run on that thread alone.
void for_each_task(size_t n, const std::function<void(size_t)>& body);
// The weight again, for products, where that is faster; or null.
std::shared_ptr<const PreparedMatrix> prepare_weight(const Weight& weight);

struct CandidateEvaluator::Chunk {
  Tensor ids;                        // int64 [sequences, tokens]
  Tensor targets;                    // int64 [positions, 1]
  Tensor dense;                      // final hidden states of the dense model [positions, H]
  Tensor probabilities;              // of the dense model, float32 [positions, V]; undefined where memory is short
  double entropy = 0;                // sum over positions, nats
  double nll = 0;                    // of the dense model
  std::vector<Tensor> states;        // the parent's input of every step; empty tensors where it is not known
  std::optional<ChunkValue> parent;  // its value
  std::mutex mutex;
};

struct CandidateEvaluator::State {
  const LevelDatabase& database;
  LevelOrder order;
  Options options;
  ModelConfig config;
  std::unique_ptr<Decoder> frame;
  std::vector<Block> blocks;  // dense, with panels
  BlockContext context;
  size_t halves = 2;               // steps of a block
  std::vector<size_t> first_step;  // of each unit
  std::vector<std::vector<size_t>> units_of_block;
  std::vector<std::unique_ptr<Chunk>> chunks;
  Assignment parent;
  size_t stride = 1;  // every so many steps the parent's states are kept
  std::map<std::pair<size_t, int>, std::shared_ptr<const Linears>> linears;
  int64_t linear_bytes = 0;
  std::mutex mutex;  // of linears and speed
  Speed speed;

  size_t steps() const { return blocks.size() * halves; }
};

struct CandidateEvaluator::Walk {
  Assignment assignment;       // whose states these are
  std::vector<Tensor> states;  // input of every step so far, and at last the output
};

}  // namespace ockham
