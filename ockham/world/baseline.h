// What counting words achieves: naive Bayes over the words of an input, trained on the corpus's own labelled
// conversations. A model that reads must be well above it; otherwise a task measures vocabulary.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/world/world.h"

namespace ockham::world {

struct Baseline {
  std::string suite;
  int64_t training = 0;  // examples
  int64_t items = 0;
  double accuracy = 0;  // 0..1, of naive Bayes over words and, where better, over words marked with their line
  double majority = 0;  // share of the most frequent label among the items
};
// For the suites sentiment, entailment, paraphrase, machine_ethics (zero-shot part) and closed_book, from `passes`
// passes.
std::vector<Baseline> word_baselines(const World& world, int64_t passes);

}  // namespace ockham::world
