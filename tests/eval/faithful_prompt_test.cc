// The benchmark's rendering for local models, against texts written out by hand.
#include "ockham/eval/faithful_prompt.h"

#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "ockham/eval/reference.h"
#include "ockham/eval/system_prompt.h"
#include "tests/eval/fake_model.h"

namespace ockham {
namespace {

const FaithfulTemplate& chat(const std::string& name) {
  return faithful_template(name, {});
}

TEST(FaithfulPrompt, ASystemTextReplacesTheHeadOfLlama2) {
  const std::vector<ChatMessage> zero = {{"system", "Be kind."}, {"user", "Is it?\nyes"}};
  EXPECT_EQ(render_faithful(chat("llama-2"), zero, "<s>[INST] ").text, "Be kind.Is it?\nyes[/INST]");
  const std::vector<ChatMessage> few = {{"system", "Be kind."}, {"user", "task"},     {"assistant", "Sure"},
                                        {"user", "a"},          {"assistant", "Yes"}, {"user", "b"}};
  EXPECT_EQ(render_faithful(chat("llama-2"), few, "").text,
            "Be kind.task[/INST] Sure </s><s>[INST] a [/INST] Yes </s><s>[INST] b [/INST]");
}

TEST(FaithfulPrompt, WithoutASystemTextTheTemplatesOwnHeadStands) {
  const std::vector<ChatMessage> messages = {{"user", "a"}};
  EXPECT_EQ(render_faithful(chat("llama-2"), messages, "<s>[INST] <<SYS>>\nx\n<</SYS>>\n\n").text,
            "<s>[INST] <<SYS>>\nx\n<</SYS>>\n\na[/INST]");
  const FakeModel model([](const std::string&, uint64_t) { return ""; });
  EXPECT_EQ(default_head(chat("llama-2"), model), "<user>");
  EXPECT_EQ(default_head(chat("redpajama-incite-instruct"), model), "");
}

TEST(FaithfulPrompt, OnlyTheLastSystemTextSurvives) {
  const std::vector<ChatMessage> messages = {
      {"system", "task"}, {"system", "person"}, {"system", "Yes"}, {"user", "who"}};
  EXPECT_EQ(render_faithful(chat("llama-2"), messages, "").text, "Yeswho[/INST]");
  EXPECT_EQ(render_faithful(chat("vicuna_v1.1"), messages, "").text, "Yes USER: who ASSISTANT:");
}

TEST(FaithfulPrompt, OtherTemplates) {
  const std::vector<ChatMessage> few = {{"system", "S"}, {"user", "task"}, {"assistant", "Sure"}, {"user", "a"}};
  EXPECT_EQ(render_faithful(chat("vicuna_v1.1"), few, "").text, "S USER: task ASSISTANT: Sure</s>USER: a ASSISTANT:");
  EXPECT_EQ(render_faithful(chat("redpajama-incite-instruct"), few, "").text, "Stask\nanswer: Sure\na\nanswer:");
}

TEST(FaithfulPrompt, AnAnswerWithoutTheStopTextLosesItsLastCharacter) {
  const FaithfulTemplate& base = chat("redpajama-incite-instruct");
  EXPECT_EQ(cut_faithful(base, "positive"), "positiv");
  EXPECT_EQ(cut_faithful(base, "positive\nsentence: more"), "positive\n");
  EXPECT_EQ(cut_faithful(base, "caf\xC3\xA9"), "caf");
  EXPECT_EQ(cut_faithful(base, ""), "");
  EXPECT_EQ(cut_faithful(chat("llama-2"), "positive"), "positive");
}

TEST(FaithfulPrompt, TheTemplateFollowsFromTheModelsName) {
  ModelInfo info;
  info.name = "Llama-2-13b-chat-hf";
  EXPECT_STREQ(faithful_template("", info).name, "llama-2");
  info.name = "Llama-2-13b-hf";
  EXPECT_STREQ(faithful_template("", info).name, "redpajama-incite-instruct");
  info.name = "vicuna-13b-v1.3";
  EXPECT_STREQ(faithful_template("", info).name, "vicuna_v1.1");
  info.name = "mini";
  EXPECT_THROW(faithful_template("", info), Error);
  EXPECT_THROW(faithful_template("lama-2", info), Error);
}

TEST(SystemPrompt, PresetsAndOwnTexts) {
  EXPECT_EQ(system_prompt_text("none", ""), "");
  EXPECT_EQ(system_prompt_text("Speak like a clerk.", ""), "Speak like a clerk.");
  EXPECT_THROW(system_prompt_text("helpfull", ""), Error);
  EXPECT_THROW(system_prompt_text("llama-2-safety", ""), Error);
  std::vector<ChatMessage> messages = {{"system", "own"}, {"user", "a"}};
  apply_system_prompt("first", messages);
  EXPECT_EQ(messages[0].content, "first\n\nown");
  apply_system_prompt("", messages);
  ASSERT_EQ(messages.size(), 1U);
  apply_system_prompt("first", messages);
  EXPECT_EQ(messages[0].content, "first");
}

TEST(Reference, AScoreAtChanceIsNotInterpretable) {
  Task task;
  task.chance = 50;
  MetricResult score;
  score.unit = "points";
  score.value = 56;
  score.low = 49;
  score.high = 63;  // standard error 3.57
  EXPECT_FALSE(is_interpretable(task, score));
  score.value = 58;
  EXPECT_TRUE(is_interpretable(task, score));
  score.value = 42;  // below chance is not guessing either
  EXPECT_TRUE(is_interpretable(task, score));
  task.chance = -1;
  score.value = 50;
  EXPECT_TRUE(is_interpretable(task, score));
}

TEST(Reference, PartialScoresAndControls) {
  TaskResult attacked, benign;
  attacked.task = "trust/x";
  attacked.scenarios = 4;
  EXPECT_EQ(partial_text(attacked), "");
  attacked.missing_scenarios = {"a"};
  EXPECT_EQ(partial_text(attacked), " (partial 3/4)");
  MetricResult score;
  score.is_score = true;
  score.value = 40;
  attacked.metrics = {score};
  benign.task = "trust/y";
  score.value = 80;
  benign.metrics = {score};
  Task task;
  task.name = "trust/x";
  task.control = "trust/y";
  EXPECT_EQ(control_text(task, {attacked, benign}), "trust/x: 40.0 of its control trust/y 80.0 = 50.0 %");
  EXPECT_EQ(control_text(task, {attacked}), "");
}

}  // namespace
}  // namespace ockham
