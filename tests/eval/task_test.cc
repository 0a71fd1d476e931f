// Task files: what is read, what is refused, how tasks are found.
#include "ockham/eval/task.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/io/file.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTask = R"(task: demo/privacy
version: 1
summary: does a secret come out
dimension: privacy
items: {quick: 20, full: 0}
data: {world: privacy}
request: {kind: generate, max_tokens: 12, temperature: 0.5, samples: {quick: 2, full: 5}, stop: ["\n"]}
prompt: {system: be kind, description: answer}
scorer: privacy
params: {reject: [no way, "never, ever"]}
metrics:
  - {name: privacy, aggregate: score, better: higher, score: true}
  - {name: leak, aggregate: leak, better: lower}
control: demo/control
chance: 50
)";

class TaskFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "/tasks-" + testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_ + "/demo");
  }
  std::string write(const std::string& name, const std::string& text) {
    write_file_atomically(folder_ + "/" + name, text);
    return folder_ + "/" + name;
  }
  // The message of the error that reading gives, with one text replaced.
  std::string refusal(const std::string& from, const std::string& to) {
    std::string text = kTask;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    try {
      read_task(write("demo/bad.yaml", text));
    } catch (const Error& error) {
      EXPECT_EQ(exit_code(error.kind()), 2);
      return error.what();
    }
    return "";
  }
  std::string folder_;
};

TEST_F(TaskFiles, ReadsEveryKey) {
  const Task task = read_task(write("demo/privacy.yaml", kTask));
  EXPECT_EQ(task.name, "demo/privacy");
  EXPECT_EQ(task.items.at(Tier::kQuick), 20);
  EXPECT_EQ(task.samples.at(Tier::kFull), 5);
  EXPECT_EQ(task.stop, std::vector<std::string>{"\n"});
  EXPECT_EQ(task.world_suite, "privacy");
  EXPECT_TRUE(task.is_chat);
  EXPECT_EQ(task.metrics.size(), 2U);
  EXPECT_TRUE(task.metrics[0].is_score);
  EXPECT_FALSE(task.metrics[1].higher_is_better);
  EXPECT_EQ(task.control, "demo/control");
  EXPECT_DOUBLE_EQ(task.chance, 50);
  EXPECT_EQ(task.sha256.size(), 64U);
  EXPECT_EQ(std::get<std::string>(task.scorer_params.at("reject")), "no way\x1fnever, ever");
}

TEST_F(TaskFiles, RefusesWhatItDoesNotKnow) {
  EXPECT_NE(refusal("dimension:", "dimensoin:").find("dimension"), std::string::npos);
  EXPECT_NE(refusal("max_tokens: 12", "max_token: 12").find("max_token"), std::string::npos);
  EXPECT_NE(refusal("scorer: privacy", "scorer: privcy").find("did you mean 'privacy'"), std::string::npos);
  EXPECT_NE(refusal("reject:", "rejects:").find("did you mean 'reject'"), std::string::npos);
  EXPECT_NE(refusal("aggregate: leak", "aggregate: laek").find("leak_answered"), std::string::npos);
  EXPECT_NE(refusal(", score: true", "").find("exactly one"), std::string::npos);
  EXPECT_NE(refusal("{world: privacy}", "{world: privacy, file: x.jsonl}").find("one of"), std::string::npos);
  EXPECT_NE(refusal("kind: generate", "kind: choice").find("privacy"), std::string::npos);
  EXPECT_NE(refusal("better: lower", "better: less").find("higher or lower"), std::string::npos);
  EXPECT_NE(refusal("temperature: 0.5", "temperature: 0").find("temperature 0"), std::string::npos);
  EXPECT_NE(refusal("version: 1", "version: 2").find("version 1"), std::string::npos);
  EXPECT_NE(refusal("quick: 20", "quick: -1").find("at least 0"), std::string::npos);
}

TEST_F(TaskFiles, FindsByNameGlobAndPath) {
  std::string control = kTask;
  control.replace(control.find("demo/privacy"), 12, "demo/control");
  write("demo/privacy.yaml", kTask);
  const std::string path = write("demo/control.yaml", control);
  EXPECT_EQ(find_tasks({"demo/*"}, folder_).size(), 2U);
  EXPECT_EQ(find_tasks({"demo/privacy", "demo/*", "demo/privacy"}, folder_).size(), 2U);
  EXPECT_EQ(find_tasks({path}, folder_)[0].name, "demo/control");
  try {
    find_tasks({"demo/privcy"}, folder_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    EXPECT_NE(std::string(error.what()).find("did you mean 'demo/privacy'"), std::string::npos);
  }
  write("demo/other.yaml", control);
  EXPECT_THROW(find_tasks({"demo/other"}, folder_), Error);  // name and place disagree
}

TEST_F(TaskFiles, PerplexityOfAFileNeedsTheFile) {
  EXPECT_THROW(find_tasks({"perplexity:" + folder_ + "/absent.txt"}, folder_), Error);
  const Task task = find_tasks({"perplexity:" + write("demo/text.txt", "abc")}, folder_)[0];
  EXPECT_EQ(task.kind, RequestKind::kPerplexity);
  EXPECT_FALSE(task.metrics[0].higher_is_better);
}

TEST(TaskFolder, EveryShippedTaskIsWellFormed) {
  const std::vector<Task> tasks = find_tasks({"*"}, std::string(OCKHAM_SOURCE_DIR) + "/tasks");
  EXPECT_FALSE(tasks.empty());
  std::vector<std::string> names;
  for (const Task& task : tasks) names.push_back(task.name);
  for (const Task& task : tasks) {
    if (task.control.empty()) continue;
    EXPECT_NE(std::find(names.begin(), names.end(), task.control), names.end()) << task.name;
  }
}

}  // namespace
}  // namespace ockham
