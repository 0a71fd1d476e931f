// Task files of lm-evaluation-harness: what they become, and what is refused.
#include "ockham/eval/harness.h"

#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "ockham/eval/evaluate.h"
#include "tests/eval/fake_model.h"
#include "tests/io/scratch.h"

namespace ockham {
namespace {

constexpr const char* kChoice = R"(tag: [science]
task: quiz
dataset_path: json
dataset_kwargs:
  data_files: {test: quiz.jsonl, train: train.jsonl}
training_split: train
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{question}}\nAnswer:"
doc_to_target: "{{choices.label.index(answerKey)}}"
doc_to_choice: "{{choices.text}}"
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
  - metric: acc_norm
metadata: {version: 1.0}
)";
constexpr const char* kRows =
    R"({"question": "two?", "choices": {"text": ["1", "2"], "label": ["A", "B"]}, "answerKey": "B"}
{"question": "one?", "choices": {"text": ["1", "2"], "label": ["A", "B"]}, "answerKey": "A"}
)";

class Harness : public testing::Test {
 protected:
  void SetUp() override {
    scratch_.put("quiz.jsonl", kRows);
    scratch_.put("train.jsonl", kRows);
  }
  std::string refusal(const std::string& from, const std::string& to) {
    std::string text = kChoice;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    const std::string path = scratch_.put("bad.yaml", text);
    EXPECT_TRUE(is_harness_file(path));
    try {
      read_harness_tasks(path);
    } catch (const Error& error) {
      EXPECT_EQ(exit_code(error.kind()), 2);
      return error.what();
    }
    return "";
  }
  Scratch scratch_;
};

TEST_F(Harness, RunsAMultipleChoiceTask) {
  const std::vector<Task> tasks = find_tasks({scratch_.put("quiz.yaml", kChoice)}, scratch_.path());
  ASSERT_EQ(tasks.size(), 1U);
  EXPECT_EQ(tasks[0].name, "quiz");
  EXPECT_EQ(tasks[0].metrics[0].name, "acc");
  FakeModel model([](const std::string& prompt, uint64_t) {
    return prompt.ends_with("Question: two?\nAnswer:") ? " 2" : "neither";
  });
  const TaskResult result = evaluate(model, tasks[0], {});
  EXPECT_DOUBLE_EQ(result.metrics[0].value, 100);  // " 2" is wanted; behind "one?" the tie goes to the first
  EXPECT_EQ(result.items[0].prompt, "Question: two?\nAnswer:");
  EvalOptions options;
  options.num_fewshot = 1;
  EXPECT_EQ(evaluate(model, tasks[0], options).items.size(), 2U);
}

TEST_F(Harness, IncludesAndOverrides) {
  scratch_.put("_base", kChoice);
  const Task task = read_harness_tasks(scratch_.put(
      "child.yaml",
      "include: _base\ntask: child\nmetric_list: null\nnum_fewshot: 1\nfewshot_config: {sampler: first_n}\n"
      "fewshot_split: train\ndescription: \"Quiz.\\n\\n\"\n"))[0];
  EXPECT_EQ(task.name, "child");
  EXPECT_EQ(task.metrics.size(), 2U);
  FakeModel model([](const std::string&, uint64_t) { return ""; });
  EXPECT_EQ(evaluate(model, task, {}).items[1].prompt, "Quiz.\n\nQuestion: two?\nAnswer: 2\n\nQuestion: one?\nAnswer:");
  scratch_.put("loop", "include: loop\n");
  EXPECT_THROW(read_harness_tasks(scratch_.put("looped.yaml", "include: loop\ntask: x\n")), Error);
}

TEST_F(Harness, WrittenAnswersWithFilters) {
  scratch_.put("sums.jsonl", "{\"q\": \"1+1\", \"a\": \"2\"}\n");
  const Task task = read_harness_tasks(scratch_.put("sums.yaml", R"yaml(task: sums
dataset_path: json
data_files: {test: sums.jsonl}
test_split: test
doc_to_text: "{{q}}="
doc_to_target: a
generation_kwargs: {until: ["\n"], do_sample: false, max_gen_toks: 8}
filter_list:
  - name: number
    filter:
      - {function: regex, regex_pattern: "([0-9]+)"}
      - {function: take_first}
  - name: whole
    filter: [{function: remove_whitespace}, {function: take_first}]
metric_list:
  - {metric: exact_match, ignore_case: true}
)yaml"))[0];
  EXPECT_EQ(task.max_tokens, 8);
  EXPECT_EQ(task.stop, std::vector<std::string>{"\n"});
  FakeModel model([](const std::string&, uint64_t) { return " it is 2"; });
  const TaskResult result = evaluate(model, task, {});
  EXPECT_DOUBLE_EQ(result.metrics[0].value, 100);
  EXPECT_DOUBLE_EQ(result.metrics[1].value, 0);
}

TEST_F(Harness, GroupsNameTheirTasks) {
  scratch_.put("quiz.yaml", kChoice);
  std::string other = kChoice;
  other.replace(other.find("task: quiz"), 10, "task: other");
  scratch_.put("other.yaml", other);
  const std::vector<Task> tasks =
      read_harness_tasks(scratch_.put("group.yaml", "group: all\ntask: [science]\nmetadata: {version: 1}\n"));
  ASSERT_EQ(tasks.size(), 2U);
  EXPECT_EQ(tasks[0].collection, "all");
  EXPECT_THROW(read_harness_tasks(scratch_.put("empty.yaml", "group: none\ntask: [absent]\n")), Error);
}

TEST_F(Harness, RefusesByName) {
  EXPECT_NE(refusal("doc_to_text: \"Question: {{question}}\\nAnswer:\"", "doc_to_text: !function utils.f")
                .find("doc_to_text"),
            std::string::npos);
  EXPECT_NE(refusal("test_split: test", "test_split: test\nprocess_docs: !function utils.f").find("process_docs"),
            std::string::npos);
  EXPECT_NE(refusal("metadata:", "gen_prefix: x\nmetadata:").find("gen_prefix"), std::string::npos);
  EXPECT_NE(refusal("metric: acc\n", "metric: brier_score\n").find("brier_score"), std::string::npos);
  EXPECT_NE(refusal("output_type: multiple_choice", "output_type: best").find("output_type"), std::string::npos);
  EXPECT_NE(refusal("test_split: test\n", "").find("validation_split"), std::string::npos);
  EXPECT_NE(refusal("doc_to_choice: \"{{choices.text}}\"\n", "").find("doc_to_choice"), std::string::npos);
  EXPECT_NE(refusal("{test: quiz.jsonl", "{test: 'https://x/y'").find("address"), std::string::npos);
  EXPECT_NE(refusal("tag: [science]", "repeats: 4").find("repeats"), std::string::npos);
}

TEST_F(Harness, DataThatDoesNotFit) {
  const auto message = [&](const std::string& rows) -> std::string {
    scratch_.put("quiz.jsonl", rows);
    FakeModel model([](const std::string&, uint64_t) { return ""; });
    try {
      evaluate(model, read_harness_tasks(scratch_.put("quiz.yaml", kChoice))[0], {});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(message("{\"question\": \"a\"}\n").find("undefined"), std::string::npos);
  EXPECT_NE(message("{\"question\": \"a\", \"choices\": {\"text\": [\"x\",\"y\"], \"label\": [\"A\",\"B\"]}, "
                    "\"answerKey\": \"C\"}\n")
                .find("row 1"),
            std::string::npos);
  EXPECT_NE(message("{\"question\": \"a\", \n").find("line 1"), std::string::npos);
  EXPECT_NE(message("").find("quiz.jsonl"), std::string::npos);
}

}  // namespace
}  // namespace ockham
