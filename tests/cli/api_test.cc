// `ockham eval http://...`: against the embedded model behind a server the numbers are those of the model itself; what
// goes wrong is said, counted, and can be made good.
#include <gtest/gtest.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <memory>
#include <mutex>
#include <thread>

#include "ockham/io/json.h"
#include "ockham/pipeline/torch_language_model.h"
#include "tests/cli/program.h"
#include "tests/server/toy_api.h"

namespace ockham {
namespace {

// The embedded model as a server would give it, with offsets that count BOS.
class MiniApi {
 public:
  MiniApi() : model_(kMini, options()) {}

  ServerReply answer(const ServerRequest& request) {
    const std::lock_guard lock(mutex_);
    if (request.path == "/v1/models")
      return reply({{"data", Json::array({{{"id", "mini"}, {"max_model_len", model_.info().context_length}}})}});
    const Json body = Json::parse(request.body);
    if (request.path == "/v1/chat/completions") {
      std::vector<ChatMessage> messages;
      for (const Json& turn : body["messages"]) messages.push_back({turn["role"], turn["content"]});
      const std::string text = generate(model_.render(messages, true), body);
      return reply({{"choices", Json::array({{{"message", {{"content", text}}}, {"finish_reason", "stop"}}})}});
    }
    const bool has_ids = body["prompt"].is_array();
    const std::vector<int32_t> ids =
        has_ids ? body["prompt"].get<std::vector<int32_t>>() : model_.tokenize(body["prompt"].get<std::string>(), true);
    if (body.value("echo", false)) return echo(ids);
    const Prompt prompt = has_ids ? Prompt{model_.tokenizer().decode(ids, false), true}
                                  : Prompt{body["prompt"].get<std::string>(), false};
    return reply({{"choices", Json::array({{{"text", generate(prompt, body)}, {"finish_reason", "stop"}}})}});
  }

 private:
  static TorchLanguageModel::Options options() {
    TorchLanguageModel::Options options;
    options.dtype = DType::kF32;
    return options;
  }
  static ServerReply reply(const Json& json) { return {200, json.dump(), ""}; }
  std::string generate(const Prompt& prompt, const Json& body) {
    GenerateRequest request;
    request.prompt = prompt;
    request.max_tokens = body["max_tokens"];
    request.temperature = body["temperature"];
    if (body.contains("stop")) request.stop = body["stop"].get<std::vector<std::string>>();
    return model_.generate(std::vector<GenerateRequest>{request})[0].texts[0];
  }
  ServerReply echo(const std::vector<int32_t>& ids) {
    Json lists = {{"tokens", Json::array()},
                  {"token_logprobs", Json::array()},
                  {"top_logprobs", Json::array()},
                  {"text_offset", Json::array()}};
    const std::unique_ptr<Distributions> all = model_.distributions(ids);
    const auto vocabulary = static_cast<size_t>(model_.info().vocabulary);
    std::vector<float> row(vocabulary);
    int64_t offset = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      const std::string token = model_.tokenizer().decode(std::array{ids[i]}, false);
      lists["tokens"].push_back(token);
      lists["text_offset"].push_back(offset);
      for (const char c : token) offset += (c & 0xC0) != 0x80;
      if (i == 0) {
        lists["token_logprobs"].push_back(nullptr);
        lists["top_logprobs"].push_back(nullptr);
        continue;
      }
      all->read(static_cast<int64_t>(i) - 1, 1, row.data());
      lists["token_logprobs"].push_back(row[static_cast<size_t>(ids[i])]);
      lists["top_logprobs"].push_back(Json::object());
      lists["top_logprobs"].back()["best"] = *std::max_element(row.begin(), row.end());
    }
    const Json choice = {{"text", ""}, {"logprobs", lists}};
    return reply({{"choices", Json::array({choice})}});
  }

  std::mutex mutex_;
  TorchLanguageModel model_;
};

std::string put(const ScratchDirectory& scratch, const std::string& name, const std::string& text) {
  std::ofstream(scratch / name) << text;
  return scratch / name;
}

Json results_of(const std::string& path) {
  return Json::parse(read_whole(path));
}

// Options behind plain texts, which need no chat template.
std::string plain_choice(const ScratchDirectory& scratch) {
  std::string lines;
  const std::array<const char*, 4> texts = {"The capital of Brask is", "Who lives in the north? The people of",
                                            "Two and two make ", "A letter from Kela says that the sky is"};
  for (size_t i = 0; i < texts.size(); ++i)
    lines += Json({{"id", "q" + std::to_string(i)},
                   {"context", texts[i]},
                   {"option", {"a town", "four", "blue", "Grünland"}},
                   {"label", i}})
                 .dump() +
             "\n";
  put(scratch, "plain.jsonl", lines);
  return put(scratch, "plain.yaml",
             "task: t/plain\nsummary: s\ndimension: d\nitems: {quick: 0, full: 0}\ndata: {file: plain.jsonl}\n"
             "request: {kind: choice}\nprompt: {plain: \"{input}\"}\nscorer: choice\nmetrics:\n"
             "  - {name: accuracy, aggregate: accuracy, better: higher, score: true}\n"
             "  - {name: accuracy_norm, aggregate: accuracy_norm, better: higher}\n");
}

void expect_same_items(const Json& local, const Json& remote) {
  ASSERT_EQ(local["items"].size(), remote["items"].size());
  for (size_t i = 0; i < local["items"].size(); ++i) {
    const Json &a = local["items"][i], &b = remote["items"][i];
    EXPECT_EQ(a["id"], b["id"]);
    EXPECT_EQ(a["answer"], b["answer"]) << a["id"];
    EXPECT_EQ(a["score"], b["score"]) << a["id"];
    if (!a["extra"].contains("logprobs")) continue;
    ASSERT_EQ(a["extra"]["logprobs"].size(), b["extra"]["logprobs"].size());
    for (size_t c = 0; c < a["extra"]["logprobs"].size(); ++c)
      EXPECT_NEAR(a["extra"]["logprobs"][c].get<double>(), b["extra"]["logprobs"][c].get<double>(), 1e-4) << a["id"];
  }
  for (size_t m = 0; m < local["metrics"].size(); ++m)
    EXPECT_NEAR(local["metrics"][m]["value"].get<double>(), remote["metrics"][m]["value"].get<double>(), 1e-3);
}

TEST(ApiEval, TheEmbeddedModelBehindAServerGivesItsOwnNumbers) {
  const ScratchDirectory scratch;
  MiniApi api;
  const ScriptedServer server([&](const ServerRequest& request) { return api.answer(request); });
  const std::string text = put(scratch, "text.txt", [] {
    std::string lines;
    for (int i = 0; i < 60; ++i) lines += "Item " + std::to_string(i) + " stands on the shelf beside the window.\n";
    return lines;
  }());
  const std::string tasks = " --tasks factworld/multiple-choice,factworld/closed-book,factworld/fairness," +
                            plain_choice(scratch) + ",perplexity:" + text + " --protocol strided --items 24 --data " +
                            scratch.path() + " -o ";
  const ProgramRun local = run_program("eval " + kMini + " --dtype float32" + tasks + (scratch / "local.json"));
  ASSERT_EQ(local.exit_code, 0) << local.errors;
  const ProgramRun with =
      run_program("eval " + server.url() + " --tokenizer " + kMini + tasks + (scratch / "ids.json"));
  ASSERT_EQ(with.exit_code, 0) << with.errors;
  const ProgramRun without = run_program("eval " + server.url() + tasks + (scratch / "texts.json"));
  ASSERT_EQ(without.exit_code, 0) << without.errors;

  const Json all = results_of(scratch / "local.json"), ids = results_of(scratch / "ids.json"),
             texts = results_of(scratch / "texts.json");
  ASSERT_EQ(all["tasks"].size(), ids["tasks"].size());
  EXPECT_FALSE(ids.contains("not_measured"));
  for (size_t t = 0; t < all["tasks"].size(); ++t) {
    SCOPED_TRACE(all["tasks"][t]["task"]);
    if (all["tasks"][t]["dimension"] != "perplexity") {
      expect_same_items(all["tasks"][t], ids["tasks"][t]);
      continue;
    }
    EXPECT_NEAR(all["tasks"][t]["metrics"][0]["value"].get<double>(),
                ids["tasks"][t]["metrics"][0]["value"].get<double>(), 1e-3);
  }
  // Without a tokenizer: what counts tokens or scores behind a conversation is named, the rest is the same.
  ASSERT_EQ(texts["not_measured"].size(), 2U);
  EXPECT_EQ(texts["not_measured"][0]["task"], "factworld/multiple-choice");
  for (const Json& skipped : texts["not_measured"])
    EXPECT_NE(skipped["reason"].get<std::string>().find("--tokenizer"), std::string::npos) << skipped;
  EXPECT_NE(without.output.find("not measured: factworld/multiple-choice"), std::string::npos) << without.output;
  for (const Json& task : texts["tasks"])
    for (const Json& other : all["tasks"])
      if (other["task"] == task["task"]) expect_same_items(other, task);
  EXPECT_EQ(texts["model"]["name"], "mini");
  EXPECT_EQ(texts["model"]["path"], server.url());
  EXPECT_GT(texts["model"]["api"]["requests"], 0);
}

TEST(ApiEval, AModelBehindAServerIsComparedWithALocalOne) {
  const ScratchDirectory scratch;
  const ToyApi toy;
  const ScriptedServer server([&](const ServerRequest& request) {
    return request.body.size() % 5 == 4 ? ServerReply{400, "{}", ""} : toy.answer(request);
  });
  const ProgramRun run = run_program("eval " + server.url() + " --baseline " + kMini +
                                     " --tasks factworld/closed-book --items 40 -o " + (scratch / "results.json"));
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  const Json task = results_of(scratch / "results.json")["tasks"][0];
  EXPECT_TRUE(task.contains("difference"));
  EXPECT_TRUE(task.contains("flips"));
}

TEST(ApiEval, ADryRunSaysWhatItWouldTakeAndAsksNothing) {
  const ScratchDirectory scratch;
  const ToyApi toy;
  const ScriptedServer server([&](const ServerRequest& request) { return toy.answer(request); });
  const std::string call = "eval " + server.url() +
                           " --tasks factworld/closed-book,factworld/multiple-choice --items 10 --price-in 3 "
                           "--price-out 15 --dry-run -o " +
                           (scratch / "results.json");
  const ProgramRun run = run_program(call);
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_NE(run.output.find("10 requests"), std::string::npos) << run.output;
  EXPECT_NE(run.output.find("at most 140 completion tokens"), std::string::npos) << run.output;
  EXPECT_NE(run.output.find("by the given prices"), std::string::npos) << run.output;
  EXPECT_NE(run.output.find("not measured: factworld/multiple-choice"), std::string::npos) << run.output;
  EXPECT_EQ(server.count("/chat/completions"), 0);
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
  const Json json = Json::parse(run_program(call + " --json").output);
  EXPECT_EQ(json["forecast"][0]["tasks"][0]["requests"], 10);
}

TEST(ApiEval, WrongUseIsRefused) {
  ToyApi toy;
  toy.models = {"small", "large"};
  const ScriptedServer server([&](const ServerRequest& request) { return toy.answer(request); });
  const auto refused = [](const std::string& arguments, const std::string& said, int code = 2) {
    const ProgramRun run = run_program("eval " + arguments);
    EXPECT_EQ(run.exit_code, code) << run.errors;
    EXPECT_NE(run.errors.find(said), std::string::npos) << run.errors;
  };
  refused(server.url() + " --tasks factworld/closed-book", "small, large");
  refused(kMini + " --dry-run", "--dry-run: is for a model behind an API");
  refused(kMini + " --api-model x", "--api-model");
  refused(server.url() + " --api-model small --noise-floor 2", "--noise-floor");
  refused("http://user:password@localhost/v1", "OCKHAM_API_KEY");
  refused("http://127.0.0.1:9/v1 --api-retries 0 --tasks factworld/closed-book", "cannot be reached", 1);
  toy.models = {"toy"};
  refused(server.url() + "/wrong --tasks factworld/closed-book", "usually ends with /v1");
}

TEST(ApiEval, TheKeyStandsNowhere) {
  const ScratchDirectory scratch;
  const ToyApi toy;
  std::atomic<bool> is_open{false};
  const ScriptedServer server([&](const ServerRequest& request) {
    if (request.headers.find(std::string("Authorization: Bearer ") + kSecretKey) == std::string::npos)
      return ServerReply{401, R"({"error": {"message": "a key is needed"}})", ""};
    if (request.path == "/v1/models") return toy.answer(request);
    if (!is_open)
      return ServerReply{401, std::string(R"({"error": {"message": "wrong key )") + kSecretKey + "\"}}", ""};
    ServerReply reply = toy.answer(request);
    // One item is refused with the key in the message, all others are answered with it.
    if (request.body.size() % 3 == 0) return ServerReply{400, std::string(R"({"error": ")") + kSecretKey + "\"}", ""};
    if (const size_t at = reply.body.find("answer to"); at != std::string::npos) reply.body.insert(at, kSecretKey);
    return reply;
  });
  const std::string call =
      "eval " + server.url() + " --tasks factworld/closed-book --items 40 -o " + (scratch / "results.json");
  const ProgramRun none = run_program(call, "env -u OCKHAM_API_KEY -u OPENAI_API_KEY");
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_NE(none.errors.find("OCKHAM_API_KEY"), std::string::npos) << none.errors;
  const ProgramRun wrong = run_program(call, std::string("OCKHAM_API_KEY=") + kSecretKey);
  EXPECT_EQ(wrong.exit_code, 2) << wrong.errors;
  EXPECT_NE(wrong.errors.find("[key]"), std::string::npos) << wrong.errors;
  is_open = true;
  const ProgramRun right = run_program(call, std::string("env -u OCKHAM_API_KEY OPENAI_API_KEY=") + kSecretKey);
  EXPECT_EQ(right.exit_code, 0) << right.errors;
  std::string all = wrong.output + wrong.errors + right.output + right.errors;
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(scratch.path())) {
    all += read_whole(entry.path().string());
    ++files;
  }
  EXPECT_EQ(files, 2U);  // results and, since items are missing, the answers so far
  EXPECT_EQ(all.find(kSecretKey), std::string::npos);
  EXPECT_NE(all.find("[key]answer to"), std::string::npos);
}

TEST(ApiEval, MissingItemsAreSaidAndMadeGood) {
  const ScratchDirectory scratch;
  const ToyApi toy;
  std::atomic<bool> is_whole{false};
  std::atomic<int64_t> seen{0};
  const ScriptedServer server([&](const ServerRequest& request) {
    const bool is_bad = request.path != "/v1/models" && !is_whole && ++seen % 10 == 3;
    return is_bad ? ServerReply{422, R"({"detail": "cannot answer this"})", ""} : toy.answer(request);
  });
  const std::string call = "eval " + server.url() +
                           " --tasks factworld/closed-book --items 50 --api-concurrency 2 -o " +
                           (scratch / "results.json");
  const ProgramRun first = run_program(call);
  ASSERT_EQ(first.exit_code, 0) << first.errors;
  EXPECT_NE(first.output.find("(5 missing)"), std::string::npos) << first.output;
  EXPECT_NE(first.output.find("5 of 50 items are missing"), std::string::npos) << first.output;
  EXPECT_NE(first.errors.find("--overwrite"), std::string::npos) << first.errors;
  EXPECT_EQ(results_of(scratch / "results.json")["tasks"][0]["missing_items"].size(), 5U);
  EXPECT_EQ(results_of(scratch / "results.json")["tasks"][0]["items"].size(), 45U);
  is_whole = true;
  const int64_t before = server.count("/chat/completions");
  const ProgramRun second = run_program(call + " --overwrite");
  ASSERT_EQ(second.exit_code, 0) << second.errors;
  EXPECT_EQ(server.count("/chat/completions") - before, 5);
  EXPECT_NE(second.errors.find("5 requests, about"), std::string::npos) << second.errors;  // the forecast
  EXPECT_EQ(results_of(scratch / "results.json")["tasks"][0]["items"].size(), 50U);
  EXPECT_FALSE(std::filesystem::exists(scratch / "results.json.partial"));
}

TEST(ApiEval, AServerThatGoesAwayStopsTheRunWhichGoesOnLater) {
  const ScratchDirectory scratch;
  const ToyApi toy;
  std::atomic<int64_t> left{40};
  const ScriptedServer server([&](const ServerRequest& request) { return toy.answer_while(left, request); });
  const std::string call = "eval " + server.url() +
                           " --tasks factworld/closed-book --items 100 --api-concurrency 2 --api-retries 1 -o " +
                           (scratch / "results.json");
  const ProgramRun stopped = run_program(call);
  EXPECT_EQ(stopped.exit_code, 1) << stopped.errors;
  EXPECT_NE(stopped.errors.find("without an answer"), std::string::npos) << stopped.errors;
  EXPECT_NE(stopped.errors.find("run the same command again"), std::string::npos) << stopped.errors;
  EXPECT_FALSE(std::filesystem::exists(scratch / "results.json"));
  left = 100000;
  const int64_t before = server.count("/chat/completions");
  const ProgramRun whole = run_program(call);
  ASSERT_EQ(whole.exit_code, 0) << whole.errors;
  EXPECT_EQ(server.count("/chat/completions") - before, 100 - 32);  // two batches of 16 were kept
  EXPECT_EQ(results_of(scratch / "results.json")["tasks"][0]["items"].size(), 100U);
}

TEST(ApiEval, AKillLosesTheBatchInFlightOnly) {
  const ScratchDirectory scratch;
  const ToyApi toy;
  std::atomic<int64_t> seen{0};
  std::atomic<bool> is_killed{false};
  const ScriptedServer server([&](const ServerRequest& request) {
    ServerReply reply = toy.answer(request);
    // Nothing comes back after 60 answers, so that the kill meets a batch in flight.
    if (request.path != "/v1/models" && ++seen > 60 && !is_killed) reply.delay_ms = 60'000;
    return reply;
  });
  const std::string program = OCKHAM_BINARY_DIR "/ockham", output = scratch / "results.json", url = server.url();
  std::vector<std::string> words = {
      program, "eval",    url,  "--tasks", "factworld/closed-book", "--items", "100", "--api-concurrency",
      "2",     "--quiet", "-o", output};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    ::execv(program.c_str(), arguments.data());
    _exit(127);
  }
  int status = 0;
  while (server.count("/chat/completions") < 61 && waitpid(child, &status, WNOHANG) == 0)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  is_killed = true;
  const int64_t before = server.count("/chat/completions");
  const ProgramRun whole =
      run_program("eval " + url + " --tasks factworld/closed-book --items 100 --api-concurrency 2 -o " + output);
  ASSERT_EQ(whole.exit_code, 0) << whole.errors;
  // Batches of 16: of the 60 answers 48 were kept.
  EXPECT_EQ(server.count("/chat/completions") - before, 100 - 48);
  EXPECT_EQ(results_of(output)["tasks"][0]["items"].size(), 100U);
}

}  // namespace
}  // namespace ockham
