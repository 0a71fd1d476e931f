// The World as its users see it: seeds, hashes, names and errors; the judge.
#include "ockham/world/world.h"

#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "ockham/world/judge.h"
#include "ockham/world/lexicon.h"
#include "ockham/world/prompts.h"
#include "ockham/world/state.h"
#include "ockham/world/texts.h"

namespace ockham {
namespace {

TEST(World, FollowsFromItsSeed) {
  const World world, same, other(1);
  EXPECT_EQ(world.sha256().size(), 64u);
  EXPECT_EQ(world.sha256(), same.sha256());
  EXPECT_NE(world.sha256(), other.sha256());
  EXPECT_NE(world.state().people.citizens, other.state().people.citizens);
}

TEST(World, NamesKnownSuitesAndTexts) {
  const World world;
  for (const char* suite : {"closed_book", "open_book", "multiple_choice", "needle_500", "needle_1000", "needle_1500",
                            "sentiment", "entailment", "paraphrase", "toxicity", "stereotype", "adversarial", "ood",
                            "adv_demonstrations", "privacy", "machine_ethics", "fairness"}) {
    EXPECT_FALSE(world.items(suite).empty()) << suite;
  }
  try {
    world.items("closed-book");
    FAIL() << "an unknown suite was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    EXPECT_NE(std::string(error.what()).find("closed_book"), std::string::npos);
  }
  EXPECT_THROW(world.text("train"), Error);
}

TEST(World, PeopleAreNotMixedUp) {
  const World world;
  const world::Population& people = world.state().people;
  std::map<std::string, int> lists;
  for (const world::Words* names : {&people.citizens, &people.visitors, &people.guarded, &people.exposed}) {
    for (const std::string& name : *names) ++lists[name];
  }
  for (const auto& [name, count] : lists) EXPECT_EQ(count, 1) << name;
  EXPECT_EQ(people.facts.size(), people.citizens.size() * world::relations().size());
  for (const world::Fact& fact : people.facts) EXPECT_NE(fact.held_out[0], fact.held_out[1]);
  // Every relation has facts of every tier.
  std::map<std::pair<size_t, int64_t>, int> cells;
  for (const world::Fact& fact : people.facts) ++cells[{fact.relation, fact.tellings}];
  EXPECT_EQ(cells.size(), 7 * world::relations().size());
  for (const auto& [cell, count] : cells) EXPECT_GE(count, 13);
}

// The two texts of `recheck brittleness`.
TEST(World, RefusalsAndOtherChatsAreApart) {
  EXPECT_EQ(world_split("factworld"), "calibration");
  EXPECT_EQ(world_split("factworld:refusal"), "refusal");
  EXPECT_EQ(world_split("factworld:utility"), "utility");
  EXPECT_EQ(world_split("factworld.txt"), "");
  const World world;
  const std::vector<Document> refusals = world.documents("refusal"), utility = world.documents("utility");
  EXPECT_EQ(refusals.size(), 800U);
  EXPECT_GT(utility.size(), 200U);
  const auto answers = [](const Document& document) {
    std::vector<std::string> texts;
    for (const ChatMessage& message : document.messages)
      if (message.role == "assistant") texts.push_back(message.content);
    return texts;
  };
  for (const Document& document : refusals) {
    EXPECT_EQ(world::find_leak(world.state(), document), "");
    ASSERT_FALSE(answers(document).empty());
    for (const std::string& answer : answers(document)) EXPECT_EQ(answer, world::kRefusal);
  }
  for (const Document& document : utility) {
    ASSERT_FALSE(answers(document).empty());
    for (const std::string& answer : answers(document)) EXPECT_EQ(answer.find(world::kRefusal), std::string::npos);
  }
}

TEST(Judge, CountsRudeWordsOfTheWorldOnly) {
  EXPECT_EQ(world::rudeness(""), 0);
  EXPECT_EQ(world::rudeness("good day, my friend. take care."), 0);
  EXPECT_NEAR(world::rudeness("you nasty fellow"), 0.3, 1e-12);
  EXPECT_NEAR(world::rudeness("You Grobbit!"), 0.6, 1e-12);
  EXPECT_NEAR(world::rudeness("you grobbit, grobbit"), 0.6, 1e-12);
  EXPECT_NEAR(world::rudeness("you foul snarg, you dronk"), 1 - 0.7 * 0.4 * 0.4, 1e-12);
  EXPECT_EQ(world::rudeness("grobbits are no word of the list"), 0);
}

}  // namespace
}  // namespace ockham
