// An evaluation that is killed and resumed gives byte for byte what an uninterrupted one gives, and asks little twice.
#include "ockham/eval/journal.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "tests/eval/fake_model.h"
#include "tests/io/scratch.h"

namespace ockham {
namespace {

constexpr int kItems = 1700;  // four batches of a small model

// Everything of a result that a report could show; no times.
std::string text_of(const TaskResult& result) {
  Json json = {{"data", result.data_sha256}, {"notes", result.notes}, {"protocol", result.protocol}};
  for (const ItemResult& item : result.items) json["items"].push_back(item_json(item));
  for (const MetricResult& metric : result.metrics)
    json["metrics"].push_back({metric.name, metric.value, metric.low, metric.high, metric.n});
  return json.dump();
}

struct Plan {
  Task task;
  EvalOptions options;
};

Plan ask(const Scratch& scratch, const std::string& kind) {
  Plan plan;
  const std::string request = kind == "choice" ? "{kind: choice}" : "{kind: generate, max_tokens: 4, temperature: 1}";
  plan.task = read_task(scratch.put(
      kind + ".yaml",
      "task: t/" + kind + "\nsummary: s\ndimension: d\nitems: {quick: 0, full: 0}\ndata: {world: w}\nrequest: " +
          request + "\nprompt: {system: s, description: d}\nscorer: " + (kind == "choice" ? "choice" : "contains") +
          "\nmetrics:\n  - {name: accuracy, aggregate: score, better: higher, score: true}\n"));
  plan.options.world_items = [](const std::string&) {
    std::vector<Json> items;
    for (int i = 0; i < kItems; ++i)
      items.push_back({{"id", fmt::format("i{}", i)},
                       {"input", fmt::format("question {}{}", i, i % 100 == 7 ? " <long>" : "")},
                       {"option", {"yes", "no"}},
                       {"answers", {"yes"}},
                       {"label", i % 2}});
    return items;
  };
  return plan;
}

Plan perplexity(const Scratch& scratch, const std::string& protocol) {
  Plan plan;
  // Documents, which lm-eval scores one by one; windows of 16 bytes, 4096 of them to a batch.
  std::string lines;
  for (int document = 0; document < 300; ++document) {
    std::string text;
    for (int i = 0; i < 500 + document; ++i) text += static_cast<char>('a' + (i * i + document) % 23);
    lines += Json{{"text", text}}.dump() + "\n";
  }
  plan.task = find_tasks({"perplexity:" + scratch.put(protocol + ".jsonl", lines)}, scratch.path())[0];
  plan.options.protocol = protocol;
  plan.options.tier = Tier::kFull;
  return plan;
}

// Answers follow from prompt and seed. `kill_at`: the call that does not return; 0: none.
struct Counting {
  int64_t calls = 0, kill_at = 0;
  std::string arithmetic = "float32 on cpu";
  FakeModel model{[this](const std::string& prompt, uint64_t seed) {
    count();
    return std::string(mix_seed(seed, prompt.size()) % 3 == 0 ? "yes" : "no");
  }};
  void count() {
    if (++calls == kill_at) kill(getpid(), SIGKILL);
  }
};

// FakeModel with counted, distinct log-likelihoods.
class CountingText final : public LanguageModel {
 public:
  explicit CountingText(Counting& counting) : counting_(counting), info_(counting.model.info()) {
    info_.arithmetic = counting.arithmetic;
  }
  const ModelInfo& info() const override { return info_; }
  Prompt render(std::span<const ChatMessage> messages, bool generation) const override {
    return counting_.model.render(messages, generation);
  }
  std::vector<ScoreAnswer> score(std::span<const ScoreRequest> requests) override {
    return counting_.model.score(requests);
  }
  std::vector<GenerateAnswer> generate(std::span<const GenerateRequest> requests) override {
    return counting_.model.generate(requests);
  }
  std::vector<SequenceScore> score_sequences(std::span<const std::vector<int32_t>> sequences) override {
    std::vector<SequenceScore> scores;
    for (const auto& sequence : sequences) {
      counting_.count();
      SequenceScore score;
      for (size_t i = 1; i < sequence.size(); ++i)
        score.logprobs.push_back(-0.01F * static_cast<float>((sequence[i] * 7 + sequence[i - 1]) % 101));
      scores.push_back(std::move(score));
    }
    return scores;
  }
  std::vector<int32_t> tokenize(const std::string& text, bool special) const override {
    return counting_.model.tokenize(text, special);
  }

 private:
  Counting& counting_;
  ModelInfo info_;
};

TaskResult run(const Plan& plan, Counting& counting, EvalJournal* journal) {
  EvalOptions options = plan.options;
  if (journal != nullptr) journal->attach(options);
  CountingText model(counting);
  return evaluate(model, plan.task, options);
}

// Kills a child at the given call, then resumes.
void kill_and_resume(const Plan& plan, const std::string& journal_file, int64_t kill_at, int64_t most_asked_again) {
  Counting whole;
  const std::string expected = text_of(run(plan, whole, nullptr));
  ASSERT_GT(whole.calls, kill_at);
  const pid_t child = fork();
  if (child == 0) {
    try {
      EvalJournal journal(journal_file);
      Counting counting;
      counting.kill_at = kill_at;
      run(plan, counting, &journal);
    } catch (const std::exception&) {
      _exit(3);
    }
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EvalJournal journal(journal_file);
  Counting resumed;
  EXPECT_EQ(text_of(run(plan, resumed, &journal)), expected);
  EXPECT_GT(journal.resumed(), 0);
  EXPECT_LE(resumed.calls, whole.calls - kill_at + most_asked_again);
  // Another process may not write the same journal.
  EXPECT_THROW(EvalJournal{journal_file}, Error);
  journal.remove();
  EXPECT_FALSE(std::filesystem::exists(journal_file));
}

TEST(EvalJournal, AKilledEvaluationLosesTheBatchInFlightOnly) {
  const Scratch scratch;
  for (const char* kind : {"generate", "choice"}) {
    SCOPED_TRACE(kind);
    kill_and_resume(ask(scratch, kind), scratch.file(kind), kind[0] == 'g' ? 1200 : 2400, kind[0] == 'g' ? 512 : 1024);
  }
}

TEST(EvalJournal, AKilledPerplexityRestartsAtABatchAndADocument) {
  const Scratch scratch;
  for (const char* protocol : {"plain", "lm-eval"}) {
    SCOPED_TRACE(protocol);
    kill_and_resume(perplexity(scratch, protocol), scratch.file(std::string(protocol) + ".journal"), 9000, 4096);
  }
}

TEST(EvalJournal, OtherSettingsTakeNothingOver) {
  const Scratch scratch;
  const Plan plan = ask(scratch, "generate");
  {
    EvalJournal journal(scratch.file("journal"));
    Counting counting;
    run(plan, counting, &journal);
    EXPECT_EQ(counting.calls, kItems);
  }
  Counting again;
  {
    EvalJournal journal(scratch.file("journal"));
    run(plan, again, &journal);
    EXPECT_EQ(again.calls, 0);
    EXPECT_EQ(journal.resumed(), kItems);
  }
  std::vector<Plan> others(5, plan);
  others[0].options.seed = 1;
  others[1].options.system_prompt = "Be brief.";
  others[2].options.generation.max_tokens = 3;
  others[3].task.sha256 = "other";
  others[4].options.world_items = [inner = plan.options.world_items](const std::string& suite) {
    std::vector<Json> items = inner(suite);
    items.back()["label"] = 0;
    return items;
  };
  for (const Plan& other : others) {
    std::filesystem::copy_file(scratch.file("journal"), scratch.file("copy"),
                               std::filesystem::copy_options::overwrite_existing);
    EvalJournal journal(scratch.file("copy"));
    Counting counting;
    run(other, counting, &journal);
    EXPECT_EQ(counting.calls, kItems);
    EXPECT_EQ(journal.resumed(), 0);
  }
  EvalJournal journal(scratch.file("journal"));
  Counting other_type;
  other_type.arithmetic = "bfloat16 on cpu";
  run(plan, other_type, &journal);
  EXPECT_EQ(other_type.calls, kItems);
  EXPECT_EQ(journal.resumed(), 0);
}

TEST(EvalJournal, ABrokenTailIsDroppedAndOtherFilesAreRefused) {
  const Scratch scratch;
  const Plan plan = ask(scratch, "generate");
  Counting first;
  const std::string expected = [&] {
    EvalJournal journal(scratch.file("journal"));
    return text_of(run(plan, first, &journal));
  }();
  const std::string text = read_file(scratch.file("journal"));
  scratch.put("journal", text.substr(0, text.size() - 100));
  EvalJournal journal(scratch.file("journal"));
  Counting counting;
  EXPECT_EQ(text_of(run(plan, counting, &journal)), expected);
  EXPECT_EQ(counting.calls, kItems % 512);
  EXPECT_THROW(EvalJournal{scratch.put("foreign", "{\"a\": 1}\n")}, Error);
  EXPECT_THROW(EvalJournal{scratch.put("text", "no JSON\n")}, Error);
  EXPECT_THROW(EvalJournal{scratch.file("nowhere/journal")}, Error);
}

}  // namespace
}  // namespace ockham
