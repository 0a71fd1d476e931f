// What an assignment of levels does to the model: divergence from the dense model, and perplexity, on given token
// sequences. Weights come from a level database; activations that candidates share with each other or with the parent
// are computed once.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "ockham/model/checkpoint.h"
#include "ockham/search/level_database.h"
#include "ockham/search/ranks.h"
#include "ockham/search/searcher.h"

namespace ockham {

enum class FitnessKind { kKl, kPerplexity };

// Sums over the scored positions of a chunk of sequences.
struct ChunkValue {
  double kl = 0;   // nats, KL(dense || candidate)
  double nll = 0;  // nats, of the text's next tokens
};
struct CandidateValue {
  double kl = 0;          // nats per token
  double perplexity = 0;  // exp of the mean negative log-likelihood
};

// A rank of a SearchProblem means another level for every unit: levels_of_rank[u][rank] is a level of the database.
using LevelOrder = std::vector<std::vector<size_t>>;

// The model with the weights of an assignment, unpacked, in float32.
std::unique_ptr<Decoder> decoder_of(const Checkpoint& checkpoint, const LevelDatabase& database,
                                    const LevelOrder& order, const Assignment& assignment);

class CandidateEvaluator final : public Objective {
 public:
  struct Options {
    FitnessKind fitness = FitnessKind::kKl;
    int64_t chunk_tokens = 1024;             // of one forward
    Ranks* ranks = nullptr;                  // share out the candidates; null: this process alone
    int64_t cache_bytes = int64_t{1} << 30;  // for activations of the parent, and again for unpacked weights
  };
  // ids: int64 [sequences, tokens]. `database` must outlive the evaluator.
  CandidateEvaluator(const Checkpoint& checkpoint, const LevelDatabase& database, LevelOrder order, const Tensor& ids,
                     const Options& options);
  ~CandidateEvaluator() override;

  int64_t tokens() const override;
  // Threads share out chunks and candidates; each value comes from one thread, so that it does not depend on their
  // number.
  std::vector<double> evaluate(std::span<const Assignment> candidates, int64_t tokens, uint64_t draw) override;
  void set_parent(const Assignment& parent) override;
  int64_t spent() const override { return spent_; }

  // On all sequences.
  CandidateValue value(const Assignment& candidate);
  CandidateValue dense_value() const;
  // Of a range of the candidates' work, for processes that share it: values of chunks, to be summed in order.
  std::vector<ChunkValue> chunk_values(std::span<const Assignment> candidates, std::span<const int64_t> chunks);
  std::vector<int64_t> chunks_of(int64_t tokens, uint64_t draw) const;
  double combine(std::span<const ChunkValue> values, std::span<const int64_t> chunks) const;

  // Times of one thread per candidate and chunk: as evaluated, and from scratch (weights unpacked, every block run).
  struct Speed {
    double seconds = 0, scratch_seconds = 0;
    int64_t measured = 0, scratch_measured = 0;
    int64_t steps = 0, whole_steps = 0;  // halves of blocks that were run, and that would have been without sharing
    double speedup() const {
      return seconds > 0 && scratch_measured > 0
                 ? (scratch_seconds / static_cast<double>(scratch_measured)) / (seconds / static_cast<double>(measured))
                 : 0;
    }
  };
  Speed speed() const;
  // Evaluates a candidate alone on one chunk, for speed().
  ChunkValue evaluate_from_scratch(const Assignment& candidate, int64_t chunk);

 private:
  struct Chunk;
  struct State;
  struct Walk;
  using Linears = std::vector<Linear>;

  std::shared_ptr<const Linears> linears_of(size_t unit, int rank, bool is_cached);
  Block block_of(int64_t index, const Assignment& candidate, bool is_cached);
  // Runs one step from its input to the next one's.
  Tensor run_step(size_t step, const Tensor& input, const Assignment& candidate, bool is_cached);
  size_t shared_steps(const Assignment& a, const Assignment& b) const;
  void run_candidates(std::span<const Assignment> candidates, std::span<const size_t> order, int64_t chunk,
                      std::span<ChunkValue> values);
  void follow_parent(int64_t chunk, Walk& walk);
  std::span<const size_t> share_of(std::span<const size_t> order) const;
  void add_up(std::vector<ChunkValue>& values);
  ChunkValue measure(int64_t chunk, const Tensor& hidden) const;

  std::unique_ptr<State> state_;
  int64_t spent_ = 0;
};

}  // namespace ockham
