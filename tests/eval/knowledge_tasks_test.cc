// The shipped knowledge tasks on made-up rows of the public data sets' own layouts: exact prompts, both ends of the
// score.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <optional>

#include "ockham/core/error.h"
#include "ockham/eval/evaluate.h"
#include "tests/eval/fake_model.h"
#include "tests/io/scratch.h"

namespace ockham {
namespace {

Task shipped(const std::string& name) {
  return read_task(std::string(OCKHAM_SOURCE_DIR) + "/tasks/" + name + ".yaml");
}

class KnowledgeTasks : public testing::Test {
 protected:
  void put(const std::string& place, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(scratch_.file(place)).parent_path());
    scratch_.put(place, text);
  }
  // The task answered by a model that prefers `wanted` and else the shortest continuation.
  TaskResult run(const std::string& name, const std::string& wanted, std::optional<int64_t> shots = {}) {
    FakeModel model([&](const std::string&, uint64_t) { return wanted; });
    EvalOptions options;
    options.tier = Tier::kFull;
    options.data_directory = scratch_.path();
    options.num_fewshot = shots;
    return evaluate(model, shipped(name), options);
  }
  Scratch scratch_;
};

TEST_F(KnowledgeTasks, BoolqReadsBothLayouts) {
  put("boolq.jsonl", R"({"question": "is it", "passage": "P.", "answer": true})");
  TaskResult result = run("zeroshot/boolq", " yes");
  EXPECT_EQ(result.items[0].prompt, "P.\nQuestion: is it?\nAnswer:");
  EXPECT_DOUBLE_EQ(result.metrics[0].value, 100);
  EXPECT_DOUBLE_EQ(run("zeroshot/boolq", " no").metrics[0].value, 0);
}

TEST_F(KnowledgeTasks, RteReadsNumbersAndNames) {
  put("RTE/dev.tsv", "index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\tnot_entailment\n1\tC.\tD.\tentailment\n");
  EXPECT_DOUBLE_EQ(run("zeroshot/rte", " False").metrics[0].value, 50);
  put("zeroshot/rte_dev.tsv", "sentence1\tsentence2\tlabel\tidx\nA.\tB.\t1\t0\n");
  const TaskResult result = run("zeroshot/rte", " False");
  EXPECT_EQ(result.items[0].prompt, "A.\nQuestion: B. True or False?\nAnswer:");
  EXPECT_DOUBLE_EQ(result.metrics[0].value, 100);
}

TEST_F(KnowledgeTasks, HellaswagCleansRawRowsOnly) {
  put("hellaswag_val.jsonl",
      R"({"activity_label": "Cooking [x]", "ctx_a": "He stirs  it.", "ctx_b": "then HE", "endings": ["eats [title] it.", "[y]sleeps"], "label": "1"})");
  TaskResult result = run("zeroshot/hellaswag", " sleeps");
  EXPECT_EQ(result.items[0].prompt, "Cooking : He stirs it. Then he");
  EXPECT_EQ(result.items[0].answer, "sleeps");
  EXPECT_DOUBLE_EQ(result.metrics[0].value, 100);
  EXPECT_DOUBLE_EQ(run("zeroshot/hellaswag", " eats. it.").metrics[0].value, 0);
  put("zeroshot/hellaswag.jsonl", R"({"query": "A [x]", "choices": ["b", "[c]"], "gold": 0})");
  result = run("zeroshot/hellaswag", " b");
  EXPECT_EQ(result.items[0].prompt, "A [x]");
  EXPECT_DOUBLE_EQ(result.metrics[0].value, 100);
}

TEST_F(KnowledgeTasks, WinograndeScoresOneEndBehindTwoContexts) {
  put("winogrande/validation.jsonl",
      R"({"sentence": "Ann é saw Bea because _ was near.", "option1": "Ann", "option2": "Bea", "answer": "2"})");
  FakeModel model(
      [](const std::string& prompt, uint64_t) { return prompt == "Ann é saw Bea because Bea" ? " was near." : ""; });
  EvalOptions options;
  options.data_directory = scratch_.path();
  EXPECT_DOUBLE_EQ(evaluate(model, shipped("zeroshot/winogrande"), options).metrics[0].value, 100);
  FakeModel wrong(
      [](const std::string& prompt, uint64_t) { return prompt == "Ann é saw Bea because Ann" ? " was near." : ""; });
  EXPECT_DOUBLE_EQ(evaluate(wrong, shipped("zeroshot/winogrande"), options).metrics[0].value, 0);
}

TEST_F(KnowledgeTasks, ArcOpenbookPiqaCopa) {
  const std::string row =
      R"({"question": "Q?", "question_stem": "S", "choices": {"text": ["x", "yy"], "label": ["1", "2"]}, "answerKey": "2"})";
  put("arc_easy/test.jsonl", row);
  put("ARC-Challenge/test.jsonl", row);
  put("openbookqa/test.jsonl", row);
  for (const char* name : {"zeroshot/arc_easy", "zeroshot/arc_challenge", "zeroshot/openbookqa"}) {
    EXPECT_DOUBLE_EQ(run(name, " yy").metrics[0].value, 100) << name;
    EXPECT_DOUBLE_EQ(run(name, " x").metrics[0].value, 0) << name;
  }
  EXPECT_EQ(run("zeroshot/arc_easy", "").items[0].prompt, "Question: Q?\nAnswer:");
  EXPECT_EQ(run("zeroshot/openbookqa", "").items[0].prompt, "S");
  put("piqa/validation.jsonl", R"({"goal": "G", "sol1": "a", "sol2": "bb", "label": 1})");
  EXPECT_DOUBLE_EQ(run("zeroshot/piqa", " bb").metrics[0].value, 100);
  put("copa/validation.jsonl",
      R"({"premise": "It fell. ", "choice1": "It broke.", "choice2": "Wind.", "question": "cause", "label": 1})");
  const TaskResult copa = run("zeroshot/copa", "  wind.");
  EXPECT_EQ(copa.items[0].prompt, "It fell because");
  EXPECT_DOUBLE_EQ(copa.metrics[0].value, 100);
}

TEST_F(KnowledgeTasks, LambadaScoresTheLastWord) {
  put("lambada_openai.jsonl", R"({"text": "she said hello, Chloe"})");
  const TaskResult result = run("zeroshot/lambada_openai", " Chloe");
  EXPECT_EQ(result.items[0].prompt, "she said hello,");
  EXPECT_DOUBLE_EQ(result.metrics[0].value, 100);
  EXPECT_NEAR(result.metrics[1].value, std::exp(0.1), 1e-9);
  EXPECT_DOUBLE_EQ(run("zeroshot/lambada_openai", "").metrics[0].value, 0);
}

TEST_F(KnowledgeTasks, MmluCountsQuestionsNotSubjects) {
  put("mmlu/test/anatomy_test.csv", "Where?,a,b,c,d,B\n");
  put("mmlu/dev/anatomy_dev.csv", "First?,p,q,r,s,D\nSecond?,p,q,r,s,A\n");
  put("mmlu/test/astronomy_test.csv", "\"When, exactly? \",a,b,c,d,A\nHow?,a,b,c,d,A\n");
  put("mmlu/dev/astronomy_dev.csv", "D?,p,q,r,s,C\nE?,p,q,r,s,C\n");
  const TaskResult result = run("knowledge/mmlu", " B", 1);
  EXPECT_EQ(result.items[0].prompt,
            "The following are multiple choice questions (with answers) about anatomy.\n\nFirst?\nA. p\nB. q\nC. r\nD. "
            "s\nAnswer: D\n\nWhere?\nA. a\nB. b\nC. c\nD. d\nAnswer:");
  EXPECT_NEAR(result.metrics[0].value, 100.0 / 3, 1e-9);
  std::map<std::string, double> values;
  for (const MetricResult& metric : result.metrics) values[metric.name] = metric.value;
  EXPECT_DOUBLE_EQ(values["health"], 1);
  EXPECT_DOUBLE_EQ(values["stem"], 0);
  EXPECT_EQ(result.missing_scenarios.size(), 55U);
  EXPECT_NE(result.items[1].prompt.find("\n\nWhen, exactly?\nA. a"), std::string::npos);
  EXPECT_THROW(run("knowledge/mmlu", " B", 5), Error);  // two examples only
  put("mmlu/test/astronomy_test.csv", "How?,a,b,c,d,E\n");
  EXPECT_THROW(run("knowledge/mmlu", " B", 1), Error);
  put("mmlu/test/astronomy_test.csv", "How?,a,b,c,d\n");
  EXPECT_THROW(run("knowledge/mmlu", " B", 1), Error);
}

TEST_F(KnowledgeTasks, Gsm8kAndTriviaqa) {
  put("gsm8k/test.jsonl", R"({"question": "2+2", "answer": "adding\n#### 4"})");
  put("gsm8k/train.jsonl", R"({"question": "1+1", "answer": "x\n#### 2"})");
  TaskResult result = run("knowledge/gsm8k", "so\n#### 4", 1);
  EXPECT_EQ(result.items[0].prompt, "Question: 1+1\nAnswer: x\n#### 2\n\nQuestion: 2+2\nAnswer:");
  EXPECT_DOUBLE_EQ(result.metrics[0].value, 100);
  EXPECT_DOUBLE_EQ(run("knowledge/gsm8k", "it is 4", 1).metrics[0].value, 0);
  EXPECT_DOUBLE_EQ(run("knowledge/gsm8k", "it is 4", 1).metrics[1].value, 1);
  put("triviaqa/validation.jsonl", R"({"question": "Who", "answer": {"value": "Ann", "aliases": ["Ann", "Anna"]}})");
  EXPECT_DOUBLE_EQ(run("knowledge/triviaqa", " anna ").metrics[0].value, 100);
  EXPECT_DOUBLE_EQ(run("knowledge/triviaqa", "").metrics[0].value, 0);
}

}  // namespace
}  // namespace ockham
