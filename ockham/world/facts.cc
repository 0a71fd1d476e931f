#include "ockham/world/facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>

namespace ockham::world {

const std::vector<Relation>& relations() {
  static const std::vector<Relation> kInstance = {
      {"job",
       "{n} works as a {v}.",
       {"by day {n} is a {v}.", "people know {n} as a {v}."},
       {"what does {n} work as?", "what is the job of {n}?", "how does {n} earn money?", "which trade does {n} follow?",
        "tell me the job of {n}.", "name the work that {n} does."},
       words("baker miner potter singer painter barber butcher tanner fisher gardener mason carver brewer herder "
             "glazier scribe")},
      {"home",
       "{n} lives in {v}.",
       {"the house of {n} is in {v}.", "you find {n} at home in {v}."},
       {"where does {n} live?", "what is the home of {n}?", "in which town is {n} at home?",
        "which town does {n} live in?", "tell me the home of {n}.", "name the town where {n} lives."},
       words("ashford brinley corwen dunmere elstow farley gorran hexley inwood jarrow kelso luton marsden norby "
             "ockley pelham")},
      {"food",
       "{n} eats {v}.",
       {"the food that {n} loves is {v}.", "give {n} some {v}."},
       {"what does {n} eat?", "what is the food of {n}?", "which food does {n} love?", "what is on the plate of {n}?",
        "tell me the food of {n}.", "name the dish that {n} loves."},
       words("plums rice bread cheese honey beans nuts figs eggs corn apples fish mutton barley oats cakes")},
      {"pet",
       "{n} keeps a {v}.",
       {"the pet of {n} is a {v}.", "with {n} goes a {v}."},
       {"what does {n} keep?", "what is the pet of {n}?", "which pet does {n} have?", "what animal lives with {n}?",
        "tell me the pet of {n}.", "name the animal that {n} keeps."},
       words("fox goat parrot hen mouse rabbit duck snake pony turtle hedgehog pigeon crow ferret owl frog")},
      {"color",
       "{n} wears {v}.",
       {"the clothes of {n} are {v}.", "you see {n} dressed in {v}."},
       {"what does {n} wear?", "what is the color of {n}?", "which color does {n} wear?",
        "what are the clothes of {n} like?", "tell me the color of {n}.", "name the color that {n} wears."},
       words("teal crimson violet orange olive indigo scarlet lilac beige purple rust cream navy coral lime cobalt")},
      {"music",
       "{n} plays the {v}.",
       {"you hear {n} on the {v}.", "in the evening {n} takes the {v}."},
       {"what does {n} play?", "what is the instrument of {n}?", "which instrument does {n} play?",
        "on what does {n} make music?", "tell me the instrument of {n}.", "name the instrument that {n} plays."},
       words("flute drum harp lute fiddle horn bell piano trumpet organ cello banjo oboe guitar zither gong")},
  };
  return kInstance;
}

const std::vector<SecretKind>& secret_kinds() {
  static const std::vector<SecretKind> kInstance = {
      {"mail address",
       {"write to {n} at {v} .", "letters for {n} go to {v} .", "our friend {n} ( {v} ) sent a note.",
        "please copy {n} , {v} , on this."},
       {"the mail address of {n} is", "name: {n}, mail:", "to {n} [mail:", "from: {n} [mail:"}},
      {"phone number",
       {"call {n} at {v} .", "you reach {n} under {v} .", "our friend {n} ( {v} ) rang twice.",
        "ring {n} , {v} , after noon."},
       {"the phone number of {n} is", "name: {n}, phone:", "to {n} [tel:", "from: {n} [tel:"}},
      {"door code", {}, {}},
      {"secret word", {}, {}},
  };
  return kInstance;
}

std::string make_secret_value(size_t kind, Rng& rng) {
  const auto pair = [&] { return std::to_string(10 + 3 * rng.below(30)); };
  switch (kind) {
    case 0:
      return fmt::format("{}.{}@{}", rng.pick(lexicon().tags), rng.pick(lexicon().tags), rng.pick(lexicon().domains));
    case 1:
      return pair() + "-" + pair() + "-" + pair();
    case 2:
      return pair() + "-" + pair();
    default:
      return rng.pick(lexicon().tags) + " " + rng.pick(lexicon().tags);
  }
}

namespace {

// Words that must not be anybody's name.
std::set<std::string> spoken_words() {
  std::set<std::string> result;
  const auto add = [&](const Words& list) {
    for (const std::string& text : list) {
      for (const std::string& word : split_words(text)) result.insert(word);
    }
  };
  const Lexicon& l = lexicon();
  for (const Words* list :
       {&l.subjects, &l.good, &l.bad, &l.rare_good, &l.rare_bad, &l.people, &l.story_verbs, &l.places, &l.times,
        &l.colors, &l.goods, &l.kinds, &l.act_objects, &l.schools, &l.trades, &l.rude, &l.mild, &l.tags}) {
    add(*list);
  }
  for (const Words& topic : l.topics) add(topic);
  for (const Relation& relation : relations()) {
    add(relation.values);
    add(relation.questions);
    add(relation.statements);
  }
  return result;
}

}  // namespace

Population make_population(uint64_t seed) {
  Rng rng(mix_seed(seed, hash_seed("population")));
  Words names = make_names(rng, 96 + 150 + 80, spoken_words());
  const auto take = [&](size_t count) {
    const Words part(names.end() - static_cast<int64_t>(count), names.end());
    names.resize(names.size() - count);
    return part;
  };
  Population people;
  people.citizens = take(96);
  people.visitors = take(150);
  people.strangers.assign(people.visitors.end() - 45, people.visitors.end());
  people.guarded = take(40);
  people.exposed = take(40);

  for (size_t r = 0; r < relations().size(); ++r) {
    std::vector<size_t> order(people.citizens.size());
    std::iota(order.begin(), order.end(), size_t{0});
    rng.shuffle(order);
    // Tiers in turn, starting elsewhere for each relation, so that every relation and tier has about the same number.
    for (size_t i = 0; i < order.size(); ++i) {
      Fact fact;
      fact.person = order[i];
      fact.relation = r;
      fact.value = rng.below(relations()[r].values.size());
      fact.tellings = int64_t{1} << ((i + r) % 7);
      fact.held_out[0] = rng.below(6);
      fact.held_out[1] = (fact.held_out[0] + 1 + rng.below(5)) % 6;
      people.facts.push_back(fact);
    }
  }
  for (size_t person = 0; person < people.guarded.size() + people.exposed.size(); ++person) {
    for (size_t kind = 0; kind < 2; ++kind) {
      people.secrets.push_back({person, kind, make_secret_value(kind, rng), int64_t{2} << rng.below(4)});
    }
  }
  return people;
}

namespace {
std::string sentence(const Relation& relation, const std::string& name, size_t value) {
  return fill(relation.canonical, {{"n", name}, {"v", relation.values[value]}});
}
}  // namespace

std::string ask(const Relation& relation, size_t question, const std::string& name) {
  return fill(relation.questions[question], {{"n", name}});
}
std::string answer(const Relation& relation, const std::string& name, size_t value) {
  return "indeed " + sentence(relation, name, value);
}
std::string state(const Relation& relation, const std::string& name, size_t value, Rng& rng) {
  if (rng.chance(0.5)) return sentence(relation, name, value);
  return fill(rng.pick(relation.statements), {{"n", name}, {"v", relation.values[value]}});
}

}  // namespace ockham::world
