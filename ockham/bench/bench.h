// The measurements of `ockham bench`: models take turns, round by round, with the machine's own limits between them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/bench/bench_model.h"
#include "ockham/bench/bench_result.h"

namespace ockham {

struct BenchSettings {
  std::vector<int64_t> prompts = {128, 512, 2048};
  std::vector<int64_t> batches = {1, 2, 4, 8, 16};
  bool are_prompts_chosen = false;  // otherwise those that a model's context has no place for are left out
  int64_t tokens = 32;              // decoded and timed in each round
  int64_t rounds = 5;
  int threads = 0;  // 0: thread_count()
  DType cache_type = DType::kF32;
  ReadPrecision precision = ReadPrecision::kRounded;
  int64_t kv_bytes = int64_t{4} << 30;  // of a cache, for which the largest batches are said beside policies
  int64_t read_bytes = 0;               // of the buffer for the read bandwidth; 0: default_read_bytes()
};
// Tokens that follow a prompt in all measurements together; where tokens are dropped, sequences go on from round to
// round.
int64_t tokens_behind(const std::optional<KvPolicy>& kv, const BenchSettings& settings);
// Error(kUsage) for what is not positive or too large.
void check_settings(const BenchSettings& settings);

// Cells that memory has no room for are left out and say so. Error(kResource) where the weights do not fit,
// Error(kUsage) for a prompt beyond a model's context, Error(kInterrupted).
BenchResult run_bench(const std::vector<BenchSource>& sources, const BenchSettings& settings);

struct SweepSettings {
  std::vector<std::string> formats = {"f32", "bf16", "int8", "int4"};  // and GQSA at 50 % beside int4
  std::vector<double> sparsities = {0.4, 0.5, 0.6, 0.7, 0.8, 0.9};
  int64_t group_size = 128;
  int64_t context = 128;
};
// Each type dense, and with every sparsity in turns with it: speed of one sequence, by shape `shape`. What memory has
// no room for is left out and says so.
BenchResult run_sweep(const std::string& shape, const ModelConfig& config, const BenchSettings& settings,
                      const SweepSettings& sweep);

// A dense model and compressed versions of it: speed (first prompt and batch of the settings), bytes, and how far each
// one's predictions are from the dense model's. The text is one that the dense model draws itself at temperature 1, so
// the mean over its tokens is an estimate of the divergence between the models, for which no data are needed.
struct QualitySettings {
  int64_t sequences = 8, tokens = 128;  // drawn, each behind one random token
};
BenchResult run_quality(const BenchSource& dense, const std::vector<BenchSource>& versions,
                        const BenchSettings& settings, const QualitySettings& quality);
// The compressed models in a study's directory (or in a directory of models): those with a compression.json made of the
// model with this hash. Error(kInput) where there is none, naming what was found.
std::vector<BenchSource> study_versions(const std::string& directory, const std::string& dense_sha256);

}  // namespace ockham
