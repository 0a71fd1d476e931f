// Windows of every protocol, by hand: the fake model's tokens are bytes and its context is 16.
#include "ockham/eval/protocols.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ockham/core/error.h"
#include "ockham/eval/evaluate.h"
#include "tests/eval/fake_model.h"
#include "tests/io/scratch.h"

namespace ockham {
namespace {

FakeModel model([](const std::string&, uint64_t) { return ""; });

std::string text_of(const Window& window) {
  return {window.ids.begin(), window.ids.end()};
}

TEST(Protocols, GptqCutsApart) {
  const TextWindows result =
      cut_windows(model, std::string(16, 'a') + std::string(16, 'b') + "cc", {"gptq", 0, 0}, "t");
  ASSERT_EQ(result.windows.size(), 2U);  // 2048 does not fit the context of 16
  EXPECT_EQ(text_of(result.windows[1]), std::string(16, 'b'));
  EXPECT_EQ(result.windows[1].first_scored, 1);
  EXPECT_NE(result.note.find("the last 2 tokens"), std::string::npos);
}

TEST(Protocols, LlamaCppScoresTheSecondHalf) {
  const TextWindows result = cut_windows(model, "abcdefghijklmnop", {"llama.cpp", 8, 0}, "t");
  ASSERT_EQ(result.windows.size(), 2U);
  EXPECT_EQ(result.windows[0].first_scored, 5);  // logits at 4..6 predict the tokens 5..7
  EXPECT_THROW(cut_windows(model, "abc", {"llama.cpp", 8, 0}, "t"), Error);
}

TEST(Protocols, StridedScoresEveryTokenOnce) {
  const TextWindows result = cut_windows(model, "abcdefghij", {"strided", 4, 2}, "t");
  std::string scored;
  for (const Window& window : result.windows)
    scored += text_of(window).substr(static_cast<size_t>(window.first_scored));
  EXPECT_EQ(scored, "bcdefghij");
  EXPECT_EQ(text_of(result.windows[1]), "cdef");
  EXPECT_THROW(cut_windows(model, "abcdefghij", {"strided", 4, 5}, "t"), Error);
}

TEST(Protocols, RollingScoresEveryTokenBehindAFirst) {
  const std::string text = "abcdefghijklmnopqrstuvwxyz0123456789";  // 36 tokens: 16, 16 and 4
  const TextWindows result = roll_windows(model, {{text, "two words"}, {"", "x"}, {"q", "q"}}, {"lm-eval", 0, 0}, "t");
  ASSERT_EQ(result.windows.size(), 4U);
  EXPECT_EQ(result.documents[0].words, 2);
  EXPECT_EQ(result.documents[0].bytes, 9);
  std::string scored;
  for (size_t i = 0; i < 3; ++i)
    scored += text_of(result.windows[i]).substr(static_cast<size_t>(result.windows[i].first_scored));
  EXPECT_EQ(scored, text);
  EXPECT_EQ(result.windows[2].ids.size(), 17U);  // the last window looks back as far as the context allows
  EXPECT_EQ(result.windows[3].document, 2U);
  EXPECT_THROW(roll_windows(model, {{"", ""}}, {"lm-eval", 0, 0}, "t"), Error);
}

TEST(Protocols, WordsAsPythonSplits) {
  EXPECT_EQ(count_words("a b"), 2);
  EXPECT_EQ(count_words(" a \n\n b"), 3);
  EXPECT_EQ(count_words(" \n = T = \n"), 5);
  EXPECT_EQ(count_words(""), 1);
}

TEST(Protocols, PagesOfWikitext) {
  const std::vector<RollingDocument> pages = wikitext_pages(
      " \n = First = \n \n He said \" so \" , 3 @.@ 5 ( or so ) . \n = = Part = = \n = Second = \n x \n");
  ASSERT_EQ(pages.size(), 2U);
  EXPECT_NE(pages[0].scored.find("\"so\", 3.5 (or so)."), std::string::npos) << pages[0].scored;
  EXPECT_NE(pages[0].scored.find("== Part =="), std::string::npos) << pages[0].scored;
  EXPECT_NE(pages[0].original.find("3 @.@ 5"), std::string::npos);
  EXPECT_EQ(join_wikitext(" \n a \n"), "\n\n a \n");
}

TEST(Protocols, TheNameGoesWithTheNumber) {
  const Scratch scratch;
  const Task task = find_tasks({"perplexity:" + scratch.put("t.txt", std::string(64, 'a'))}, scratch.path())[0];
  for (const char* name : {"plain", "gptq", "strided", "lm-eval"}) {
    EvalOptions options;
    options.protocol = name;
    const TaskResult result = evaluate(model, task, options);
    EXPECT_EQ(result.protocol, name);
    EXPECT_NEAR(result.metrics[0].value, 2, 1e-5) << name;  // every token costs ln 2
    EXPECT_NE(result.notes[0].find(std::string("protocol ") + name), std::string::npos);
  }
}

}  // namespace
}  // namespace ockham
