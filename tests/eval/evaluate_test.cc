// Prompts, choice of items, batches, notes and metrics.
#include "ockham/eval/evaluate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "tests/eval/fake_model.h"

namespace ockham {
namespace {

Task chat_task() {
  Task task;
  task.name = "test/task";
  task.file = "test.yaml";
  task.scorer = "contains";
  task.world_suite = "items";
  task.description = "Answer.";
  task.system = "Be kind.";
  task.items = {{Tier::kQuick, 0}, {Tier::kFull, 0}};
  task.samples = {{Tier::kQuick, 1}, {Tier::kFull, 1}};
  task.metrics = {{"accuracy", "score", true, true}, {"refusal", "refusal", false, false}};
  return task;
}

std::vector<Json> numbered(int count) {
  std::vector<Json> items;
  for (int i = 0; i < count; ++i)
    items.push_back({{"id", fmt::format("i{}", i)},
                     {"input", fmt::format("question {}", i)},
                     {"label", i % 2 == 0 ? "even" : "odd"},
                     {"option", {"even", "odd"}},
                     {"part", i % 4 < 3 ? "a" : "b"}});
  return items;
}

EvalOptions with_items(const std::vector<Json>& items) {
  EvalOptions options;
  options.world_items = [items](const std::string&) { return items; };
  return options;
}

std::string coin(const std::string&, uint64_t seed) {
  return Rng(seed).chance(0.5) ? "even" : "odd";
}

TEST(Prompt, ChatLayout) {
  const FakeModel model(coin);
  Task task = chat_task();
  Json item = {{"id", 1}, {"input", "Q?"}, {"label", "x"}};
  EXPECT_EQ(build_prompt(model, task, item).text, "<system>Be kind.<user>Answer.\nQ?<assistant>");
  item["examples"] = Json::array({Json::array({"T1", "not Wrong"}), Json::array({"T2", "wrong"})});
  EXPECT_EQ(build_prompt(model, task, item).text,
            "<system>Be kind.<user>Answer.\nT1<assistant>Not wrong<user>T2<assistant>Wrong<user>Q?<assistant>");
  task.few_shot_ack = "Sure!";
  task.few_shot_system = "Follow.";
  task.capitalizes_labels = false;
  EXPECT_EQ(build_prompt(model, task, item).text,
            "<system>Follow.<user>Answer.<assistant>Sure!<user>T1<assistant>not "
            "Wrong<user>T2<assistant>wrong<user>Q?<assistant>");
  item["system"] = "Own.";
  item["description"] = "Do.";
  item.erase("examples");
  EXPECT_EQ(build_prompt(model, task, item).text, "<system>Own.<user>Do.\nQ?<assistant>");
}

TEST(Prompt, PlainFieldsMustBeThere) {
  const FakeModel model(coin);
  Task task = chat_task();
  task.is_chat = false;
  task.plain_prompt = "{{Q}} {input} by {who}:";
  Json item = {{"id", 1}, {"input", "why"}, {"who", "Anna"}, {"examples", Json::array({Json::array({"how", "so"})})}};
  EXPECT_EQ(build_prompt(model, task, item).text, "{Q} how by Anna: so\n\n{Q} why by Anna:");
  EXPECT_FALSE(build_prompt(model, task, item).is_rendered);
  item["who"] = "";
  EXPECT_THROW(build_prompt(model, task, item), Error);
  item.erase("who");
  EXPECT_THROW(build_prompt(model, task, item), Error);
}

TEST(Evaluate, QuickItemsAreAmongTheFullOnesInProportion) {
  Task task = chat_task();
  task.items = {{Tier::kQuick, 40}, {Tier::kFull, 200}};
  EvalOptions options = with_items(numbered(400));
  const std::vector<Json> quick = task_items(task, options);
  options.tier = Tier::kFull;
  std::set<std::string> full;
  for (const Json& item : task_items(task, options)) full.insert(item["id"].get<std::string>());
  ASSERT_EQ(quick.size(), 40U);
  EXPECT_EQ(full.size(), 200U);
  int even = 0, in_a = 0;
  for (const Json& item : quick) {
    EXPECT_TRUE(full.contains(item["id"].get<std::string>()));
    even += item["label"] == "even";
    in_a += item["part"] == "a";
  }
  EXPECT_NEAR(even, 20, 1);
  EXPECT_NEAR(in_a, 30, 1);
  options.max_items = 7;
  EXPECT_EQ(task_items(task, options).size(), 7U);
}

TEST(Evaluate, SampledAnswersDoNotDependOnTheOtherItems) {
  Task task = chat_task();
  task.temperature = 1;
  task.samples[Tier::kQuick] = 3;
  FakeModel model(coin);
  const std::vector<Json> items = numbered(600);
  const TaskResult all = evaluate(model, task, with_items(items));
  ASSERT_EQ(all.items.size(), 600U);
  EXPECT_LE(model.largest_batch, 512U);
  const TaskResult one = evaluate(model, task, with_items({items[77]}));
  EXPECT_EQ(one.items[0].answer, all.items[77].answer);
  EvalOptions other = with_items({items.begin(), items.begin() + 50});
  other.seed = 1;
  const TaskResult reseeded = evaluate(model, task, other);
  int changed = 0;
  for (size_t i = 0; i < 50; ++i) changed += reseeded.items[i].answer != all.items[i].answer;
  EXPECT_GT(changed, 25);
}

TEST(Evaluate, StoresEveryBatchAndAggregatesAgain) {
  Task task = chat_task();
  FakeModel model(coin);
  EvalOptions options = with_items(numbered(600));
  std::vector<ItemResult> stored;
  int batches = 0;
  options.on_items = [&](const std::vector<ItemResult>& items) {
    ++batches;
    stored.insert(stored.end(), items.begin(), items.end());
  };
  const TaskResult result = evaluate(model, task, options);
  EXPECT_EQ(batches, 2);
  const std::vector<MetricResult> again = aggregate(task, stored);
  ASSERT_EQ(again.size(), result.metrics.size());
  EXPECT_EQ(again[0].value, result.metrics[0].value);
  EXPECT_EQ(again[0].low, result.metrics[0].low);
  EXPECT_LT(again[0].low, again[0].value);
  EXPECT_GT(again[0].high, again[0].value);
  EXPECT_EQ(again[0].unit, "points");
  EXPECT_EQ(again[0].n, 600);
  EXPECT_EQ(score_of(task, stored, {}), again[0].value);
  EXPECT_EQ(score_of(task, stored, {3, 3}), 100 * stored[3].score);
  EXPECT_EQ(stored[0].prompt_sha, sha256_text(stored[0].prompt));
  EXPECT_EQ(result.data_sha256.size(), 64U);
}

TEST(Evaluate, NotesSayWhatWentWrong) {
  std::vector<Json> items = numbered(10);
  items[3]["input"] = "<long> one";
  FakeModel model(
      [](const std::string& prompt, uint64_t) { return prompt.find("question 5") != std::string::npos ? "" : "odd"; });
  const TaskResult result = evaluate(model, chat_task(), with_items(items));
  ASSERT_EQ(result.notes.size(), 2U);
  EXPECT_EQ(result.notes[0], "1 of 10 prompts were longer than the model's context; 3 tokens were cut on the left");
  EXPECT_EQ(result.notes[1], "1 of 10 answers are empty");
}

TEST(Evaluate, RefusesBadItems) {
  FakeModel model(coin);
  EXPECT_THROW(evaluate(model, chat_task(), with_items({})), Error);
  std::vector<Json> items = numbered(3);
  items[2]["id"] = "i0";
  EXPECT_THROW(evaluate(model, chat_task(), with_items(items)), Error);
  items = numbered(3);
  items[1].erase("label");
  EXPECT_THROW(evaluate(model, chat_task(), with_items(items)), Error);
  EXPECT_THROW(evaluate(model, chat_task(), EvalOptions()), Error);
}

TEST(Evaluate, PerplexityInWindows) {
  FakeModel model(coin);
  Task task = chat_task();
  task.kind = RequestKind::kPerplexity;
  task.scorer = "perplexity";
  task.world_suite = "heldout";
  task.metrics = {{"perplexity", "perplexity", false, true}};
  EvalOptions options;
  options.world_text = [](const std::string&) { return std::string(50, 'x'); };
  const TaskResult result = evaluate(model, task, options);
  ASSERT_EQ(result.items.size(), 3U);  // 50 tokens, context 16
  EXPECT_NEAR(result.metrics[0].value, 2, 1e-6);
  EXPECT_EQ(result.metrics[0].unit, "ppl");
  EXPECT_NE(result.notes[0].find("3 windows of 16"), std::string::npos);
  task.scorer_params["window"] = int64_t{10};
  EXPECT_EQ(evaluate(model, task, options).items.size(), 5U);
  options.world_text = [](const std::string&) { return std::string("abcd"); };
  EXPECT_EQ(evaluate(model, task, options).items.size(), 1U);  // shorter than a window: used whole
  options.world_text = [](const std::string&) { return std::string("a"); };
  EXPECT_THROW(evaluate(model, task, options), Error);
}

}  // namespace
}  // namespace ockham
