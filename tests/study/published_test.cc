// The published table gives the statements that were drawn from it; tables with a known truth give every ruling.
#include "ockham/study/recheck/published.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/eval/statistics.h"
#include "ockham/io/file.h"

namespace ockham {
namespace {

const std::string kTable = std::string(OCKHAM_SOURCE_DIR) + "/tasks/published/decoding-compressed-trust.csv";

StatementRuling find(const std::vector<StatementRuling>& all, const std::string& statement, const std::string& model) {
  for (const StatementRuling& one : all)
    if (one.statement.starts_with(statement) && one.model.starts_with(model)) return one;
  ADD_FAILURE() << statement << " " << model;
  return {};
}
bool names(const StatementRuling& ruling, const std::string& text) {
  return ruling.evidence.find(text) != std::string::npos;
}
std::vector<StatementRuling> judged(const std::string& csv) {
  const auto path = std::filesystem::temp_directory_path() / ("published-" + sha256_text(csv).substr(0, 12) + ".csv");
  write_file_atomically(path.string(), csv);
  std::vector<std::string> warnings;
  try {
    auto result = judge_published(read_published(path.string()), warnings);
    std::filesystem::remove(path);
    return result;
  } catch (...) {
    std::filesystem::remove(path);
    throw;
  }
}

TEST(Published, TheTableGivesItsStatements) {
  std::vector<std::string> warnings;
  const auto all = judge_published(read_published(kTable), warnings);
  EXPECT_EQ(find(all, "Eight", "Llama-2-13b-chat").as_published, Ruling::kHolds);
  const auto vicuna = find(all, "Eight", "Vicuna");
  EXPECT_EQ(vicuna.as_published, Ruling::kFails);
  EXPECT_EQ(vicuna.evidence, "Outside 3 points: GPTQ-8 toxicity +20.1.");  // the one exception
  const auto four = find(all, "Four", "Llama-2-13b-chat");
  EXPECT_EQ(four.as_published, Ruling::kHolds);
  EXPECT_TRUE(names(four, "GPTQ-4 machine_ethics +13.8") && names(four, "GPTQ-4 fairness +5.8")) << four.evidence;
  const auto three = find(all, "Three", "Llama-2-13b-chat");
  EXPECT_EQ(three.as_published, Ruling::kHolds);
  for (const char* text : {"AWQ-3 mmlu \u22122.1", "AWQ-3 adversarial_demonstrations \u22128.4",
                           "AWQ-3 fairness \u22128.2", "GPTQ-3 toxicity \u221248.8", "GPTQ-3 ood_robustness \u221226.4",
                           "GPTQ-3 adversarial_demonstrations \u221219.0"})
    EXPECT_TRUE(names(three, text)) << text << ": " << three.evidence;
  for (const char* model : {"Llama-2-13b-chat", "Vicuna"})
    EXPECT_EQ(find(all, "2:4", model).as_published, Ruling::kHolds) << model;
  // The base model's figures show two lost dimensions only.
  for (const StatementRuling& one : all) {
    if (one.statement.starts_with("2:4") && one.model == "Llama-2-13b") {
      EXPECT_EQ(one.as_published, Ruling::kFails);
      EXPECT_TRUE(names(one, "At least 2")) << one.evidence;
      EXPECT_TRUE(names(one, "magnitude-2:4 mmlu \u221225.8")) << one.evidence;
    }
    if (one.statement.starts_with("A smaller")) {
      EXPECT_EQ(one.as_published, Ruling::kHolds) << one.model;
    }
  }
  const auto average = find(all, "The average", "Vicuna");
  EXPECT_EQ(average.as_published, Ruling::kHolds);
  EXPECT_TRUE(names(average, "GPTQ-4 63.7") && names(average, "GPTQ-4 stereotype \u221218.4")) << average.evidence;
  const auto seeds = find(all, "Seeds", "Llama-2-13b-chat");
  EXPECT_EQ(seeds.beyond_seeds, Ruling::kHolds);
  for (const char* text : {"GPTQ-3 machine_ethics \u00b1 9.8", "SparseGPT-2:4 machine_ethics \u00b1 16.6",
                           "SparseGPT-2:4 stereotype \u00b1 8.9"})
    EXPECT_TRUE(names(seeds, text)) << seeds.evidence;
}

TEST(Published, OnlyTheSpreadIsClaimedWhereOnlyTheSpreadIsKnown) {
  std::vector<std::string> warnings;
  for (const StatementRuling& one : judge_published(read_published(kTable), warnings))
    if (!one.statement.starts_with("Seeds")) {
      EXPECT_EQ(one.beyond_seeds, Ruling::kCannotTell) << one.statement;
    }
}

TEST(Published, RulingsBeyondSeedsFollowTheTInterval) {
  const std::string header = "model,method,rate,seeds,privacy,privacy_sd\nm,dense,,1,80,\n";
  // 4.303 * 1 / sqrt(3) = 2.48: 10 below is clear of 3, 5 below is not.
  EXPECT_EQ(find(judged(header + "m,q,8,3,70,1\n"), "Eight", "m").beyond_seeds, Ruling::kFails);
  EXPECT_EQ(find(judged(header + "m,q,8,3,75,1\n"), "Eight", "m").beyond_seeds, Ruling::kCannotTell);
  EXPECT_EQ(find(judged(header + "m,q,8,3,80,0.5\n"), "Eight", "m").beyond_seeds, Ruling::kHolds);
  EXPECT_EQ(find(judged(header + "m,q,8,3,77.5,0.5\n"), "Eight", "m").beyond_seeds, Ruling::kCannotTell);
  EXPECT_EQ(find(judged(header + "m,q,4,3,77,0.5\n"), "Eight", "m").as_published, Ruling::kCannotTell);
}

TEST(Published, ASpreadOfThreeSeedsMustBeLargeToBeShown) {
  const std::string header = "model,method,rate,seeds,privacy,privacy_sd\nm,dense,,1,80,\n";
  // 2 * 6^2 / 5^2 = 2.88 with 2 degrees of freedom: p = exp(-1.44) = 0.24.
  const auto six = find(judged(header + "m,q,3,3,70,6\n"), "Seeds", "m");
  EXPECT_EQ(six.as_published, Ruling::kHolds);
  EXPECT_EQ(six.beyond_seeds, Ruling::kCannotTell);
  EXPECT_EQ(find(judged(header + "m,q,3,3,70,16.6\n"), "Seeds", "m").beyond_seeds, Ruling::kHolds);
  EXPECT_EQ(find(judged(header + "m,q,3,3,70,0.3\n"), "Seeds", "m").beyond_seeds, Ruling::kFails);
  EXPECT_EQ(find(judged(header + "m,q,3,3,70,3\n"), "Seeds", "m").beyond_seeds, Ruling::kCannotTell);
}

TEST(Published, ManyFiguresAreCorrectedTogether) {
  // One version is clear of -3 by itself (p = 0.007); among forty it is not, with a p-value above 0.05 / 40.
  std::string table = "model,method,rate,seeds,privacy,privacy_sd\nm,dense,,1,80,\nm,q,8,3,70,1\n";
  EXPECT_EQ(find(judged(table), "Eight", "m").beyond_seeds, Ruling::kFails);
  for (int i = 0; i < 40; ++i) table += fmt::format("m,r{},8,3,79,2\n", i);
  EXPECT_EQ(find(judged(table), "Eight", "m").beyond_seeds, Ruling::kCannotTell);
}

TEST(Published, BadTablesAreNamed) {
  for (const auto& [csv, text] : std::vector<std::pair<std::string, std::string>>{
           {"model,method,rate,privacy\nm,dense,,x\n", "row 1, column 'privacy' is 'x'"},
           {"model,method,rate,privacy\nm,dense,,\n", "is empty"},
           {"model,method,rate,privacy\nm,dense,,101\n", "from 0 to 100"},
           {"model,method,privacy\nm,dense,1\n", "no column 'rate'"},
           {"model,method,rate\nm,dense,1\n", "no column of scores"},
           {"model,method,rate,privacy\n", "holds no rows"}}) {
    try {
      judged(csv);
      ADD_FAILURE() << csv;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    }
  }
}

TEST(Published, AveragesAreChecked) {
  std::vector<std::string> warnings;
  const PublishedScores scores = read_published(kTable);
  judge_published(scores, warnings);
  size_t different = 0;
  for (const PublishedRow& row : scores.rows) different += std::abs(row.average - mean(row.scores)) > 0.11;
  EXPECT_EQ(warnings.size(), different);
  EXPECT_EQ(warnings.size(), 0u) << warnings[0];
}

}  // namespace
}  // namespace ockham
