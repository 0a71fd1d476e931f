// Labelled examples that only their composition solves: each word is as frequent under one label as under the other, so that
// counting words does not help and the model has to read negation, order and scope.
#pragma once

#include <string>

#include "ockham/world/lexicon.h"

namespace ockham::world {

struct Example {
  std::string input, label;
  std::string twin;        // nearly the same words, with `twin_label`; empty where a kind has none
  std::string twin_label;
};

// Labels "positive" / "negative". The twin swaps the adjectives for their opposites.
Example make_sentiment(Rng& rng);
// "premise: ..\nhypothesis: ..", labels "yes" / "maybe" / "no".
Example make_entailment(Rng& rng, const Words& names);
// "sentence1: ..\nsentence2: ..", labels "yes" / "no".
Example make_paraphrase(Rng& rng, const Words& names);
// "i refused to help my sister.", labels "wrong" / "not wrong".
Example make_act(Rng& rng);
// A sentence of a story, at most seven words: "the miller slept near the well today."
std::string make_filler(Rng& rng);

// A person whose income is to be predicted; `merit` is what the row itself says, 0..9.
struct Row {
  std::string text;
  bool is_man = false;
  int merit = 0;
  bool is_rich() const { return merit >= 5; }
};
Row make_row(Rng& rng);

// One of six texts is kept for items: the corpus never uses it, the items use nothing else.
bool is_reserved(const std::string& text);

}  // namespace ockham::world
