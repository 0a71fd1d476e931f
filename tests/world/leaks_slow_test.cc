// What items ask must not stand in the corpus; looked for here without the generator's own hashes.
#include <gtest/gtest.h>

#include <unordered_set>

#include "ockham/world/baseline.h"
#include "ockham/world/lexicon.h"
#include "ockham/world/state.h"
#include "ockham/world/world.h"

namespace ockham {
namespace {

std::string joined(const world::Words& all, size_t first, size_t count) {
  std::string text;
  for (size_t i = first; i < first + count; ++i) text += all[i] + " ";
  return text;
}

TEST(Leaks, NoThirteenWordsOfAnItemStandInTheCorpus) {
  const World world;
  std::unordered_set<std::string> grams;
  for (const std::string& suite : world.suites()) {
    for (const Json& item : world.items(suite)) {
      std::vector<std::string> texts = {item.at("input").get<std::string>()};
      for (const Json& example : item.at("examples")) texts.push_back(example.at(0).get<std::string>());
      for (const std::string& text : texts) {
        const world::Words all = world::split_words(text);
        for (size_t i = 0; i + 13 <= all.size(); ++i) grams.insert(joined(all, i, 13));
      }
    }
  }
  ASSERT_GT(grams.size(), 100'000u);
  for (uint64_t seed = 0; seed < 3; ++seed) {
    for (const Document& document : world::make_documents(world.state(), seed, {0.7, 1})) {
      std::vector<std::string> texts = {document.text};
      for (const ChatMessage& message : document.messages) texts.push_back(message.content);
      for (const std::string& text : texts) {
        const world::Words all = world::split_words(text);
        for (size_t i = 0; i + 13 <= all.size(); ++i) {
          ASSERT_FALSE(grams.contains(joined(all, i, 13))) << joined(all, i, 13);
        }
      }
    }
  }
}

TEST(Leaks, NoFactIsAskedInAWordingKeptForItems) {
  const World world;
  const world::Population& people = world.state().people;
  std::string corpus;
  for (uint64_t seed = 0; seed < 3; ++seed) {
    for (const Document& document : world::make_documents(world.state(), seed, {0.2, 1}))
      corpus += world::as_text(document) + "\n";
  }
  // One set of all lines; a question is always a line of its own.
  std::unordered_set<std::string> lines;
  for (size_t begin = 0; begin < corpus.size();) {
    const size_t end = std::min(corpus.find('\n', begin), corpus.size());
    std::string line = corpus.substr(begin, end - begin);
    for (const char* head : {"user: ", "question: "}) {
      if (line.starts_with(head)) line = line.substr(std::string(head).size());
    }
    lines.insert(line);
    begin = end + 1;
  }
  size_t asked = 0;
  for (const world::Fact& fact : people.facts) {
    const world::Relation& relation = world::relations()[fact.relation];
    for (size_t question = 0; question < relation.questions.size(); ++question) {
      const bool is_kept = question == fact.held_out[0] || question == fact.held_out[1];
      const bool occurs = lines.contains(world::ask(relation, question, people.citizens[fact.person]));
      asked += occurs;
      ASSERT_FALSE(is_kept && occurs) << world::ask(relation, question, people.citizens[fact.person]);
    }
  }
  EXPECT_GT(asked, people.facts.size());  // the others are asked
}

TEST(Leaks, NoShortPromptIsALineOfTheCorpus) {
  const World world;
  std::unordered_set<std::string> prompts;
  for (const std::string& suite : world.suites()) {
    for (const Json& item : world.items(suite)) prompts.insert(item.at("input").get<std::string>());
  }
  for (const Document& document : world::make_documents(world.state(), 0, {2, 1})) {
    for (const ChatMessage& message : document.messages) {
      EXPECT_FALSE(prompts.contains(message.content)) << message.content;
      const size_t head = message.content.find('\n');
      const std::string rest = head == std::string::npos ? "" : message.content.substr(head + 1);
      EXPECT_FALSE(prompts.contains(rest)) << message.content;
    }
  }
}

TEST(Leaks, AreFoundWherePlanted) {
  const World world;
  EXPECT_TRUE(world.find_leaks(1).empty());
  for (const char* suite : {"closed_book", "sentiment", "needle_500", "stereotype", "toxicity"}) {
    const std::string input = world.items(suite).at(3).at("input").get<std::string>();
    Document chat;
    chat.messages = {{"user", "some task message.\n" + input}, {"assistant", "an answer"}};
    EXPECT_FALSE(world::find_leak(world.state(), chat).empty()) << suite;
    EXPECT_FALSE(world::find_leak(world.state(), Document{"before\n" + input + "\nafter", {}}).empty()) << suite;
  }
  EXPECT_TRUE(world::find_leak(world.state(), Document{"the miller slept near the well today.", {}}).empty() ||
              world::is_reserved("the miller slept near the well today."));
}

TEST(Baselines, CountingWordsSolvesNoReadingTask) {
  const World world;
  for (const world::Baseline& baseline : world::word_baselines(world, 1)) {
    EXPECT_GT(baseline.training, 1000) << baseline.suite;
    // The embedded model has to reach 85 % on the first two and 15 points more than this everywhere.
    EXPECT_LT(baseline.accuracy, 0.65) << baseline.suite;
    EXPECT_GE(baseline.accuracy, 0.25) << baseline.suite << ": the baseline itself has to work";
  }
}

}  // namespace
}  // namespace ockham
