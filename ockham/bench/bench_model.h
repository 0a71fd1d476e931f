// One model under measurement: its engine, and sequences whose caches hold as many tokens as a measurement asks for.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ockham/bench/bench_result.h"
#include "ockham/bench/random_model.h"
#include "ockham/core/rng.h"
#include "ockham/runtime/engine.h"

namespace ockham {

// A model in files, or one that is made up.
struct BenchSource {
  std::string name;  // "": the last part of the path, or shape and format
  std::string path;  // where `random` has nothing
  std::optional<RandomModelSpec> random;
  std::string recipe;               // of a version in a study
  double sparsity = 0;              // of its linears, where weights were removed, as its compression.json says
  std::optional<KvPolicy> kv = {};  // named where it is given
  std::string label() const;
};

// Room that an engine takes beside its weights.
struct BenchRoom {
  int threads = 0;
  ReadPrecision precision = ReadPrecision::kRounded;
  KvShape cache;
  std::vector<int64_t> contexts;  // tokens before the first decoded one, of sequence 0, 1, ...; none is longer than its
                                  // predecessor
  int64_t prefill_pages = 0;      // for the largest prefill
  int64_t longest = 0;            // tokens of one sequence at most
  int64_t tokens = 0;             // that follow a context
  // Under a policy that drops tokens: sequences of each context, which all measurements go on with, and tokens that
  // follow in all of these together. What was dropped does not come back, and a copy would pay for its pages while it
  // is measured.
  std::map<int64_t, int64_t> batches;
  int64_t all_tokens = 0;
  int64_t pages() const;
};
KvShape cache_of(const BenchSource& source, const ModelConfig& config, DType type);

class BenchModel {
 public:
  // Loads and packs. Errors as ModelFiles'.
  BenchModel(const BenchSource& source, const BenchRoom& room);

  Engine& engine() { return *engine_; }
  const BenchedModel& facts() const { return facts_; }
  // Once, before anything else: reads a prompt and chooses one token; adds what it took to facts().
  void measure_first_token(int64_t prompt);
  // Keys and values of the contexts: random numbers, which take as long as real ones; where tokens are dropped for the
  // attention that they get, as random.
  void fill_caches();
  // Seconds of `tokens` steps, each of them one token for each of `batch` sequences behind `context` tokens, logits
  // and the most likely token; a step before them is not counted. Under a policy that drops tokens the context grows
  // with every call.
  double decode(int64_t context, int64_t batch, int64_t tokens);
  // Seconds until the logits of the last token of `batch` prompts.
  double prefill(int64_t prompt, int64_t batch);
  // Seconds of the products of all blocks' linears with one token, one after another.
  double products();

 private:
  void fill(int32_t sequence, int64_t tokens);
  void fill_codes(int32_t sequence);
  void fill_evicted();
  std::vector<int32_t> sequences_of(int64_t context, int64_t batch);
  std::vector<int32_t> random_tokens(int64_t count);
  void choose(std::span<const float* const> hidden, bool is_generating, std::vector<int32_t>& chosen);

  BenchedModel facts_;
  BenchRoom room_;
  std::unique_ptr<Engine> engine_;
  std::vector<int32_t> bases_;                       // sequences with full contexts
  std::map<int64_t, std::vector<int32_t>> evicted_;  // under a policy that drops tokens, by context
  std::vector<float> numbers_;                       // what caches are filled with
  Rng rng_{7};
  KernelInput input_;  // of products()
  std::vector<float> x_, y_;
  double start_to_ready_s_ = 0;
  int64_t memory_before_ = 0;
};

}  // namespace ockham
