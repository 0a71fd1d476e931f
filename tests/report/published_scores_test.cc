// A study whose numbers are known against tables made from them: every verdict, every reason for none.
#include "ockham/report/published_scores.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "ockham/core/error.h"
#include "ockham/report/html.h"
#include "ockham/report/text_formats.h"
#include "tests/report/synthetic_fixture.h"

namespace ockham {
namespace {

const std::string kHeader = "model,method,rate,seeds,privacy,fairness,mmlu,privacy_sd\n";

Comparison against(const std::string& rows, const std::function<void(StudyResults&)>& change = {}) {
  StudyResults results = synthetic_results();
  results.study.published_name = "made-up";
  results.study.published_text = kHeader + rows;
  if (change) change(results);
  return summarize(results, synthetic_options());
}
const PublishedFigure& figure(const PublishedComparison& published, const std::string& version,
                              const std::string& dimension) {
  for (const PublishedFigure& one : published.figures)
    if (one.version == version && one.dimension == dimension) return one;
  throw_error(ErrorKind::kInternal, "no figure {} {}", version, dimension);
}
double score_of(const Comparison& comparison, const std::string& label, const std::string& column) {
  for (const ComparisonRow& row : comparison.rows)
    if (row.label() == label) return row.cells[comparison.column_index(column)].score;
  throw_error(ErrorKind::kInternal, "no row {}", label);
}

TEST(PublishedScores, RowsAreFoundByModelMethodAndRate) {
  const Comparison comparison = against(
      "mini,dense,,1,80,50,60,\nmini,smaller,small,1,80,50,60,\nmini,RTN,4,1,80,50,60,\nmini,Wanda,2:4,1,80,50,60,\n"
      "mini,magnitude,0.5,1,80,50,60,\nmini,GPTQ,4,1,80,50,60,\nother,RTN,4,1,80,50,60,\n");
  const PublishedComparison published = compare_with_published(comparison);
  ASSERT_EQ(published.figures.size(), 7u * 3u);
  EXPECT_EQ(figure(published, "dense", "privacy").label, "dense");
  EXPECT_EQ(figure(published, "smaller small", "privacy").label, "mini-small (dense)");
  EXPECT_EQ(figure(published, "RTN 4", "privacy").label, "rtn-4");
  EXPECT_EQ(figure(published, "Wanda 2:4", "fairness").label, "wanda-2-4");
  EXPECT_EQ(figure(published, "magnitude 0.5", "privacy").label, "magnitude-50");
  EXPECT_EQ(figure(published, "GPTQ 4", "privacy").reason, "no such version in this study");
  EXPECT_EQ(figure(published, "RTN 4", "mmlu").reason, "no such task in this study");
  EXPECT_EQ(published.figures.back().label, "") << "another model's row is not this one's";
  EXPECT_EQ(published.count(Agreement::kNotMeasured), 7 + 2 + 2);
}

TEST(PublishedScores, AgreesDiffersAndCannotTell) {
  const double privacy = score_of(against("mini,dense,,1,0,0,0,\n"), "dense", "privacy");
  const auto verdict = [&](double published, double margin) {
    const Comparison comparison = against(fmt::format("mini,dense,,1,{:.1f},50,0,\n", published),
                                          [&](StudyResults& results) { results.study.margin = margin; });
    return figure(compare_with_published(comparison), "dense", "privacy");
  };
  EXPECT_EQ(verdict(privacy, 12).agreement, Agreement::kAgrees);
  EXPECT_EQ(verdict(privacy - 30, 12).agreement, Agreement::kHigher);
  EXPECT_EQ(verdict(std::min(100.0, privacy + 18), 12).agreement, Agreement::kLower);
  EXPECT_EQ(verdict(privacy + 3, 2).agreement, Agreement::kCannotTell) << "200 items do not show 3 points";
  const PublishedFigure one = verdict(privacy - 30, 12);
  EXPECT_NEAR(one.difference.value, 30, 0.051);
  // 200 items of accuracy p: the interval is that of the items, the rounding adds nearly nothing.
  const double error = 100 * std::sqrt(privacy / 100 * (1 - privacy / 100) / 200);
  EXPECT_NEAR(one.difference.interval.high - one.difference.interval.low, 2 * 1.96 * error, 0.02);
}

TEST(PublishedScores, SpreadOnBothSidesWidensTheInterval) {
  const auto width = [](const std::string& row) {
    const PublishedFigure one = figure(compare_with_published(against(row)), "Wanda 2:4", "privacy");
    return one.difference.interval.high - one.difference.interval.low;
  };
  const double alone = width("mini,Wanda,2:4,1,70,50,60,\n"), spread = width("mini,Wanda,2:4,3,70,50,60,9\n");
  const double added = 2 * 1.959964 * 9 / std::sqrt(3.0);
  EXPECT_NEAR(spread, std::hypot(alone, added), 1e-9);
}

TEST(PublishedScores, WhatIsIncompleteIsNotCompared) {
  const auto drop = [](const std::string& recipe) {
    return [recipe](StudyResults& results) {
      std::erase_if(results.cells,
                    [&](const StoredCell& cell) { return cell.recipe == recipe && cell.task == "factworld/privacy"; });
    };
  };
  const PublishedComparison published = compare_with_published(against("mini,RTN,4,1,70,50,60,\n", drop("rtn-4")));
  EXPECT_EQ(figure(published, "RTN 4", "privacy").reason, "not run yet");
  EXPECT_EQ(figure(published, "RTN 4", "privacy").agreement, Agreement::kNotMeasured);
  EXPECT_TRUE(figure(published, "RTN 4", "privacy").is_planned);
  EXPECT_NE(figure(published, "RTN 4", "fairness").agreement, Agreement::kNotMeasured);
  EXPECT_EQ(published.cautions.size(), 2u) << "tier and prompts are not the published ones";
}

TEST(PublishedScores, AModelMayHaveAnotherNameThere) {
  const Comparison comparison = against("Llama-2-13b-chat,dense,,1,80,50,60,\n", [](StudyResults& results) {
    results.study.models[0].published = "Llama-2-13b-chat";
  });
  EXPECT_EQ(figure(compare_with_published(comparison), "dense", "privacy").label, "dense");
}

TEST(PublishedScores, EveryFormatShowsEveryFigure) {
  StudyResults results = synthetic_results();
  results.study.published_name = "<made-up>";
  results.study.published_text = kHeader + "mini,dense,,1,10,50,60,\n<b>,GPTQ,4,1,80,50,60,\n";
  const Comparison comparison = summarize(results, synthetic_options());
  const std::string html = html_report(results, comparison), markdown = markdown_report(comparison);
  EXPECT_NE(html.find("<section id=\"figures\""), std::string::npos);
  EXPECT_NE(html.find("&lt;made-up&gt;"), std::string::npos);
  EXPECT_EQ(html.find("<b>,"), std::string::npos);
  EXPECT_NE(html.find("6 figures published: "), std::string::npos);
  EXPECT_NE(html.find("differs: higher"), std::string::npos);
  EXPECT_NE(markdown.find("| mini | dense | privacy | 10.0 |"), std::string::npos) << markdown;
  EXPECT_NE(markdown.find("not measured: no such version in this study"), std::string::npos);
  const Json json = json_report(comparison);
  ASSERT_EQ(json["published"]["figures"].size(), 6u);
  EXPECT_EQ(json["published"]["figures"][0]["verdict"], "differs: higher");
  // The description is stored with the results, so that any later report has the table.
  const StudyDescription again = study_from_json(to_json(results.study), "test");
  EXPECT_EQ(again.published_text, results.study.published_text);
  EXPECT_EQ(again.published_name, "<made-up>");
  EXPECT_EQ(html_report(synthetic_results(), summarize(synthetic_results(), synthetic_options())).find("\"figures\""),
            std::string::npos)
      << "no section without a table";
}

TEST(SeveralModels, EachIsComparedWithItsOwnDenseModel) {
  StudyResults results = synthetic_results();
  // The rival gets a version of its own, and a still smaller rival.
  results.study.models[1].recipes = {"dense", "rtn-4"};
  results.study.models.push_back({"tiny", {"dense"}, {}, "mini-small"});
  for (const char* name : {"tiny", "mini-small"}) {
    std::vector<StoredCell> copies;
    for (const StoredCell& cell : results.cells)
      if (cell.model == "mini" && cell.recipe == (std::string(name) == "tiny" ? "dense" : "rtn-4")) {
        copies.push_back(cell);
        copies.back().model = name;
      }
    results.cells.insert(results.cells.end(), copies.begin(), copies.end());
  }
  const Comparison comparison = summarize(results, synthetic_options());
  const auto row = [&](const std::string& label) -> const ComparisonRow& {
    for (const ComparisonRow& one : comparison.rows)
      if (one.label() == label) return one;
    throw_error(ErrorKind::kInternal, "no row {}", label);
  };
  EXPECT_FALSE(row("mini-small dense").is_rival);
  EXPECT_EQ(row("mini-small rtn-4").compared_with, "mini-small");
  EXPECT_EQ(row("tiny (dense)").compared_with, "mini-small");
  EXPECT_EQ(row("mini rtn-4").compared_with, "mini");
  const std::string html = html_report(results, comparison);
  EXPECT_NE(html.find("What compression cost mini and mini-small"), std::string::npos);
}

TEST(SeveralModels, AModelMayGetFewerDraws) {
  EXPECT_EQ(common_draws({0, 1, 2}, {}), (std::vector<uint64_t>{0, 1, 2}));
  EXPECT_EQ(common_draws({0, 1, 2}, {1, 7}), (std::vector<uint64_t>{1}));
  EXPECT_EQ(common_draws({3, 4}, {1}), (std::vector<uint64_t>{3})) << "never none";
  EXPECT_EQ(common_draws({0}, {1}), (std::vector<uint64_t>{0})) << "a recipe without calibration";
}

}  // namespace
}  // namespace ockham
