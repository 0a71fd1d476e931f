// Runs a recipe on a model, block by block: one block, the calibration states and the statistics of one block are all
// that is ever resident, however many blocks there are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ockham/io/json.h"
#include "ockham/model/checkpoint.h"
#include "ockham/pipeline/calibration.h"
#include "ockham/pipeline/recipe.h"

namespace ockham {

struct CompressOptions {
  TextSource text_source;      // texts that are not files
  std::optional<DType> dtype;  // of the arithmetic; empty: see arithmetic_dtype()
  at::Device device = at::kCPU;
  bool is_packed = true;   // Ockham's container; false: dense tensors with the values of the compressed weights
  bool overwrite = false;  // replaces an existing output
  // Leaves a state beside the output after every block (see resume.h) and goes on from one that is there, with the same
  // bytes in the end; a run that finishes, or fails over its input, leaves none. `restart` ignores one that is there.
  bool is_resumable = false, restart = false;
};

// NOLINTNEXTLINE(bugprone-exception-escape): Json's move asserts its invariants.
struct CompressionResult {
  Json report;           // compression.json
  int64_t bytes = 0;     // of all tensors on disk
  double sparsity = 0;   // zeros over all weights of the blocks' linears
  double mean_bits = 0;  // stored bits per weight of the blocks' linears, side data included
  double seconds = 0;
  double forward_seconds = 0;  // of `seconds`: calibration forwards
  double method_seconds = 0;   // of `seconds`: the methods themselves
  int64_t peak_bytes = 0;      // highest resident set of the process so far
};

// One thread for blocks so small that the threads would mostly wait for each other: on a busy machine that waiting
// costs many times the work itself.
class ThreadLimit {
 public:
  explicit ThreadLimit(const ModelConfig& config);
  ~ThreadLimit();
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;

 private:
  int before_;
};

// A model directory (or Hub id) to a new model directory, which appears whole or not at all.
CompressionResult compress(const std::string& model, const Recipe& recipe, const std::string& out,
                           const CompressOptions& options);
// The same on a resident model; weights stay in the formats that the recipe gives them. `tokenizer_directory` is where
// texts are tokenized from; `bytes` are those that writing the model packed would take.
CompressionResult compress_in_memory(Decoder& decoder, const Recipe& recipe, const std::string& tokenizer_directory,
                                     const CompressOptions& options);

}  // namespace ockham
