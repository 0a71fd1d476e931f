#include <algorithm>
#include <set>

#include "ockham/core/error.h"
#include "ockham/world/items.h"

namespace ockham::world {

namespace {

const Relation& relation_of(const Fact& fact) {
  return relations()[fact.relation];
}

// Facts in turn over the tiers, so that any beginning of a suite holds every tier.
std::vector<size_t> facts_by_tier(const Population& people) {
  std::vector<std::vector<size_t>> tiers(7);
  for (size_t i = 0; i < people.facts.size(); ++i) {
    size_t tier = 0;
    while ((int64_t{1} << tier) < people.facts[i].tellings) ++tier;
    tiers[tier].push_back(i);
  }
  std::vector<size_t> order;
  for (size_t round = 0; order.size() < people.facts.size(); ++round) {
    for (auto& tier : tiers) {
      // A stride coprime to the size mixes the relations within a tier.
      if (round < tier.size()) order.push_back(tier[(round * 23) % tier.size()]);
    }
  }
  std::vector<size_t> sorted = order;
  std::sort(sorted.begin(), sorted.end());
  OCKHAM_CHECK(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end());
  return order;
}

void add_closed_book(Shelf& shelf) {
  Suite suite(shelf, "closed_book");
  for (const size_t index : facts_by_tier(shelf.state.people)) {
    const Fact& fact = shelf.state.people.facts[index];
    const Relation& relation = relation_of(fact);
    Json item = make_item(ask(relation, fact.held_out[0], shelf.state.people.citizens[fact.person]),
                          relation.values[fact.value]);
    item["relation"] = relation.name;
    item["part"] = fmt::format("told_{}", fact.tellings);
    item["tellings"] = fact.tellings;
    suite.add(std::move(item));
  }
  suite.file();
}

void add_multiple_choice(Shelf& shelf) {
  Suite suite(shelf, "multiple_choice");
  Rng rng = suite_rng(shelf.state, "multiple_choice");
  for (const size_t index : facts_by_tier(shelf.state.people)) {
    const Fact& fact = shelf.state.people.facts[index];
    const Relation& relation = relation_of(fact);
    const std::string question = ask(relation, fact.held_out[1], shelf.state.people.citizens[fact.person]);
    const ChoiceQuestion choice = make_choice(relation, question, fact.value, false, rng);
    // Options are whole answers, since those are what the model has learnt to say.
    std::vector<std::string> options;
    for (const std::string& value : choice.options)
      options.push_back(
          fill("indeed " + relation.canonical, {{"n", shelf.state.people.citizens[fact.person]}, {"v", value}}));
    Json item = make_item(choice.text, options[choice.right], options);
    item["question"] = "question: " + question;
    item["relation"] = relation.name;
    item["part"] = fmt::format("told_{}", fact.tellings);
    item["tellings"] = fact.tellings;
    suite.add(std::move(item));
  }
  suite.file();
}

constexpr size_t kTokensOfSentence = 8;

// One note asked for; `tokens` is the length of the text at kTokensOfSentence.
void add_lookup(Shelf& shelf, const std::string& name, size_t count, size_t tokens, size_t facts) {
  Suite suite(shelf, name);
  Rng rng = suite_rng(shelf.state, name);
  const size_t sentences = tokens / kTokensOfSentence;
  while (suite.size() < count) {
    // Notes about each person stand once, and the one asked for at every depth in turn.
    Notes notes = make_notes(shelf.state.people.visitors, sentences, facts, true, rng);
    const Note& note = notes.facts[0];
    const Relation& relation = relations()[note.relation];
    const std::string question = ask(relation, rng.below(6), note.name);
    if (facts < 4) {
      const size_t depth = (suite.size() * 7 + 3) % 10;  // tenths of the text
      std::string text;
      const size_t place =
          std::min(sentences - 1, (sentences * depth) / 10 + rng.below(std::max<size_t>(1, sentences / 10)));
      size_t next = 1;
      for (size_t i = 0; i < sentences; ++i) {
        if (i > 0) text += ' ';
        if (i == place) {
          text += state_of(note, rng);
        } else if (next < notes.facts.size() && rng.chance(0.05)) {
          text += state_of(notes.facts[next++], rng);
        } else {
          text += make_filler_sentence(true, rng);
        }
      }
      notes.text = text;
    }
    Json item = make_item("notes: " + notes.text + "\nquestion: " + question, relation.values[note.value]);
    item["relation"] = relation.name;
    suite.add(std::move(item));
  }
  suite.file();
}

// Facts about as many people.
Notes notes_of_different(const World::State& state, size_t facts, Rng& rng) {
  for (;;) {
    Notes notes = make_notes(state.people.visitors, facts, facts, true, rng);
    std::set<std::string> names;
    for (const Note& note : notes.facts) names.insert(note.name);
    if (names.size() == facts) return notes;
  }
}

std::string lines_of(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : " ") + line;
  return text;
}

// Twelve facts at even distances in a text of about 1000 tokens, each asked for in turn; `part` says how far it is
// back.
void add_many_facts(Shelf& shelf) {
  constexpr size_t kFacts = 12, kSentences = 1000 / kTokensOfSentence, kItems = 120;
  Suite suite(shelf, "many_facts");
  Rng rng = suite_rng(shelf.state, "many_facts");
  while (suite.size() < kItems) {
    const Notes notes = notes_of_different(shelf.state, kFacts, rng);
    const size_t asked = suite.size() % kFacts;
    std::vector<std::string> lines;
    for (size_t i = 0; i < kSentences; ++i) {
      const size_t fact = i * kFacts / kSentences;
      const bool is_first = i == 0 || (i - 1) * kFacts / kSentences != fact;
      lines.push_back(is_first ? state_of(notes.facts[fact], rng) : make_filler_sentence(true, rng));
    }
    const Note& note = notes.facts[asked];
    const Relation& relation = relations()[note.relation];
    Json item = make_item("notes: " + lines_of(lines) + "\nquestion: " + ask(relation, rng.below(6), note.name),
                          relation.values[note.value]);
    item["relation"] = relation.name;
    item["part"] = fmt::format("back_{}", 250 * ((kFacts - 1 - asked) / 3 + 1));
    suite.add(std::move(item));
  }
  suite.file();
}

// Five facts, then filler: how far back a fact can be read.
void add_distant_facts(Shelf& shelf) {
  constexpr size_t kFacts = 5, kItemsOfDistance = 30;
  Suite suite(shelf, "distant_facts");
  Rng rng = suite_rng(shelf.state, "distant_facts");
  // In turn, so that any beginning of the suite holds every distance.
  for (size_t item_of = 0; item_of < kItemsOfDistance; ++item_of) {
    for (const size_t distance : {128, 256, 512, 1024}) {
      const Notes notes = notes_of_different(shelf.state, kFacts, rng);
      std::vector<std::string> lines = {notes.text};
      for (size_t i = 0; i < distance / kTokensOfSentence; ++i) lines.push_back(make_filler_sentence(true, rng));
      const Note& note = notes.facts[item_of % kFacts];
      const Relation& relation = relations()[note.relation];
      Json item = make_item("notes: " + lines_of(lines) + "\nquestion: " + ask(relation, rng.below(6), note.name),
                            relation.values[note.value]);
      item["relation"] = relation.name;
      item["part"] = fmt::format("back_{}", distance);
      suite.add(std::move(item));
    }
  }
  suite.file();
}

void add_labelled(Shelf& shelf, const std::string& name, Task task, size_t count) {
  Suite suite(shelf, name);
  Rng rng = suite_rng(shelf.state, name);
  while (suite.size() < count) {
    const Example example = make_example(task, shelf.state.people.visitors, true, rng);
    suite.add(make_item(example.input, example.label, options_of(task)));
  }
  suite.mix();
  suite.file();
}

}  // namespace

std::vector<SuiteMaker> knowledge_suites() {
  return {
      add_closed_book,
      add_multiple_choice,
      [](Shelf& shelf) { add_lookup(shelf, "open_book", 300, 64, 5); },
      [](Shelf& shelf) { add_lookup(shelf, "needle_500", 200, 480, 3); },
      [](Shelf& shelf) { add_lookup(shelf, "needle_1000", 100, 980, 3); },
      [](Shelf& shelf) { add_lookup(shelf, "needle_1500", 100, 1480, 3); },
      add_many_facts,
      add_distant_facts,
      [](Shelf& shelf) { add_labelled(shelf, "sentiment", Task::kSentiment, 400); },
      [](Shelf& shelf) { add_labelled(shelf, "entailment", Task::kEntailment, 400); },
      [](Shelf& shelf) { add_labelled(shelf, "paraphrase", Task::kParaphrase, 300); },
  };
}

}  // namespace ockham::world
