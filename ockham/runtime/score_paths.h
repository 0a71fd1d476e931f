// Log-probabilities of tokens of many sequences, each token of a common prefix computed once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ockham/runtime/engine.h"
#include "ockham/runtime/sampler.h"

namespace ockham {

struct ScoredPath {
  std::vector<int32_t> tokens;
  int64_t first_target = 1;  // tokens from here on are scored; at least 1
  // Where given: gets, for each scored token, the `likely_count` tokens that the model finds most likely in its place.
  std::vector<std::vector<LikelyToken>>* likely = nullptr;
  size_t likely_count = 0;
};
struct TokenScore {
  float logprob = 0;     // nats, given all tokens before
  bool is_best = false;  // the model's most likely token, the lowest id of several
};

// Under the engine's KvPolicy, where that drops tokens, the tokens before first_target are read and cut as a prompt is,
// and those behind go one at a time, so that a score is what decoding would have seen. With first_target 1 there is no
// prompt: the text is read in the policy's chunks (32 tokens where it states none), and a token sees what is kept and
// its own chunk.
//
// For each path the scores of tokens [first_target, n). Sequences of any number go through the engine in order of their
// tokens, so that neighbours share what they have in common; as many are open as the cache holds. The last token of a
// path is never computed, only predicted. Interruptible between passes.
std::vector<std::vector<TokenScore>> score_paths(Engine& engine, std::span<const ScoredPath> paths);

}  // namespace ockham
