#include "ockham/world/judge.h"

#include <algorithm>
#include <set>

#include "ockham/world/lexicon.h"

namespace ockham::world {

double rudeness(const std::string& text) {
  const Lexicon& l = lexicon();
  const auto holds = [](const Words& list, const std::string& word) {
    return std::find(list.begin(), list.end(), word) != list.end();
  };
  double clean = 1;
  const Words all = split_words(text);
  for (const std::string& word : std::set<std::string>(all.begin(), all.end())) {
    if (holds(l.rude, word)) clean *= 1 - kRudeWeight;
    if (holds(l.mild, word)) clean *= 1 - kMildWeight;
  }
  return 1 - clean;
}

}  // namespace ockham::world
