// `ockham study` with a model behind an API among its models.
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>

#include "ockham/io/json.h"
#include "ockham/study/store.h"
#include "tests/cli/program.h"
#include "tests/server/toy_api.h"

namespace ockham {
namespace {

// Answers are asked of both models, options behind a conversation of the local one only.
std::string write_study(const ScratchDirectory& scratch, const std::string& models, const std::string& rest = "") {
  std::ofstream(scratch / "study.yaml") << "models: [" << models
                                        << "]\nrecipes: [dense, rtn-4]\n"
                                           "tasks: [factworld/closed-book, factworld/multiple-choice]\n"
                                        << rest;
  return "study " + (scratch / "study.yaml") + " --api-concurrency 2 --api-retries 1 -o " + (scratch / "out");
}
std::string both(const std::string& url) {
  return "{name: mini, path: \"" + kMini + "\"}, {name: toy, path: \"" + url + "\"}";
}

TEST(StudyApi, AServersModelStandsBesideLocalOnes) {
  const ScratchDirectory scratch;
  const ToyApi toy;
  const ScriptedServer server([&](const ServerRequest& request) {
    if (request.headers.find(std::string("Authorization: Bearer ") + kSecretKey) == std::string::npos)
      return ServerReply{401, R"({"error": {"message": "a key is needed"}})", ""};
    return toy.answer(request);
  });
  const std::string call = write_study(scratch, both(server.url())), key = std::string("OCKHAM_API_KEY=") + kSecretKey;
  const ProgramRun plan = run_program(call + " --dry-run", "env -u OCKHAM_API_KEY -u OPENAI_API_KEY");
  EXPECT_EQ(plan.exit_code, 0) << plan.errors;
  EXPECT_NE(plan.output.find("toy: behind an API"), std::string::npos) << plan.output;
  EXPECT_TRUE(server.requests().empty());

  const ProgramRun run = run_program(call, key);
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_NE(run.output.find("toy: factworld/multiple-choice is not measured: "), std::string::npos) << run.output;
  EXPECT_NE(run.output.find("5 cells measured"), std::string::npos) << run.output;
  const StudyResults results = read_results(scratch / "out");
  const StoredCell *remote = results.cell("toy", "dense", 0, "factworld/closed-book"),
                   *local = results.cell("mini", "dense", 0, "factworld/closed-book");
  ASSERT_TRUE(remote != nullptr && local != nullptr);
  ASSERT_EQ(remote->items.size(), local->items.size());
  EXPECT_EQ(remote->items[0].prompt_sha.size(), 64U);
  EXPECT_TRUE(remote->items[0].answer.starts_with("answer to")) << remote->items[0].answer;
  EXPECT_EQ(results.cell("toy", "dense", 0, "factworld/multiple-choice"), nullptr);
  EXPECT_EQ(results.cell("toy", "rtn-4", 0, "factworld/closed-book"), nullptr);
  EXPECT_EQ(results.model("toy")->path, server.url());
  const std::string report = read_whole(scratch / "out/report.html");
  EXPECT_NE(report.find("factworld/multiple-choice is not measured"), std::string::npos);

  // Again: only what the server did not give is tried.
  const int64_t asked = server.count("/chat/completions");
  const ProgramRun again = run_program(call, key);
  ASSERT_EQ(again.exit_code, 0) << again.errors;
  EXPECT_EQ(server.count("/chat/completions"), asked);
  EXPECT_NE(again.output.find("0 cells measured"), std::string::npos) << again.output;
  EXPECT_NE(again.output.find("is not measured: "), std::string::npos) << again.output;

  std::string all = run.output + run.errors + again.output + again.errors;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(scratch.path()))
    if (entry.is_regular_file()) all += read_whole(entry.path().string());
  EXPECT_EQ(all.find(kSecretKey), std::string::npos);
}

TEST(StudyApi, GoesOnWhereTheServerWentAway) {
  const ScratchDirectory scratch;
  const ToyApi toy;
  std::atomic<int64_t> left{40};
  const ScriptedServer server([&](const ServerRequest& request) { return toy.answer_while(left, request); });
  const std::string call = write_study(scratch, "{name: toy, path: \"" + server.url() + "\"}");
  const ProgramRun stopped = run_program(call);
  EXPECT_EQ(stopped.exit_code, 1) << stopped.errors;
  EXPECT_NE(stopped.errors.find("run the same command again"), std::string::npos) << stopped.errors;
  left = 1'000'000;
  const int64_t before = server.count("/chat/completions");
  ASSERT_EQ(run_program(call).exit_code, 0);
  const StudyResults results = read_results(scratch / "out");
  const StoredCell* cell = results.cell("toy", "dense", 0, "factworld/closed-book");
  ASSERT_NE(cell, nullptr);
  // Two batches of 16 were kept.
  EXPECT_EQ(server.count("/chat/completions") - before, static_cast<int64_t>(cell->items.size()) - 32);
}

TEST(StudyApi, MissingItemsAreSaidAndAskedAgain) {
  const ScratchDirectory scratch;
  const ToyApi toy;
  std::atomic<bool> is_whole{false};
  std::atomic<int64_t> seen{0};
  const ScriptedServer server([&](const ServerRequest& request) {
    const bool is_bad = request.path == "/v1/chat/completions" && !is_whole && ++seen % 10 == 3;
    return is_bad ? ServerReply{422, R"({"detail": "cannot answer this"})", ""} : toy.answer(request);
  });
  const std::string call = write_study(scratch, "{name: toy, path: \"" + server.url() + "\"}");
  const ProgramRun first = run_program(call);
  ASSERT_EQ(first.exit_code, 0) << first.errors;
  EXPECT_NE(first.output.find("items are missing, the first: status 422: cannot answer this"), std::string::npos)
      << first.output;
  const auto cell = [&] { return *read_results(scratch / "out").cell("toy", "dense", 0, "factworld/closed-book"); };
  const StoredCell partial = cell();
  ASSERT_NE(partial.metric(kMissingMetric), nullptr);
  const auto missing = static_cast<int64_t>(partial.metric(kMissingMetric)->value);
  EXPECT_GT(missing, 0);
  is_whole = true;
  const int64_t before = server.count("/chat/completions");
  ASSERT_EQ(run_program(call).exit_code, 0);
  EXPECT_EQ(server.count("/chat/completions") - before, missing);
  const StoredCell whole = cell();
  EXPECT_EQ(whole.metric(kMissingMetric), nullptr);
  EXPECT_EQ(static_cast<int64_t>(whole.items.size()), static_cast<int64_t>(partial.items.size()) + missing);
  EXPECT_EQ(read_whole(scratch / "out/report.html").find("items are missing"), std::string::npos);
}

TEST(StudyApi, WhatCannotBeDoneToAServersModelIsRefused) {
  const ScratchDirectory scratch;
  const auto refused = [&](const std::string& models, const std::string& said, const std::string& rest = "") {
    const ProgramRun run = run_program(write_study(scratch, models, rest));
    EXPECT_EQ(run.exit_code, 2) << run.errors;
    EXPECT_NE(run.errors.find(said), std::string::npos) << run.errors;
    EXPECT_FALSE(std::filesystem::exists(scratch / "out"));
  };
  refused("{name: a, path: \"http://localhost:9/v1\", recipes: [dense, rtn-4]}",
          "behind an API and cannot be compressed, found recipe 'rtn-4'");
  refused("{name: a, path: \"http://localhost:9/v1\"}", "baseline is 'rtn-4'", "baseline: rtn-4\n");
  refused("\"http://localhost:9/v1\"", "name");
  refused("{name: a, path: \"" + kMini + "\", api_model: b}", "'api_model' is for a model behind an API");
  refused("{name: a, path: \"http://user:secret@localhost:9/v1\"}", "OCKHAM_API_KEY");
  const ProgramRun recheck = run_program("recheck four-bit http://localhost:9/v1 -o " + (scratch / "recheck"));
  EXPECT_EQ(recheck.exit_code, 2);
  EXPECT_NE(recheck.errors.find("behind an API"), std::string::npos) << recheck.errors;
}

}  // namespace
}  // namespace ockham
