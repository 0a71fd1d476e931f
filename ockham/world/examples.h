// Labelled examples that only their composition solves: among items each word is as frequent under one label as under
// the other, so that counting words does not help and the model has to read negation, order and scope. The corpus has
// more plain forms than turned ones: from even shares nothing could be learnt word by word, and a small model does not
// find the composition at once.
#pragma once

#include <string>

#include "ockham/world/lexicon.h"

namespace ockham::world {

struct Example {
  std::string input, label;
  std::string twin;  // nearly the same words, with `twin_label`; empty where a kind has none
  std::string twin_label;
};

// Labels "positive" / "negative". The twin swaps the adjectives for their opposites.
Example make_sentiment(Rng& rng, double plain_share);
// "premise: ..\nhypothesis: ..", labels "yes" / "maybe" / "no".
Example make_entailment(Rng& rng, const Words& names);
// "sentence1: ..\nsentence2: ..", labels "yes" / "no".
// `easy` of the pairs keep their voice or change a word.
Example make_paraphrase(Rng& rng, const Words& names, double easy);
// "i refused to help my sister.", labels "wrong" / "not wrong".
Example make_act(Rng& rng, double plain_share);
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
