// Counting as LLM-KICK does, and what stands in for its judge.
#include "ockham/eval/scorers/llm_kick.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "ockham/core/error.h"
#include "tests/eval/fake_model.h"
#include "tests/test_data.h"

namespace ockham {
namespace {

TEST(LlmKick, ReadsAJudge) {
  EXPECT_EQ(parse_judge_scores("8, 9.5\nBoth are good."), (std::vector<double>{8, 9.5}));
  for (const char* bad : {"", "8", "8 9 10", "eight 9", "8/10 9/10", "\n8 9"})
    EXPECT_EQ(parse_judge_scores(bad), (std::vector<double>{-1, -1})) << bad;
  EXPECT_EQ(parse_summary_scores("1 2\n3,4\nx\n5 6\n7 8"),
            (std::vector<std::vector<double>>{{1, 2}, {3, 4}, {-1, -1}, {5, 6}}));
}

TEST(LlmKick, ReadsStoredJudgeReplies) {
  const std::string file = test_data("data/llm_kick/judge_reviews.jsonl");
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "no " << file << "; set OCKHAM_TEST_DATA";
  for (const Json& row : read_jsonl_file(file))
    EXPECT_EQ(Json(parse_judge_scores(row["text"])), row["score"]) << row["question_id"];
}

TEST(LlmKick, RougeByHand) {
  const auto reference = rouge_words("The cat sat on the mat."), reply = rouge_words("the cat, the cat");
  EXPECT_DOUBLE_EQ(rouge_n(reference, reply, 1), 2.0 * 3 / (6 + 4));  // the, cat, the
  EXPECT_DOUBLE_EQ(rouge_n(reference, reply, 2), 2.0 * 1 / (5 + 3));
  EXPECT_DOUBLE_EQ(rouge_l(reference, reply), 2.0 * 3 / (6 + 4));  // the cat ... the
  EXPECT_DOUBLE_EQ(rouge_l(reference, reference), 1);
  EXPECT_DOUBLE_EQ(rouge_l(reference, {}), 0);
}

TEST(LlmKick, Repetition) {
  const std::vector<std::string> loop = {"a", "b", "a", "b", "a", "b"}, plain = {"a", "b", "c"};
  EXPECT_DOUBLE_EQ(distinct_n(loop, 2), 2.0 / 5);
  EXPECT_DOUBLE_EQ(distinct_n(plain, 2), 1);
  EXPECT_EQ(repeated_suffix(loop), 4);
  EXPECT_EQ(repeated_suffix(plain), 0);
  EXPECT_EQ(repeated_suffix({}), 0);
}

double score(const std::map<std::string, ParamValue>& params, const Json& item, const std::string& text) {
  Task task;
  task.file = "test.yaml";
  task.scorer = "factoid";
  task.scorer_params = params;
  ItemResult result;
  result.extra = Json::object();
  make_scorer(task, nullptr)->judge(item, {text}, result);
  return result.score;
}

TEST(LlmKick, FactoidRules) {
  const Json item = {{"id", "1"}, {"context", "Is it Rome?"}, {"answers", {"New York", ""}}};
  EXPECT_EQ(score({}, item, "it is newyork city"), 1);
  EXPECT_EQ(score({}, item, "rome"), 0);
  EXPECT_EQ(score({}, item, ""), 0);
  EXPECT_EQ(score({{"faithful", true}}, item, "rome"), 1);  // the empty alias is in everything
  const Json rome = {{"id", "1"}, {"context", "Is it Rome?"}, {"answers", {"Rome"}}};
  EXPECT_EQ(score({{"faithful", true}}, rome, "no"), 1);  // found in the question
  EXPECT_EQ(score({}, rome, "no"), 0);
  const std::map<std::string, ParamValue> either = {{"match", std::string("either_way")}};
  EXPECT_EQ(score(either, item, "York"), 1);
  EXPECT_EQ(score(either, item, "the city of New York."), 1);
  EXPECT_EQ(score(either, item, ""), 0);
  EXPECT_EQ(score(either, item, " the "), 0);  // normalised to nothing
  EXPECT_THROW(score({}, {{"id", "1"}}, "x"), Error);
  EXPECT_DOUBLE_EQ(token_f1("New York", "york"), 2.0 / 3);
}

}  // namespace
}  // namespace ockham
