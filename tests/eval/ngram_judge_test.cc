// The offline toxicity judge: what it learns, its file, and its agreement with real scores.
#include "ockham/eval/judges/ngram_judge.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "ockham/core/error.h"
#include "ockham/core/rng.h"
#include "tests/test_data.h"

namespace ockham {
namespace {
namespace fs = std::filesystem;

std::vector<ScoredText> made_up(int64_t count) {
  static const char* calm[] = {"the garden is quiet", "we read a long letter", "rain fell on the hill"};
  static const char* rude[] = {"you glorp", "what a snarg", "zeltwits all of them"};
  std::vector<ScoredText> texts;
  Rng rng(3);
  for (int64_t i = 0; i < count; ++i) {
    const bool is_rude = i % 2 == 0;
    const auto pick = [&](const char* const* list) { return std::string(list[rng.below(3)]); };
    texts.push_back({"made", is_rude ? 0.9 : 0.1, pick(calm) + " and " + pick(is_rude ? rude : calm)});
  }
  return texts;
}

std::string scratch(const std::string& name) {
  const fs::path folder = fs::temp_directory_path() / ("ockham-judge-" + std::to_string(getpid()));
  fs::create_directories(folder);
  return (folder / name).string();
}

TEST(NgramJudge, LearnsWhatIsRude) {
  for (const char* kind : {"words", "words+characters"}) {
    const NgramJudge judge = NgramJudge::train(made_up(200), kind);
    EXPECT_GT(judge.score("the letter says you glorp"), 0.7) << kind;
    EXPECT_LT(judge.score("the letter is long"), 0.3) << kind;
    EXPECT_EQ(judge.score("The Letter says you GLORP"), judge.score("the letter says you glorp"));
    EXPECT_NE(judge.label().find(kind), std::string::npos);
  }
  // Only characters know a word's neighbours.
  const NgramJudge words = NgramJudge::train(made_up(200), "words"),
                   both = NgramJudge::train(made_up(200), "words+characters");
  EXPECT_NEAR(words.score("glorpish"), words.score(""), 1e-9);
  EXPECT_GT(both.score("glorpish"), both.score("") + 0.05);
}

TEST(NgramJudge, FileGivesTheSameJudge) {
  const NgramJudge judge = NgramJudge::train(made_up(100), "words+characters");
  const std::string path = scratch("judge.json");
  judge.save(path);
  const NgramJudge again = NgramJudge::load(path);
  EXPECT_EQ(again.label(), judge.label());
  for (const char* text : {"you glorp", "", "rain on the garden", "unknown"})
    EXPECT_NEAR(again.score(text), judge.score(text), 1e-6);
  for (const char* broken :
       {"{}", "[1]", R"({"format": "ockham-ngram-judge", "version": 2})",
        R"({"format": "ockham-ngram-judge", "version": 1, "kind": "words", "texts": 1, "intercept": 0,
                                "features": ["wa"], "idf": [1], "weights": []})"}) {
    std::ofstream(path) << broken;
    EXPECT_THROW(NgramJudge::load(path), Error) << broken;
  }
  fs::remove_all(fs::path(path).parent_path());
}

TEST(NgramJudge, BrokenTablesAreRefusedWithTheirLine) {
  const std::string path = scratch("scored.tsv");
  for (const char* row : {"made\t0.5", "made\t1.5\t\"x\"", "made\tx\t\"x\"", "made\t0.5\tx", "made\t0.5\t3"}) {
    std::ofstream(path) << "source\ttoxicity\ttext\n" << row << "\n";
    try {
      read_scored_texts(path);
      ADD_FAILURE() << row;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("line 2"), std::string::npos) << error.what();
    }
  }
  std::ofstream(path) << "source\ttoxicity\ttext\n";
  EXPECT_THROW(read_scored_texts(path), Error);
  fs::remove_all(fs::path(path).parent_path());
}

TEST(NgramJudge, AgreesWithRealScores) {
  const std::string path = test_data("data/toxicity_perspective/scored.tsv");
  if (!fs::exists(path)) GTEST_SKIP() << path << " is absent: set OCKHAM_TEST_DATA to the test data's directory";
  std::vector<ScoredText> train, held_out;
  split_texts(read_scored_texts(path), train, held_out);
  EXPECT_GT(held_out.size(), 300U);
  // Between the figures of a cross-validation of the same recipe and somewhat below, for the smaller training set.
  const JudgeQuality quality = measure_judge(NgramJudge::train(train, "words"), held_out);
  EXPECT_GT(quality.pearson, 0.83);
  EXPECT_GT(quality.spearman, 0.82);
  EXPECT_LT(quality.mean_error, 0.15);
  EXPECT_GT(quality.auc, 0.94);
  EXPECT_LT(quality.pearson, 0.95) << "too good for texts that it has not seen";
}

}  // namespace
}  // namespace ockham
