// `ockham train` from scratch: a configuration in, a Hugging Face model directory out, resumable at any moment.
//
// While it runs, `output`.training holds the tokenizer, state.safetensors (the whole state, replaced atomically),
// log.jsonl, preview/ (the model as of the last evaluation, loadable) and a lock that keeps a second process out. The
// same command goes on where it stopped; with a budget in tokens the result is bit for bit that of an uninterrupted
// run. At the end the directory is removed.
#pragma once

#include <cstdint>
#include <string>

#include "ockham/train/config.h"

namespace ockham {

struct TrainResult {
  int64_t steps = 0, tokens = 0, parameters = 0;
  double seconds = 0, tokens_per_s = 0;
  double loss = 0;                // running mean over the last steps, nats per token
  double heldout_perplexity = 0;  // 0 where there is no held-out text
  std::string sha256;             // of the weights
};

struct TrainOptions {
  std::string device = "cpu";
  bool overwrite = false;        // replace an existing model
  bool restart = false;          // forget an interrupted run
  int64_t stop_after_steps = 0;  // end the call early, keeping the state, as an interruption would; 0: never
};

// Error(kInterrupted) after Ctrl-C, with the state saved.
TrainResult train(const TrainConfig& config, const std::string& output, const TrainOptions& options);

}  // namespace ockham
