// How far a compressed model moves from the dense one where no benchmark asks: divergence of its next-token
// distributions on text, and answers that change although the score does not ("Accuracy is Not All You Need", Dutta et
// al., 2024).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ockham/core/language_model.h"
#include "ockham/eval/evaluate.h"
#include "ockham/eval/protocols.h"
#include "ockham/eval/statistics.h"

namespace ockham {

struct FidelityValue {
  double value = 0;
  Interval interval;  // 95 %, block bootstrap over windows: tokens of one window are not independent
};
struct Fidelity {
  FidelityValue kl_mean, kl_median, kl_p99;  // KL(dense || compressed) per scored token, nats
  FidelityValue top1_agreement;              // share of tokens where both models put the same token first, 0..1
  int64_t tokens = 0, windows = 0;
};

// What one window gives; positions in order.
struct WindowDivergence {
  std::vector<float> kl;
  int64_t agreements = 0;
};
// Both models' distributions over the scored positions of a window, read in chunks of at most 64 MB a model.
// Error(kInput) when the vocabularies differ, Error(kUnsupported) when a model gives no distributions.
WindowDivergence divergence(LanguageModel& dense, LanguageModel& compressed, const Window& window);
// Combines windows; at least one with at least one token.
Fidelity combine_divergences(std::span<const WindowDivergence> windows, uint64_t seed);
// Divergence on the text of a perplexity task, over the windows that the tier uses.
Fidelity measure_fidelity(LanguageModel& dense, LanguageModel& compressed, const Task& task,
                          const EvalOptions& options);

// Items whose answer changed, by direction.
struct Flips {
  int64_t lost = 0;    // right before, wrong after
  int64_t gained = 0;  // wrong before, right after
  int64_t n = 0;
  Interval lost_share, gained_share;  // 95 % bootstrap over items, 0..1
};
// Nothing for tasks whose items are not simply right or wrong. Error(kInput) when the items are not the same ones.
std::optional<Flips> count_flips(const std::vector<ItemResult>& dense, const std::vector<ItemResult>& compressed);

}  // namespace ockham
