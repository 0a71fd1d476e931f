// The judge against a service that answers well, late, half, with garbage, or not at all.
#include "ockham/server/perspective.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/file.h"
#include "ockham/io/json.h"
#include "tests/io/scratch.h"
#include "tests/server/scripted_server.h"

namespace ockham {
namespace {

constexpr const char* kKey = "AIza-very-secret-key-1234";

std::string answer(double toxicity) {
  return Json{{"attributeScores",
               {{"TOXICITY",
                 {{"spanScores", Json::array()}, {"summaryScore", {{"value", toxicity}, {"type", "PROBABILITY"}}}}}}},
              {"languages", {"en"}},
              {"detectedLanguages", {"en"}}}
      .dump();
}

ServerReply refusal(int status, const std::string& message, const std::string& code = "") {
  return {status, Json{{"error", {{"code", status}, {"message", message}, {"status", code}}}}.dump(), ""};
}

PerspectiveService service_at(const ScriptedServer& server) {
  PerspectiveService service;
  service.url = server.url() + "/comments:analyze";
  service.key = kKey;
  service.queries_per_second = 1000;
  service.first_pause_s = 0.001;
  service.retries = 2;
  return service;
}

struct Failure {
  ErrorKind kind = ErrorKind::kInternal;
  std::string text;
};
Failure failure_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find(kKey), std::string::npos) << error.what();
    return {error.kind(), error.what()};
  }
  ADD_FAILURE() << "went through";
  return {};
}

class Perspective : public ::testing::Test {
 protected:
  Perspective() {
    set_log_sink([this](LogLevel, std::string_view text) { log_ += std::string(text) + "\n"; });
  }
  ~Perspective() override { set_log_sink({}); }
  std::string log_;
};

TEST_F(Perspective, AsksAsTheServiceWantsIt) {
  const ScriptedServer server([](const ServerRequest&) { return ServerReply{200, answer(0.25), ""}; });
  PerspectiveJudge judge(service_at(server));
  EXPECT_DOUBLE_EQ(judge.score("you \"fool\"\nand \xc3\xa4"), 0.25);
  EXPECT_EQ(judge.label(), "Perspective TOXICITY (127.0.0.1)");
  ASSERT_EQ(server.requests().size(), 1U);
  const ServerRequest request = server.requests()[0];
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.path, "/v1/comments:analyze") << "the key is no part of the address";
  EXPECT_NE(request.headers.find(std::string("X-Goog-Api-Key: ") + kKey), std::string::npos);
  EXPECT_EQ(Json::parse(request.body), Json::parse(R"({"comment": {"text": "you \"fool\"\nand ä"}, "languages": ["en"],
      "requestedAttributes": {"TOXICITY": {}}, "doNotStore": true})"));
  EXPECT_EQ(request.body.find(kKey), std::string::npos);
}

TEST_F(Perspective, NothingIsAskedTwiceAndEmptyTextsNever) {
  std::atomic<int> asked{0};
  const ScriptedServer server([&](const ServerRequest&) { return ServerReply{200, answer(0.1 * ++asked), ""}; });
  const Scratch scratch;
  {
    PerspectiveJudge judge(service_at(server), scratch.file("judged.jsonl"));
    EXPECT_DOUBLE_EQ(judge.score("one"), 0.1);
    EXPECT_DOUBLE_EQ(judge.score("two"), 0.2);
    EXPECT_DOUBLE_EQ(judge.score("one"), 0.1);
    EXPECT_DOUBLE_EQ(judge.score(""), 0);
    EXPECT_DOUBLE_EQ(judge.score(" \n"), 0);
    EXPECT_EQ(judge.queries(), 2);
  }
  PerspectiveJudge again(service_at(server), scratch.file("judged.jsonl"));
  EXPECT_DOUBLE_EQ(again.score("two"), 0.2);
  EXPECT_EQ(again.queries(), 0);
  EXPECT_EQ(server.requests().size(), 2U);
  EXPECT_EQ(read_file(scratch.file("judged.jsonl")).find(kKey), std::string::npos);
}

TEST_F(Perspective, ScoresOfAnotherServiceAreNotTakenOver) {
  const ScriptedServer server([](const ServerRequest&) { return ServerReply{200, answer(0.5), ""}; });
  const Scratch scratch;
  const std::string file = scratch.put(
      "judged.jsonl", R"({"judge": "other", "text": ")" + sha256_text("one") + R"(", "toxicity": 0.9})" + "\n");
  EXPECT_DOUBLE_EQ(PerspectiveJudge(service_at(server), file).score("one"), 0.5);
  for (const char* broken :
       {"[]", "{}", R"json({"judge": "Perspective TOXICITY (127.0.0.1)", "text": "a", "toxicity": 2})json", "half"}) {
    const std::string path = scratch.put("broken.jsonl", std::string(broken) + "\n");
    const Failure failure = failure_of([&] { PerspectiveJudge(service_at(server), path); });
    EXPECT_EQ(static_cast<int>(failure.kind), static_cast<int>(ErrorKind::kInput));
    EXPECT_NE(failure.text.find("line 1"), std::string::npos) << failure.text;
  }
}

TEST_F(Perspective, AsksAgainWhereThatCanHelp) {
  const std::vector<ServerReply> troubles = {refusal(429, "Quota exceeded", "RESOURCE_EXHAUSTED"),
                                             refusal(500, "Internal"),
                                             refusal(503, ""),
                                             {200, "<html>busy</html>", ""},
                                             {200, "[]", ""},
                                             {200, answer(0.5), "", 20},
                                             {200, "", "", -1, true}};
  for (const ServerReply& trouble : troubles) {
    std::atomic<int> asked{0};
    const ScriptedServer server([&](const ServerRequest&) {
      return ++asked == 1 ? trouble : ServerReply{200, answer(0.75), ""};
    });
    PerspectiveJudge judge(service_at(server));
    EXPECT_DOUBLE_EQ(judge.score("text"), 0.75) << trouble.status << trouble.body;
    EXPECT_EQ(asked, 2);
    EXPECT_NE(log_.find("asking again"), std::string::npos);
    log_.clear();
  }
}

TEST_F(Perspective, AsksAgainAfterATimeout) {
  std::atomic<int> asked{0};
  const ScriptedServer server([&](const ServerRequest&) {
    ServerReply reply{200, answer(0.75), ""};
    if (++asked == 1) reply.delay_ms = 60'000;
    return reply;
  });
  PerspectiveService service = service_at(server);
  service.timeout_s = 1;
  EXPECT_DOUBLE_EQ(PerspectiveJudge(service).score("text"), 0.75);
  EXPECT_NE(log_.find("no whole answer within 1 s"), std::string::npos) << log_;
}

TEST_F(Perspective, GivesUpWithEverythingKept) {
  std::atomic<bool> is_well{true};
  const ScriptedServer server([&](const ServerRequest& request) {
    return is_well ? ServerReply{200, answer(0.5), ""} : refusal(500, "it broke, " + request.headers);
  });
  const Scratch scratch;
  PerspectiveJudge judge(service_at(server), scratch.file("judged.jsonl"));
  EXPECT_DOUBLE_EQ(judge.score("one"), 0.5);
  is_well = false;
  const Failure failure = failure_of([&] { judge.score("two"); });
  EXPECT_EQ(static_cast<int>(failure.kind), static_cast<int>(ErrorKind::kResource));
  EXPECT_NE(failure.text.find("after 3 tries: status 500"), std::string::npos) << failure.text;
  EXPECT_NE(failure.text.find("run the same command again"), std::string::npos);
  EXPECT_EQ(log_.find(kKey), std::string::npos) << log_;
  EXPECT_DOUBLE_EQ(judge.score("one"), 0.5);
}

TEST_F(Perspective, WaitsAsLongAsTheServiceAsks) {
  std::atomic<int> asked{0};
  const ScriptedServer server([&](const ServerRequest&) {
    ServerReply busy = refusal(429, "slowly");
    busy.headers = "Retry-After: 1\r\n";
    return ++asked == 1 ? busy : ServerReply{200, answer(0.5), ""};
  });
  PerspectiveJudge judge(service_at(server));
  const auto start = std::chrono::steady_clock::now();
  EXPECT_DOUBLE_EQ(judge.score("text"), 0.5);
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(900));

  const ScriptedServer patient([&](const ServerRequest&) {
    ServerReply busy = refusal(429, "tomorrow");
    busy.headers = "Retry-After: 86400\r\n";
    return busy;
  });
  PerspectiveJudge refused(service_at(patient));
  EXPECT_NE(failure_of([&] { refused.score("text"); }).text.find("asks to wait 86400 s"), std::string::npos);
}

// No faster than it may: three queries at 20 a second take two pauses.
TEST_F(Perspective, KeepsThePace) {
  const ScriptedServer server([](const ServerRequest&) { return ServerReply{200, answer(0.5), ""}; });
  EXPECT_EQ(PerspectiveService{}.queries_per_second, 1);
  PerspectiveService service = service_at(server);
  service.queries_per_second = 20;
  PerspectiveJudge judge(service);
  const auto start = std::chrono::steady_clock::now();
  for (const char* text : {"a", "b", "c"}) judge.score(text);
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(100));
}

TEST_F(Perspective, ARefusedTextIsNoScoreAndTheNextOneIsAsked) {
  const std::string language = "Attribute TOXICITY does not support request languages: sw";
  const std::vector<std::pair<ServerReply, std::string>> refused = {
      {refusal(400, language, "INVALID_ARGUMENT"), "status 400: " + language},
      {refusal(413, ""), "status 413"},
      {{200, R"({"attributeScores": {"INSULT": {"summaryScore": {"value": 0.5}}}})", ""},
       "no attributeScores.TOXICITY"},
      {{200, "{}", ""}, "no attributeScores.TOXICITY"},
      {{200, R"({"attributeScores": {"TOXICITY": {"summaryScore": {"value": "high"}}}})", ""}, "no number from 0 to 1"},
      {{200, R"({"attributeScores": {"TOXICITY": {"summaryScore": {"value": 1.5}}}})", ""}, "no number from 0 to 1"},
      {{200, R"({"attributeScores": [1]})", ""}, "no attributeScores.TOXICITY"}};
  for (const auto& [reply, reason] : refused) {
    std::atomic<int> asked{0};
    const ScriptedServer server([&, &reply = reply](const ServerRequest&) {
      return ++asked == 1 ? reply : ServerReply{200, answer(0.5), ""};
    });
    PerspectiveJudge judge(service_at(server));
    const Failure failure = failure_of([&] { judge.score("habari"); });
    EXPECT_EQ(static_cast<int>(failure.kind), static_cast<int>(ErrorKind::kUnsupported)) << failure.text;
    EXPECT_NE(failure.text.find(reason), std::string::npos) << failure.text;
    failure_of([&] { judge.score("habari"); });
    EXPECT_EQ(asked, 1) << "asked twice";
    EXPECT_DOUBLE_EQ(judge.score("hello"), 0.5);
  }
}

TEST_F(Perspective, AWrongKeyOrAddressEndsTheRun) {
  const std::string invalid = std::string("API key not valid. Please pass a valid API key. You sent ") + kKey;
  const std::vector<std::pair<ServerReply, std::string>> cases = {
      {refusal(400, invalid, "INVALID_ARGUMENT"), "PERSPECTIVE_API_KEY"},
      {refusal(401, "unauthenticated"), "PERSPECTIVE_API_KEY"},
      {refusal(403, "Perspective Comment Analyzer API has not been used in project 1"), "enable the service"},
      {refusal(404, ""), "PERSPECTIVE_API_URL"},
      {{302, "", "Location: http://example.org/\r\n"}, "redirects"}};
  for (const auto& [reply, remedy] : cases) {
    const ScriptedServer server([&reply = reply](const ServerRequest&) { return reply; });
    PerspectiveJudge judge(service_at(server));
    const Failure failure = failure_of([&] { judge.score("text"); });
    EXPECT_EQ(static_cast<int>(failure.kind), static_cast<int>(ErrorKind::kInput)) << failure.text;
    EXPECT_NE(failure.text.find(remedy), std::string::npos) << failure.text;
    EXPECT_EQ(server.requests().size(), 1U);
  }
  PerspectiveService service;
  service.key = kKey;
  service.url = std::string("https://host/v1?key=") + kKey;
  EXPECT_NE(failure_of([&] { PerspectiveJudge judge(service); }).text.find("PERSPECTIVE_API_KEY"), std::string::npos);
}

TEST_F(Perspective, TheKeyComesFromTheEnvironment) {
  ::unsetenv("PERSPECTIVE_API_KEY");
  ::unsetenv("PERSPECTIVE_API_URL");
  EXPECT_NE(failure_of([] { perspective_from_environment(); }).text.find("PERSPECTIVE_API_KEY"), std::string::npos);
  ::setenv("PERSPECTIVE_API_KEY", "two words", 1);
  EXPECT_EQ(failure_of([] { perspective_from_environment(); }).text.find("two words"), std::string::npos);
  ::setenv("PERSPECTIVE_API_KEY", (std::string(" ") + kKey + "\n").c_str(), 1);
  EXPECT_EQ(perspective_from_environment().key, kKey);
  EXPECT_EQ(perspective_from_environment().url.substr(0, 8), "https://");
  ::setenv("PERSPECTIVE_API_URL", "http://127.0.0.1:9/v1", 1);
  EXPECT_EQ(perspective_from_environment().url, "http://127.0.0.1:9/v1");
  ::unsetenv("PERSPECTIVE_API_KEY");
  ::unsetenv("PERSPECTIVE_API_URL");
}

}  // namespace
}  // namespace ockham
