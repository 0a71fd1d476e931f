// Log-probabilities of given tokens.
#include "ockham/pipeline/token_scores.h"

#include <algorithm>

#include "ockham/tensor/ops.h"

namespace ockham {

int64_t logit_positions(const Decoder& decoder) {
  return std::clamp<int64_t>((int64_t{1} << 24) / decoder.config.vocabulary, 16, 4096);
}

Tensor log_probabilities(const Decoder& decoder, const Tensor& hidden) {
  return at::log_softmax(decoder.logits(hidden).to(at::kFloat), -1);
}

TokenScores score_tokens(const Decoder& decoder, const Tensor& hidden, const std::vector<int64_t>& targets) {
  TokenScores result;
  const auto count = static_cast<int64_t>(targets.size());
  const int64_t positions = logit_positions(decoder);
  for (int64_t begin = 0; begin < count; begin += positions) {
    const int64_t part = std::min(positions, count - begin);
    const Tensor logs = log_probabilities(decoder, hidden.narrow(0, begin, part));
    const Tensor wanted =
        at::tensor(at::ArrayRef<int64_t>(targets.data() + begin, static_cast<size_t>(part))).to(logs.device());
    const Tensor chosen = logs.gather(1, wanted.unsqueeze(1)).squeeze(1).cpu(), best = logs.argmax(-1).cpu();
    const float* logprob = chosen.data_ptr<float>();
    const int64_t* id = best.data_ptr<int64_t>();
    for (int64_t i = 0; i < part; ++i) {
      result.logprobs.push_back(logprob[i]);
      result.is_best.push_back(id[i] == targets[static_cast<size_t>(begin + i)]);
    }
  }
  return result;
}

}  // namespace ockham
