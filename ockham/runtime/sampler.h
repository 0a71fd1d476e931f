// Choosing the next token from logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ockham/core/rng.h"

namespace ockham {

// What a constraint leaves of the vocabulary.
struct AllowedTokens {
  std::span<const uint64_t> bits;  // bit `id` of word `id / 64`; none: all may come
  std::span<const int32_t> ends;   // ids that end the text: decided by may_end, whatever `bits` say
  bool may_end = true;
};

// In this order: constraint, penalty, temperature, softmax, top_k, top_p, min_p, one draw.
struct SamplerSettings {
  double temperature = 0;  // 0: the most likely token, the lowest id wins a tie; nothing below but the penalty counts
  int64_t top_k = 0;       // of the most likely tokens so many, 0: all
  double top_p = 1;        // the fewest most likely tokens that hold this share
  double min_p = 0;        // tokens with at least this share of the most likely one's probability
  // Logits of tokens that stand in the text already are divided by it where positive, else multiplied
  // (Keskar et al., CTRL, 2019); 1: no penalty.
  double repetition_penalty = 1;
};

struct LikelyToken {
  int32_t id = 0;
  float logprob = 0;  // log p before penalty and temperature, nats
};

struct SampledToken {
  int32_t id = 0;
  double logprob = 0;  // log p before constraint, penalty and temperature, nats; 0 unless asked for
  // The most likely tokens, the likeliest first, as many as were asked for; valid until the next token of the sequence.
  std::span<const LikelyToken> likely = {};
};

// Room for one vocabulary; samples nothing by itself: the stream of random numbers is the sequence's own, one draw for
// each token, so that a sequence's text does not depend on its company.
class Sampler {
 public:
  explicit Sampler(int64_t vocabulary);
  // logits [vocabulary]. `history`: the text so far, for the penalty. Error(kInput) where no logit is a number.
  SampledToken sample(const float* logits, const SamplerSettings& settings, std::span<const int32_t> history, Rng& rng,
                      bool wants_logprob, const AllowedTokens& allowed = {});

 private:
  void forbid(const AllowedTokens& allowed);
  void penalize(double penalty, std::span<const int32_t> history);
  int32_t draw(const SamplerSettings& settings, Rng& rng);
  size_t sort_likely(const SamplerSettings& settings);
  double probability(size_t place) const { return work_[static_cast<size_t>(order_[place])]; }

  int64_t vocabulary_;
  std::vector<int32_t> order_;   // ids
  std::vector<uint32_t> marks_;  // the number of the last call that penalized each id
  std::vector<float> work_;      // logits, then probabilities
  uint32_t call_ = 0;
};

// Error(kInput): the logits are no numbers.
[[noreturn]] void refuse_nan();
// The `count` most likely tokens for logits [vocabulary] whose log of the sum of exponentials is `all`, the likeliest
// first, the lower id first of equal ones.
void find_likely(const float* logits, int64_t vocabulary, double all, size_t count, std::vector<LikelyToken>& likely);

// The lowest id with the largest value. Error(kInput) where none is a number.
int32_t first_maximum(const float* values, int64_t count);

}  // namespace ockham
