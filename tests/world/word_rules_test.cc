// The rules must not let an attack change a label.
#include "ockham/world/word_rules.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "ockham/world/state.h"

namespace ockham {
namespace {

const World& the_world() {
  static const World world;
  return world;
}

bool holds(const world::Words& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

TEST(WordRules, PraiseStaysPraiseAndNegationsStay) {
  const World& world = the_world();
  const world::Lexicon& l = world::lexicon();
  const world::WordRules rules = world::word_rules(world.state(), "sentiment");
  for (const world::Words* kind : {&l.good, &l.bad})
    for (const std::string& word : *kind) {
      EXPECT_FALSE(rules.free.contains(word)) << word;
      ASSERT_TRUE(rules.exchanges.contains(word)) << word;
      for (const std::string& other : rules.exchanges.at(word)) EXPECT_TRUE(holds(*kind, other)) << other;
    }
  for (const char* task : {"sentiment", "entailment", "paraphrase"}) {
    const world::WordRules of_task = world::word_rules(world.state(), task);
    for (const char* word :
         {"not", "never", "nobody", "nothing", "far", "wrong", "if", "only", "did", "but", "was", "by"}) {
      EXPECT_FALSE(of_task.free.contains(word)) << task << " " << word;
      EXPECT_FALSE(of_task.exchanges.contains(word)) << task << " " << word;
    }
  }
}

TEST(WordRules, ThingsStayOfTheirKind) {
  const World& world = the_world();
  const world::Lexicon& l = world::lexicon();
  const world::WordRules rules = world::word_rules(world.state(), "mnli");
  for (size_t i = 0; i < l.goods.size(); ++i) {
    EXPECT_FALSE(rules.free.contains(l.goods[i]));
    const world::Words& others = rules.exchanges.at(l.goods[i]);
    EXPECT_EQ(others.size(), 3U);
    for (const std::string& other : others) {
      const auto place = static_cast<size_t>(std::find(l.goods.begin(), l.goods.end(), other) - l.goods.begin());
      EXPECT_EQ(place / 4, i / 4) << other;
    }
  }
  for (const std::string& kind : l.kinds) EXPECT_FALSE(rules.exchanges.contains(kind) || rules.free.contains(kind));
  EXPECT_TRUE(world::word_rules(world.state(), "fairness").exchanges.empty());
}

// Every item of the labelled suites has words that an attack may change.
TEST(WordRules, EveryItemCanBeAttacked) {
  const World& world = the_world();
  for (const char* suite : {"sentiment", "entailment", "paraphrase"}) {
    const world::WordRules rules = world::word_rules(world.state(), suite);
    for (const Json& item : world.items(suite)) {
      const world::Words words = world::split_words(item["input"].get<std::string>());
      EXPECT_TRUE(std::any_of(words.begin(), words.end(), [&](const std::string& word) {
        return rules.exchanges.contains(word);
      })) << item["input"];
    }
  }
}

}  // namespace
}  // namespace ockham
