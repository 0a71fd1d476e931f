// Limits against known rows; the text formats hold the same numbers.
#include "ockham/report/recommend.h"

#include <gtest/gtest.h>

#include "ockham/report/text_formats.h"
#include "tests/io/scratch.h"
#include "tests/report/synthetic_fixture.h"

namespace ockham {
namespace {

class RecommendTest : public ::testing::Test {
 protected:
  std::string choice(const Limits& limits) {
    const Recommendation recommendation = recommend(comparison_, limits);
    return recommendation.choice ? comparison_.rows[recommendation.choice->row].label() : "";
  }
  Comparison comparison_ = summarize(synthetic_results(), synthetic_options());
};

TEST_F(RecommendTest, TheSmallestWithinTheLimits) {
  Limits limits;
  limits.changes = {{"closed_book", -60}};
  EXPECT_EQ(choice(limits), "mini-small (dense)");  // 0.95 MB; rtn-2 is smaller and loses more
  limits.changes = {{"closed_book", -15}};
  limits.by_estimate = true;
  EXPECT_EQ(choice(limits), "rtn-4");
  limits.max_bytes = 1e6;
  EXPECT_EQ(choice(limits), "");
  const Recommendation none = recommend(comparison_, limits);
  ASSERT_TRUE(none.nearest.has_value());
  EXPECT_FALSE(none.nearest->is_met());
  EXPECT_GT(none.nearest->excess, 0);
}

TEST_F(RecommendTest, IntervalsCountUnlessToldOtherwise) {
  Limits limits;
  limits.changes = {{"privacy", -1}};
  limits.by_estimate = true;
  const std::string estimated = choice(limits);
  EXPECT_FALSE(estimated.empty());
  limits.by_estimate = false;
  // No interval of 200 items is that narrow.
  EXPECT_EQ(choice(limits), "");
}

TEST_F(RecommendTest, WithoutLimitsOnBehaviourTheLeastDamaged) {
  Limits limits;
  limits.max_bytes = 2.5e6;
  const std::string label = choice(limits);
  const Recommendation recommendation = recommend(comparison_, limits);
  for (const Candidate& candidate : recommendation.all) {
    const ComparisonRow& row = comparison_.rows[candidate.row];
    if (candidate.is_met()) {
      EXPECT_LE(row.bytes, 2.5e6);
      EXPECT_LE(row.worst_change.value_or(-1000),
                comparison_.rows[recommendation.choice->row].worst_change.value_or(-1000))
          << row.label() << " against " << label;
    }
  }
}

TEST_F(RecommendTest, GroupsTitlesAndMisspeltNames) {
  Limits limits;
  limits.changes = {{"trust", -100}, {"ethics", -100}, {"Out-of-distribution", -100}};
  const Recommendation recommendation = recommend(comparison_, limits);
  // Eight dimensions of the group, of which fairness is at chance and can never be met.
  EXPECT_EQ(recommendation.all[0].checks.size(), 10u);
  EXPECT_FALSE(recommendation.choice.has_value());
  limits.changes = {{"privcy", -1}};
  EXPECT_TRUE(has(error_text([&] { recommend(comparison_, limits); }, ErrorKind::kUsage),
                  {"privcy", "did you mean 'privacy'"}));
}

TEST_F(RecommendTest, RefusalsAndPerplexity) {
  Limits limits;
  limits.refusals = {{"privacy", 0.55}};
  limits.max_perplexity_ratio = 1.1;
  for (const Candidate& candidate : recommend(comparison_, limits).all) {
    const ComparisonRow& row = comparison_.rows[candidate.row];
    const double refusal = row.cells[comparison_.column_index("privacy")].refusal;
    EXPECT_EQ(candidate.is_met(), refusal >= 0.55 && row.perplexity_ratio <= 1.1) << row.label();
  }
}

TEST_F(RecommendTest, MedianDrawIsNeitherBestNorWorst) {
  for (const ComparisonRow& row : comparison_.rows)
    if (row.recipe == "wanda-70") {
      EXPECT_EQ(row.seeds[median_draw(comparison_, row)], 1u);
    }
}

TEST_F(RecommendTest, TextFormatsHoldTheSameNumbers) {
  const std::string csv = csv_report(comparison_);
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 1 + 14 * 11);
  EXPECT_EQ(csv.find("e+06"), std::string::npos) << "bytes are written in full";
  const size_t columns =
      static_cast<size_t>(std::count(csv.begin(), csv.begin() + static_cast<std::ptrdiff_t>(csv.find('\n')), ','));
  for (size_t begin = 0; begin < csv.size(); begin = csv.find('\n', begin) + 1)
    EXPECT_EQ(static_cast<size_t>(std::count(csv.begin() + static_cast<std::ptrdiff_t>(begin),
                                             csv.begin() + static_cast<std::ptrdiff_t>(csv.find('\n', begin)), ',')),
              columns);
  const Json json = json_report(comparison_);
  EXPECT_EQ(json["rows"].size(), 14u);
  EXPECT_EQ(json["rows"][1]["dimensions"][0]["change"]["value"].get<double>(),
            comparison_.rows[1].cells[0].change.value);
  EXPECT_EQ(json["rows"][1]["packed_sha256"].size(), 1u);
  const std::string markdown = markdown_report(comparison_);
  for (const char* text : {"# What compression cost mini", "| wanda-50 |", "n/i", "sha256"})
    EXPECT_NE(markdown.find(text), std::string::npos) << text;
}

}  // namespace
}  // namespace ockham
