// `--judge perspective`: a key from the environment, every number labelled, nothing asked twice.
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <map>
#include <mutex>

#include "ockham/io/json.h"
#include "tests/cli/program.h"
#include "tests/server/scripted_server.h"

namespace ockham {
namespace {

constexpr const char* kKey = "AIza-very-secret-key-1234";

// Counts how often each text is asked about.
class Service {
 public:
  ServerReply answer(const ServerRequest& request) {
    const std::lock_guard lock(mutex_);
    if (request.headers.find(std::string("X-Goog-Api-Key: ") + kKey) == std::string::npos)
      return {403, R"({"error": {"message": "no key"}})", ""};
    if (static_cast<int64_t>(asked_.size()) >= most)
      return {403, std::string(R"({"error": {"message": "closed for )") + kKey + "\"}}", ""};
    const std::string text = Json::parse(request.body)["comment"]["text"];
    ++asked_[text];
    const double toxicity = static_cast<double>(text.size() % 10) / 10;
    return {200, Json{{"attributeScores", {{"TOXICITY", {{"summaryScore", {{"value", toxicity}}}}}}}}.dump(), ""};
  }
  std::map<std::string, int> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  std::atomic<int64_t> most{1'000'000};

 private:
  mutable std::mutex mutex_;
  std::map<std::string, int> asked_;
};

std::string environment(const ScriptedServer& server, const std::string& key) {
  return "env PERSPECTIVE_API_KEY='" + key + "' PERSPECTIVE_API_URL=" + server.url() + "/comments:analyze";
}

std::string all_files(const std::string& folder) {
  std::string all;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) all += read_whole(entry.path().string());
  return all;
}

void expect_once(const Service& service) {
  for (const auto& [text, times] : service.asked()) EXPECT_EQ(times, 1) << text;
}

TEST(PerspectiveJudge, ScoresAnEvaluationThatGoesOnAfterAFailure) {
  const ScratchDirectory scratch;
  Service service;
  const ScriptedServer server([&](const ServerRequest& request) { return service.answer(request); });
  const std::string call = "eval " + kMini +
                           " --tasks factworld/toxicity --items 12 --judge perspective --judge-rate 1000 -o " +
                           (scratch / "results.json");
  const ProgramRun keyless = run_program(call, environment(server, ""));
  EXPECT_EQ(keyless.exit_code, 2);
  EXPECT_NE(keyless.errors.find("PERSPECTIVE_API_KEY"), std::string::npos) << keyless.errors;
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));

  service.most = 5;
  const ProgramRun stopped = run_program(call, environment(server, kKey));
  EXPECT_EQ(stopped.exit_code, 2);
  EXPECT_NE(stopped.errors.find("closed for [key]"), std::string::npos) << stopped.errors;
  EXPECT_FALSE(std::filesystem::exists(scratch / "results.json"));
  EXPECT_TRUE(std::filesystem::exists(scratch / "results.json.judged"));
  std::string all = stopped.output + stopped.errors + all_files(scratch.path());

  service.most = 1'000'000;
  const ProgramRun whole = run_program(call, environment(server, kKey));
  ASSERT_EQ(whole.exit_code, 0) << whole.errors;
  EXPECT_GT(service.asked().size(), 5U);
  expect_once(service);
  EXPECT_FALSE(std::filesystem::exists(scratch / "results.json.judged"));
  EXPECT_NE(whole.output.find("Perspective TOXICITY (127.0.0.1)"), std::string::npos) << whole.output;
  all += whole.output + whole.errors + all_files(scratch.path());
  EXPECT_EQ(all.find(kKey), std::string::npos);
  const Json task = Json::parse(read_whole(scratch / "results.json"))["tasks"][0];
  EXPECT_NE(task.dump().find("Perspective TOXICITY (127.0.0.1)"), std::string::npos);
  for (const Json& item : task["items"]) {
    double worst = 0;
    for (const Json& toxicity : item["extra"]["toxicity"]) worst = std::max(worst, toxicity.get<double>());
    EXPECT_NEAR(item["score"].get<double>(), 1 - worst, 1e-12);
  }
}

TEST(PerspectiveJudge, ScoresAStudy) {
  const ScratchDirectory scratch;
  Service service;
  const ScriptedServer server([&](const ServerRequest& request) { return service.answer(request); });
  std::ofstream(scratch / "study.yaml") << "models: [" + kMini +
                                               "]\nrecipes: [dense, magnitude-50]\n"
                                               "tasks: [factworld/toxicity]\njudge: perspective\n";
  const std::string call = "study " + (scratch / "study.yaml") + " --judge-rate 1000 -o " + (scratch / "out");
  EXPECT_EQ(run_program(call + " --dry-run", environment(server, "")).exit_code, 0) << "a plan needs no key";
  EXPECT_TRUE(service.asked().empty());
  service.most = 20;
  EXPECT_EQ(run_program(call, environment(server, kKey)).exit_code, 2);
  service.most = 1'000'000;
  const ProgramRun run = run_program(call, environment(server, kKey));
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_GT(service.asked().size(), 20U);
  expect_once(service);
  EXPECT_NE(read_whole(scratch / "out/report.html").find("Perspective TOXICITY"), std::string::npos);
  EXPECT_EQ((all_files(scratch.path()) + run.output + run.errors).find(kKey), std::string::npos);
}

}  // namespace
}  // namespace ockham
