// Log-probabilities of given tokens from hidden states, in chunks that bound the memory of the logits.
#pragma once

#include <cstdint>
#include <vector>

#include "ockham/model/decoder.h"

namespace ockham {

// Positions whose logits are held at once: 64 MB in float32, at least 16.
int64_t logit_positions(const Decoder& decoder);
// log softmax in float32 of hidden states [n, H], at most logit_positions().
Tensor log_probabilities(const Decoder& decoder, const Tensor& hidden);

// Log-probability and rank-one flag of the given next token at every position.
struct TokenScores {
  std::vector<float> logprobs;
  std::vector<bool> is_best;
};
TokenScores score_tokens(const Decoder& decoder, const Tensor& hidden, const std::vector<int64_t>& targets);

}  // namespace ockham
