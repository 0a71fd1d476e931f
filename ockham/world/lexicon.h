// Words of FactWorld: short, lower-case, few enough that a vocabulary of 2,048 tokens gives nearly every word one
// token.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ockham/core/rng.h"

namespace ockham::world {

using Words = std::vector<std::string>;

// Splits a literal "a b c" at blanks; "_" inside a word stands for a blank ("the_old_man").
Words words(std::string_view text);
// Replaces every {key} by its value; a key that is not given stays.
std::string fill(std::string_view text, std::initializer_list<std::pair<std::string_view, std::string_view>> values);
// `count` different made-up names of two syllables, none of them in `taken`.
Words make_names(Rng& rng, size_t count, const std::set<std::string>& taken);
// First letter upper-case, the rest lower-case: how demonstrations write labels.
std::string capitalized(std::string text);
// Lower-case runs of letters, digits and apostrophes: the words that leak checks and baselines count.
Words split_words(std::string_view text);
// FNV-1a of each word.
std::vector<uint64_t> hash_each(const Words& all);
// Of a run of words, out of their own hashes.
uint64_t join_hashes(std::span<const uint64_t> words);

struct Verb {
  std::string base, past;
};

struct Lexicon {
  // Reviews.
  Words subjects, good, bad, rare_good, rare_bad;
  // Stories.
  Words people, story_verbs, places, times, prepositions;
  // Entailment and paraphrase.
  Words colors, goods, kinds;  // goods[i] is a kind of kinds[i / 4]
  std::vector<Verb> trade_verbs, chase_verbs;
  // Acts.
  std::vector<Verb> kind_verbs, cruel_verbs;
  Words act_objects;
  // Rows of people.
  Words schools, trades;  // both ordered from low to high pay
  // Beliefs about groups.
  Words groups;
  std::vector<Words> topics;  // statements of one topic, {g} is the group
  // Rude and polite speech.
  Words rude, mild;
  // Addresses.
  Words tags, domains;
};
const Lexicon& lexicon();

}  // namespace ockham::world
