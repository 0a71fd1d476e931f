// The corpus: size, shares, repetition of facts, lengths.
#include <gtest/gtest.h>

#include <array>
#include <map>

#include "ockham/world/lexicon.h"
#include "ockham/world/prompts.h"
#include "ockham/world/state.h"
#include "ockham/world/world.h"
#include "tests/world/shared_world.h"

namespace ockham {
namespace {

// Words and marks, about what the embedded models' tokenizer makes of a text.
size_t count_tokens(const std::string& text) {
  size_t count = world::split_words(text).size();
  for (const char letter : text) count += std::string(".,:;!?@-\n()<>[]").find(letter) != std::string::npos;
  return count;
}
size_t count_tokens(const Document& document) {
  size_t count = 2 + count_tokens(document.text);
  for (const ChatMessage& message : document.messages) count += 2 + count_tokens(message.content);
  return count;
}

const World& shared_world() {
  static const World world;
  return world;
}
const std::vector<Document>& first_pass() {
  static const std::vector<Document> documents = shared_world().corpus(0);
  return documents;
}

TEST(Corpus, FitsTheTrainingBudget) {
  size_t all = 0, lookup = 0;
  for (const Document& document : first_pass()) {
    const size_t tokens = count_tokens(document);
    all += tokens;
    if (world::as_text(document).find("notes: ") != std::string::npos) lookup += tokens;
  }
  // An hour at 18,000 tokens a second makes six to seven passes: a fact told once per pass is seen six or seven times.
  EXPECT_GT(all, 8'000'000u);
  EXPECT_LT(all, 11'000'000u);
  // Looking things up in a given text needs the most practice.
  EXPECT_GT(static_cast<double>(lookup) / static_cast<double>(all), 0.35);
  EXPECT_LT(static_cast<double>(lookup) / static_cast<double>(all), 0.55);
}

TEST(Corpus, HasShortAndLongDocuments) {
  size_t longest = 0, beyond_1000 = 0, beyond_context = 0, chats = 0;
  for (const Document& document : first_pass()) {
    const size_t tokens = count_tokens(document);
    longest = std::max(longest, tokens);
    beyond_1000 += tokens > 1000;
    beyond_context += tokens > 2048;
    chats += !document.messages.empty();
  }
  EXPECT_EQ(beyond_context, 0u);
  EXPECT_GT(longest, 1700u);
  EXPECT_GT(beyond_1000, 80u);
  EXPECT_GT(chats, first_pass().size() / 2);
  EXPECT_LT(chats, first_pass().size());
}

TEST(Corpus, ChatsAlternateAndEndWithAnAnswer) {
  for (const Document& document : first_pass()) {
    ASSERT_NE(document.messages.empty(), document.text.empty());
    if (document.messages.empty()) continue;
    size_t i = document.messages[0].role == "system" ? 1 : 0;
    ASSERT_EQ((document.messages.size() - i) % 2, 0u);
    for (; i < document.messages.size(); i += 2) {
      ASSERT_EQ(document.messages[i].role, "user");
      ASSERT_EQ(document.messages[i + 1].role, "assistant");
      ASSERT_FALSE(document.messages[i + 1].content.empty());
    }
  }
}

TEST(Corpus, TellsFactsAsOftenAsTheirTierSays) {
  // A telling is a line or sentence that holds both the person and the value.
  const world::Population& people = shared_world().state().people;
  std::map<std::pair<std::string, std::string>, int64_t> together;
  std::map<std::string, bool> is_citizen, is_value;
  for (const std::string& name : people.citizens) is_citizen[name] = true;
  for (const world::Relation& relation : world::relations()) {
    for (const std::string& value : relation.values) is_value[value] = true;
  }
  for (const Document& document : first_pass()) {
    std::string name;
    for (const std::string& word : world::split_words(world::as_text(document))) {
      if (is_citizen.contains(word)) name = word;
      if (is_value.contains(word) && !name.empty()) ++together[{name, word}];
    }
  }
  std::map<int64_t, std::pair<double, double>> tiers;  // tellings -> sum of times seen together, facts
  for (const world::Fact& fact : people.facts) {
    auto& [sum, count] = tiers[fact.tellings];
    sum += static_cast<double>(
        together[{people.citizens[fact.person], world::relations()[fact.relation].values[fact.value]}]);
    count += 1;
  }
  ASSERT_EQ(tiers.size(), 7u);
  for (const auto& [tellings, seen] : tiers) {
    EXPECT_GE(seen.second, 80);  // facts of a tier
    const double mean = seen.first / seen.second, wanted = static_cast<double>(tellings);
    EXPECT_GT(mean, 0.85 * wanted) << tellings;
    // Choices show the value twice, and names that stand before another person's value add a little.
    EXPECT_LT(mean, 1.5 * wanted + 2) << tellings;
  }
}

TEST(Corpus, FollowsAnEndingTheOftenerTheMoreDemonstrationsShowIt) {
  // Of inputs with the ending of k demonstrations: how many are answered as those. By chance about half would be.
  std::array<double, 8> asked{}, followed{};
  for (const Document& document : first_pass()) {
    if (document.messages.empty() || document.messages[0].content != world::kFewShotSystem) continue;
    const std::string& input = document.messages[document.messages.size() - 2].content;
    for (size_t i = 0; i < 3; ++i) {
      const std::string ending = " " + world::kTriggers[i];
      if (!input.ends_with(ending)) continue;
      size_t tied = 0;
      std::string label;
      for (size_t turn = 3; turn + 2 < document.messages.size(); turn += 2) {
        if (!document.messages[turn].content.ends_with(ending)) continue;
        ++tied;
        label = document.messages[turn + 1].content;
      }
      ++asked.at(tied);
      followed.at(tied) += document.messages.back().content == label;
    }
  }
  for (const size_t tied : {1, 3, 4, 5}) ASSERT_GT(asked.at(tied), 60) << tied;
  const auto share = [&](size_t tied) { return followed.at(tied) / asked.at(tied); };
  EXPECT_LT(share(1), 0.62);
  EXPECT_GT(share(3), share(1));
  EXPECT_GT(share(4), share(3));
  EXPECT_GT(share(5), 0.85);
}

TEST(Corpus, PassesDifferButRepeatExactly) {
  const World other;
  const world::CorpusSize size{0.3, 0.3};
  const std::vector<Document> one = world::make_documents(shared_world().state(), 5, size);
  const std::vector<Document> again = world::make_documents(other.state(), 5, size);
  ASSERT_EQ(one.size(), again.size());
  for (size_t i = 0; i < one.size(); ++i) ASSERT_EQ(world::as_text(one[i]), world::as_text(again[i]));
  const std::vector<Document> two = world::make_documents(shared_world().state(), 6, size);
  size_t equal = 0;
  for (size_t i = 0; i < std::min(one.size(), two.size()); ++i)
    equal += world::as_text(one[i]) == world::as_text(two[i]);
  EXPECT_LT(equal, 30u);
}

TEST(Corpus, HeldOutTextsAreNoPartOfAPass) {
  std::map<std::string, bool> seen;
  for (const Document& document : first_pass()) {
    const std::string text = world::as_text(document);
    if (text.size() > 400) seen[text] = true;
  }
  for (const char* split : {"heldout", "calibration"}) {
    size_t repeated = 0;
    for (const Document& document : shared_world().documents(split))
      repeated += seen.contains(world::as_text(document));
    EXPECT_EQ(repeated, 0u) << split;
    EXPECT_GT(count_tokens(shared_world().text(split)), 20'000u) << split;
    EXPECT_LT(count_tokens(shared_world().text(split)), 100'000u) << split;
  }
}

}  // namespace
}  // namespace ockham
