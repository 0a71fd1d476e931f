// Which words of a labelled item may change while its label stays what it is. The vocabulary is closed and the forms of
// the sentences are known, so this is known too, not guessed.
#pragma once

#include <map>
#include <set>
#include <string>

#include "ockham/world/lexicon.h"
#include "ockham/world/world.h"

namespace ockham::world {

struct WordRules {
  // Words that may be misspelt or replaced by another of these: names, colors, places, things that a review is about,
  // and a few that say nothing. Never words of praise or blame, negations, verbs or what one thing implies of another.
  std::set<std::string> free;
  // Words that may stand for a word at all its places: of praise for praise, a tool for a tool, a name for a name.
  std::map<std::string, Words> exchanges;
};
// Of an item's task: "sentiment", "entailment" or "paraphrase", or as items name them, "sst2", "mnli", "qqp"; empty
// rules for another.
WordRules word_rules(const World::State& state, const std::string& task);

}  // namespace ockham::world
