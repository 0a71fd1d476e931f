// Answers written as the benchmark's result files, or kept in results, score the same when they are read back.
#include "ockham/eval/stored_answers.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "ockham/core/error.h"
#include "tests/eval/fake_model.h"
#include "tests/test_data.h"

namespace ockham {
namespace {
namespace fs = std::filesystem;

class StoredAnswersTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(test_data("data") + "/decodingtrust"))
      GTEST_SKIP() << test_data("data") << " is absent: set OCKHAM_TEST_DATA to the test data's directory";
    std::string pattern = (fs::temp_directory_path() / "ockham-stored-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
    options_.data_directory = test_data("data");
    options_.max_items = 120;
  }
  void TearDown() override {
    if (!path_.empty()) fs::remove_all(path_);
  }
  static Task task(const std::string& name) {
    return read_task(std::string(OCKHAM_SOURCE_DIR) + "/tasks/" + name + ".yaml");
  }
  // Answers that depend on prompt and sample, so that a mix-up of rows shows.
  static std::string answer(const std::string& prompt, uint64_t seed) {
    const char* texts[] = {"yes", "No, never.", "positive", "I agree.", "I'm sorry, I cannot", "2", "", "wrong"};
    return texts[mix_seed(seed, prompt.size()) % 8];
  }
  std::string path_;
  EvalOptions options_;
};

TEST_F(StoredAnswersTest, EveryDimensionScoresTheSameFromItsFiles) {
  for (const char* name : {"trust/adv-demonstrations", "trust/fairness", "trust/machine-ethics", "trust/ood",
                           "trust/privacy", "trust/stereotype", "advglue/dev"}) {
    SCOPED_TRACE(name);
    const Task asked = task(name);
    FakeModel model(answer);
    const TaskResult first = evaluate(model, asked, options_);
    const std::string folder = path_ + "/" + asked.dimension;
    write_benchmark_answers(folder, "fake", asked, task_items(asked, options_), first.items);
    StoredAnswers stored(folder, asked, options_);
    const TaskResult second = evaluate(stored, asked, options_);
    ASSERT_EQ(first.items.size(), second.items.size());
    for (size_t i = 0; i < first.items.size(); ++i) {
      EXPECT_EQ(first.items[i].id, second.items[i].id);
      EXPECT_EQ(first.items[i].answer, second.items[i].answer) << first.items[i].id;
      EXPECT_EQ(first.items[i].score, second.items[i].score) << first.items[i].id;
    }
    for (size_t m = 0; m < first.metrics.size(); ++m) {
      EXPECT_EQ(first.metrics[m].value, second.metrics[m].value) << first.metrics[m].name;
      EXPECT_EQ(first.metrics[m].low, second.metrics[m].low) << first.metrics[m].name;
    }
  }
}

TEST_F(StoredAnswersTest, AResultsFileIsReadById) {
  const Task asked = task("trust/fairness");
  FakeModel model(answer);
  const TaskResult first = evaluate(model, asked, options_);
  Json items = Json::array();
  for (auto it = first.items.rbegin(); it != first.items.rend(); ++it)
    items.push_back({{"id", it->id}, {"answer", it->answer}});
  const std::string file = path_ + "/results.json";
  const auto write = [&](const Json& list) {
    std::ofstream(file) << Json{{"tasks", {{{"task", asked.name}, {"items", list}}}}}.dump();
  };
  write(items);
  StoredAnswers stored(file, asked, options_);
  EXPECT_EQ(evaluate(stored, asked, options_).metrics[0].value, first.metrics[0].value);
  Json twice = items;
  twice.push_back(items[0]);
  write(twice);
  EXPECT_THROW(StoredAnswers(file, asked, options_), Error);
  items.erase(0);
  write(items);
  EXPECT_THROW(StoredAnswers(file, asked, options_), Error);
}

TEST_F(StoredAnswersTest, RunsOfAnotherLengthAndBrokenFilesAreRefused) {
  const Task asked = task("trust/adv-demonstrations");
  FakeModel model(answer);
  const TaskResult first = evaluate(model, asked, options_);
  write_benchmark_answers(path_, "fake", asked, task_items(asked, options_), first.items);
  EvalOptions more = options_;
  more.max_items = 200;
  EXPECT_THROW(StoredAnswers(path_, asked, more), Error);
  const RunPlace place = run_place(asked, task_items(asked, options_)[0]);
  const std::string file = path_ + "/" + place.folder + "/fake" + place.suffix;
  ASSERT_TRUE(fs::exists(file));
  for (const char* text : {"[[{\"message\": 3}]]", "{\"responses\": 1}", "{", "[]"}) {
    std::ofstream(file) << text;
    EXPECT_THROW(StoredAnswers(path_, asked, options_), Error) << text;
  }
  EXPECT_THROW(StoredAnswers(path_ + "/nowhere", asked, options_), Error);
}

}  // namespace
}  // namespace ockham
