#include "ockham/world/word_rules.h"

#include "ockham/world/state.h"

namespace ockham::world {
namespace {

void add_class(WordRules& rules, const Words& list, bool is_free) {
  for (const std::string& word : list) {
    if (word.find(' ') != std::string::npos) continue;
    if (is_free) rules.free.insert(word);
    Words& others = rules.exchanges[word];
    for (const std::string& other : list)
      if (other != word && other.find(' ') == std::string::npos) others.push_back(other);
  }
}

}  // namespace

WordRules word_rules(const World::State& state, const std::string& task) {
  const Lexicon& l = lexicon();
  WordRules rules;
  if (task == "sentiment" || task == "sst2") {
    add_class(rules, l.subjects, true);
    add_class(rules, l.good, false);
    add_class(rules, l.bad, false);
    for (const char* word : {"truly", "start", "would", "know"}) rules.free.insert(word);
  } else if (task == "entailment" || task == "mnli") {
    add_class(rules, state.people.visitors, true);
    add_class(rules, l.colors, true);
    // What is bought may be another thing of its kind, but must stay a word that names the kind.
    for (size_t kind = 0; kind < l.kinds.size(); ++kind)
      add_class(rules,
                Words(l.goods.begin() + static_cast<std::ptrdiff_t>(4 * kind),
                      l.goods.begin() + static_cast<std::ptrdiff_t>(4 * kind + 4)),
                false);
  } else if (task == "paraphrase" || task == "qqp") {
    add_class(rules, state.people.visitors, true);
    add_class(rules, l.places, true);
    Words past;
    for (const Verb& verb : l.chase_verbs) past.push_back(verb.past);
    add_class(rules, past, false);
  }
  return rules;
}

}  // namespace ockham::world
