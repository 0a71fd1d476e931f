// What `ockham train` reads: a YAML file with the model's shape, the data, the budget and the optimizer. Unknown keys
// are refused; every key but those of `model`, `data` and the budget has a default.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ockham/io/families/config.h"
#include "ockham/world/world.h"

namespace ockham {

struct TrainConfig {
  std::string path;    // of the file
  std::string text;    // as read, with `given_seed` in it
  std::string sha256;  // of the text

  ModelConfig model;  // raw holds the Hugging Face config.json

  // Data: FactWorld or files; heldout is a text file, or FactWorld's own held-out text.
  bool is_world = false;
  uint64_t world_seed = World::kDefaultSeed;
  std::vector<std::string> files;
  std::string heldout;
  double chained = 0;        // share of documents that stand in one attention span with the documents before them
  double lookups = 1;        // multiplies FactWorld's documents that ask for notes
  double prompt_weight = 1;  // of the tokens of chats outside the assistant's turns in the loss

  // Budget: exactly one of the two is positive.
  int64_t tokens = 0;
  double minutes = 0;
  // Learning rate: linear warm-up over `warmup` steps, then by the share of the budget spent.
  double rate = 3e-3;
  int64_t warmup = 100;
  std::string decay = "linear";  // linear, cosine, or wsd: constant, then linear over the last `decay_share`
  double decay_share = 0.2;
  double final_rate = 0;            // share of `rate` left at the end
  std::string optimizer = "adamw";  // adamw, or muon: for the blocks' matrices, AdamW for the rest
  double momentum = 0.95;           // of muon
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weight_decay = 0.1, clip = 1;

  int64_t batch_tokens = 8192;  // per optimizer step
  int64_t row_tokens = 2048;    // per forward pass; at least the context length
  DType precision = DType::kBF16;
  std::string engine = "auto";  // auto, fused, autograd
  uint64_t seed = 0;
  std::string start;         // a model directory whose weights and tokenizer are gone on from; empty: from nothing
  std::string start_sha256;  // of that model
  std::optional<uint64_t> given_seed;  // on the command line, instead of the file's

  double log_seconds = 10, evaluate_seconds = 300, checkpoint_seconds = 60;
};

// `text` of the file at `path`.
TrainConfig parse_train_config(const std::string& text, const std::string& path);
// `seed` replaces the file's: the result is that of a file which holds it.
TrainConfig read_train_config(const std::string& path, std::optional<uint64_t> seed = {});
// The text with this seed: in the place of a line "seed: ..", or at the end.
std::string with_seed(const std::string& text, uint64_t seed);

// Learning rate of step `step` (0, 1, ...) when `progress` (0..1) of the budget is spent.
double learning_rate(const TrainConfig& config, int64_t step, double progress);

}  // namespace ockham
