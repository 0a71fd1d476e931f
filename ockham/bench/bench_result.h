// What a run of `ockham bench` measured: the content of bench.json, of the table and of the page.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ockham/bench/spread.h"
#include "ockham/io/json.h"

namespace ockham {

struct BenchLimits {
  // MachineRates, over the rounds.
  Spread read_bytes_per_s, f32_per_s, bf16_per_s, int8_per_s, bf16_vectors_per_s, int8_vectors_per_s;
  int64_t read_bytes = 0, last_cache_bytes = 0;
};

// One combination of prompt length and batch.
struct BenchCell {
  bool is_decode = true;
  int64_t prompt = 0;    // tokens that are there before the first generated one; prefill: that are read
  int64_t batch = 1;     // sequences
  std::string left_out;  // why nothing was measured; "": something was
  Spread tokens_per_s;   // of all sequences together
  Spread ms;             // decode: of a step, one token for each sequence; prefill: until the last prompt's logits
  // Of the read bandwidth (decode) or of the multiply rate (prefill) measured in the same round.
  Spread share;
  Spread vector_share;               // prefill where tiles multiply: of the rate without them
  double bytes = 0, operations = 0;  // of a step, or of the whole prefill, by model_cost.h
  double intensity() const { return bytes > 0 ? operations / bytes : 0; }
  // Medians.
  // Tokens per second that the same bandwidth would allow for the bytes alone; of decoding.
  double bound() const { return share.median > 0 ? tokens_per_s.median / share.median : 0; }
  double bytes_per_s() const { return ms.median > 0 ? 1e3 * bytes / ms.median : 0; }
  double operations_per_s() const { return ms.median > 0 ? 1e3 * operations / ms.median : 0; }
};

// What a KV-cache policy makes of a length.
struct CacheRow {
  int64_t tokens = 0;          // of a sequence
  double bytes_per_token = 0;  // of everything that is kept of it
  int64_t largest_batch = 0;   // such sequences in BenchResult::kv_bytes
};

struct BenchedModel {
  std::string name;    // "tinyllama-1.1b int4 g128", or the directory's last part
  std::string source;  // path, or "random weights"
  std::string layout;  // how the linears are stored
  bool is_random = false;
  int64_t parameters = 0, blocks = 0, context_length = 0;
  double weights = 0, packed_bytes = 0, bits_per_weight = 0;  // ModelCost
  double sparsity = 0;                                        // asked for (random), or of the files' own record
  int64_t disk_bytes = 0;                                     // of all tensors in files; 0: there are none
  double disk_bits_per_weight = 0;                            // disk bytes by parameters
  std::string multiply_unit;              // "int8", "bf16", "f32": what `share` of prefill refers to
  std::map<std::string, double> layouts;  // weights by what the kernels call their form
  double load_s = 0;                      // opening (or making up) and packing
  int64_t first_token_prompt = 0;
  double first_token_s = 0;  // from the start of loading: loading, the first prompt, logits, the choice
  int64_t peak_bytes = 0;    // resident memory that loading and the first token added at most
  double cache_bytes_per_token = 0;
  std::string kv;  // the KV-cache policy, where one was asked for
  std::vector<CacheRow> cache_rows;
  std::vector<BenchCell> cells;
};

// One line of the sparsity sweep: weights of one type with zeros, against the same type without.
struct SweepRow {
  std::string format;  // "bf16", "int4 g128", "gqsa"
  std::string dense;   // of the type that it is held against
  double sparsity = 0;
  std::string left_out;                                   // why nothing was measured
  double bits_per_weight = 0, dense_bits_per_weight = 0;  // of the blocks' linears
  double kept_dense = 0;  // share of the linears' weights that packing keeps dense, since zeros would not pay
  Spread tokens_per_s, dense_tokens_per_s;  // one sequence
  Spread speedup;                           // of a whole step
  Spread layer_ms, dense_layer_ms;          // the products of one block, mean over blocks
  Spread layer_speedup;
  Spread share;  // of the read bandwidth, whole step
};

// A compressed version of one dense model: what it costs and what it loses.
struct QualityRow {
  std::string name, recipe;
  bool is_dense = false;  // the model that all are compared with
  double bytes = 0;       // packed, in memory
  int64_t disk_bytes = 0;
  double sparsity = 0;
  double tokens_per_s = 0;
  double divergence = 0, divergence_error = 0;  // KL(dense || this) per token in nats, and its standard error
  // Versions without zeros that take no more bytes, are no slower and diverge less; empty: it is not dominated.
  std::vector<std::string> dominated_by;
};

struct BenchResult {
  std::string version, machine, kernels, started;
  int threads = 0;
  int64_t tokens = 0, rounds = 0, pass_tokens = 0;
  std::string cache_type, warm_up;
  bool is_fast = false;  // ReadPrecision::kFast
  BenchLimits limits;
  std::vector<BenchedModel> models;
  std::string sweep_shape;
  std::vector<SweepRow> sweep;
  std::string study;
  int64_t kv_bytes = 0;
  int64_t quality_tokens = 0;  // over which divergences are means
  std::vector<QualityRow> quality;
  int64_t peak_bytes = 0;  // of the whole process
  std::vector<std::string> notes;

  bool has_random() const;
};

// Schema: docs/formats.md.
Json bench_json(const BenchResult& result);
// The rows for a terminal.
std::string bench_text(const BenchResult& result);
// Self-contained page.
std::string bench_page(const BenchResult& result);

// "Speed on random weights says nothing about quality ...": shown wherever such speeds are.
std::string random_notice();
// Fills dominated_by.
void find_dominated(std::vector<QualityRow>& rows);

}  // namespace ockham
