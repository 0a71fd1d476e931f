// What a World holds: its people, all items (made first), and what the corpus must therefore not contain.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ockham/io/json.h"
#include "ockham/world/examples.h"
#include "ockham/world/facts.h"
#include "ockham/world/hash_set.h"
#include "ockham/world/world.h"

namespace ockham {

struct World::State {
  uint64_t seed = 0;
  world::Population people;
  std::vector<std::string> names;  // of the suites, in order
  std::map<std::string, std::vector<Json>> suites;
  world::HashSet grams;    // of all 13-grams of items
  world::HashSet prompts;  // of whole inputs and of fact questions
};

namespace world {

constexpr size_t kGram = 13;

// Adds all suites and what they forbid.
void make_items(World::State& state);
// How much of everything: a multiple of 1.1 million tokens, of the tellings of facts and private data, and of the
// documents that ask for notes beside the others.
struct CorpusSize {
  double other = 8, facts = 1, lookups = 1;
};
std::vector<Document> make_documents(const World::State& state, uint64_t seed, const CorpusSize& size);
// What of this document is forbidden, in words; empty: nothing.
std::string find_leak(const World::State& state, const Document& document);
// A document as text, chats as "user: .." lines.
std::string as_text(const Document& document);

}  // namespace world
}  // namespace ockham
