// A model behind a server: what is sent, what comes back, and what happens when the server misbehaves.
#include "ockham/server/api_language_model.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "ockham/core/progress.h"
#include "ockham/eval/evaluate.h"
#include "ockham/server/forecast.h"
#include "tests/io/scratch.h"
#include "tests/server/toy_api.h"

namespace ockham {
namespace {

ApiLanguageModel::Options options_for(const ScriptedServer& server) {
  ApiLanguageModel::Options options;
  options.server = {server.url(), "", 4, 3, 5, 0.005};
  return options;
}

// Log lines of a test.
class LogLines {
 public:
  LogLines() {
    set_log_sink([this](LogLevel, std::string_view text) { text_ += std::string(text) + "\n"; });
  }
  ~LogLines() { set_log_sink({}); }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

ScoreRequest plain(const std::string& context, std::vector<std::string> continuations) {
  return {{context, false}, std::move(continuations)};
}

GenerateRequest generation(Prompt prompt) {
  GenerateRequest request;
  request.prompt = std::move(prompt);
  return request;
}

std::vector<GenerateAnswer> generate_one(ApiLanguageModel& model, const std::string& text) {
  return model.generate(std::vector<GenerateRequest>{generation({text, false})});
}

TEST(ApiLanguageModel, LikelihoodsAreTheSameWhateverTheServerEchoes) {
  for (const bool has_bos : {true, false})
    for (const bool drops_blanks : {true, false})
      for (const bool wants_one_token : {true, false}) {
        SCOPED_TRACE(fmt::format("BOS {} bare {} one {}", has_bos, drops_blanks, wants_one_token));
        ToyApi toy;
        toy.has_bos = has_bos;
        toy.drops_blanks = drops_blanks;
        toy.wants_one_token = wants_one_token;
        const ScriptedServer server([&](const ServerRequest& request) { return toy.answer(request); });
        ApiLanguageModel model(options_for(server));
        EXPECT_TRUE(model.gives_likelihoods());
        // The blank at the end of a context belongs to the continuation.
        const std::vector<ScoreRequest> requests = {plain("The sky is", {" blue", " not green"}),
                                                    plain("One ", {"two"})};
        const std::vector<ScoreAnswer> answers = model.score(requests);
        ASSERT_EQ(answers.size(), 2U);
        ASSERT_EQ(answers[0].scores.size(), 2U);
        EXPECT_EQ(answers[0].scores[0].logprob, ToyApi::logprob(" is", " blue"));
        EXPECT_EQ(answers[0].scores[0].tokens, 1);
        EXPECT_EQ(answers[0].scores[0].is_greedy, ToyApi::logprob(" is", " blue") >= -1.0);
        EXPECT_EQ(answers[0].scores[1].logprob, ToyApi::logprob(" is", " not") + ToyApi::logprob(" not", " green"));
        EXPECT_EQ(answers[0].scores[1].tokens, 2);
        EXPECT_EQ(answers[1].scores[0].logprob, ToyApi::logprob("One", " two"));
      }
}

TEST(ApiLanguageModel, ChatsGoAsMessagesAndPlainPromptsAsTexts) {
  const ToyApi toy;
  const ScriptedServer server([&](const ServerRequest& request) { return toy.answer(request); });
  ApiLanguageModel model(options_for(server));
  const std::vector<ChatMessage> chat = {{"system", "Be brief."}, {"user", "What is red?"}};
  GenerateRequest asked = generation(model.render(chat, true));
  asked.max_tokens = 7;
  asked.stop = {"!", "?", ";", ":", "to "};
  GenerateRequest plain_prompt = generation({"Roses are", false});
  plain_prompt.temperature = 0.5;
  plain_prompt.seed = 3;
  const std::vector<GenerateAnswer> answers = model.generate(std::vector<GenerateRequest>{asked, plain_prompt});
  // The fifth stop text is cut here.
  EXPECT_EQ(answers[0].texts, std::vector<std::string>{"answer "});
  EXPECT_EQ(answers[1].texts, std::vector<std::string>{"answer to  are"});
  EXPECT_TRUE(answers[1].hit_limit[0]);
  for (const ServerRequest& request : server.requests()) {
    if (request.path == "/v1/models") continue;
    const Json body = Json::parse(request.body);
    EXPECT_EQ(body["model"], "toy");
    if (request.path == "/v1/chat/completions") {
      EXPECT_EQ(body["messages"].dump(),
                R"([{"role":"system","content":"Be brief."},{"role":"user","content":"What is red?"}])");
      EXPECT_EQ(body["max_tokens"], 7);
      EXPECT_EQ(body["temperature"], 0);
      EXPECT_EQ(body["stop"].size(), 4U);
      EXPECT_FALSE(body.contains("seed"));
    } else {
      EXPECT_EQ(body["prompt"], "Roses are");
      EXPECT_EQ(body["temperature"], 0.5);
      EXPECT_TRUE(body.contains("seed"));
    }
  }
}

TEST(ApiLanguageModel, SamplesAreAskedOneByOneWhereTheServerWantsIt) {
  for (const bool one_sample : {false, true}) {
    ToyApi toy;
    toy.one_sample = one_sample;
    toy.wants_max_completion_tokens = true;
    const ScriptedServer server([&](const ServerRequest& request) { return toy.answer(request); });
    ApiLanguageModel model(options_for(server));
    GenerateRequest request = generation(model.render(std::vector<ChatMessage>{{"user", "Sing"}}, true));
    request.temperature = 1;
    request.samples = 3;
    const std::vector<GenerateAnswer> answers = model.generate(std::vector<GenerateRequest>{request});
    EXPECT_EQ(answers[0].missing, "");
    EXPECT_EQ(answers[0].texts.size(), 3U);
    std::vector<int64_t> seeds;
    for (const ServerRequest& sent : server.requests())
      if (sent.path == "/v1/chat/completions" && sent.body.find("max_completion_tokens") != std::string::npos &&
          sent.body.find("\"n\"") == std::string::npos)
        seeds.push_back(Json::parse(sent.body)["seed"].get<int64_t>());
    EXPECT_EQ(seeds.size(), one_sample ? 3U : 0U);
    if (one_sample) {
      EXPECT_NE(seeds[0], seeds[1]);
    }
  }
}

TEST(ApiLanguageModel, WhatNeedsATokenizerOrLikelihoodsSaysSo) {
  ToyApi toy;
  toy.has_echo = false;
  const ScriptedServer server([&](const ServerRequest& request) { return toy.answer(request); });
  ApiLanguageModel model(options_for(server));
  EXPECT_FALSE(model.gives_likelihoods());
  const auto asked = [&] { model.score(std::vector<ScoreRequest>{plain("a", {" b"})}); };
  EXPECT_TRUE(has(error_text(asked, ErrorKind::kUnsupported), {"log-likelihood", "Only no echo is supported"}));
  EXPECT_TRUE(has(error_text([&] { model.tokenize("a", true); }, ErrorKind::kUnsupported), {"--tokenizer"}));
  toy.has_echo = true;
  ApiLanguageModel echoing(options_for(server));
  ScoreRequest chat{echoing.render(std::vector<ChatMessage>{{"user", "x"}}, true), {"y"}};
  EXPECT_TRUE(has(error_text([&] { echoing.score(std::vector<ScoreRequest>{chat}); }, ErrorKind::kUnsupported),
                  {"conversation", "--tokenizer"}));
  const GenerateRequest with_bos = generation({"x", false, BosRule::kAlways});
  EXPECT_TRUE(
      has(error_text([&] { echoing.generate(std::vector<GenerateRequest>{with_bos}); }, ErrorKind::kUnsupported),
          {"--add-bos", "--tokenizer"}));
}

TEST(ApiLanguageModel, TheModelIsChosenByNameWhereThereAreSeveral) {
  ToyApi toy;
  toy.models = {"small", "large"};
  toy.max_model_len = 77;
  const ScriptedServer server([&](const ServerRequest& request) { return toy.answer(request); });
  ApiLanguageModel::Options options = options_for(server);
  EXPECT_TRUE(has(error_text([&] { ApiLanguageModel model(options); }, ErrorKind::kUsage),
                  {"2 models: small, large", "--api-model"}));
  options.model = "large";
  EXPECT_EQ(ApiLanguageModel(options).info().context_length, 77);
  options.model = "largo";
  const LogLines log;
  EXPECT_EQ(ApiLanguageModel(options).info().name, "largo");
  EXPECT_TRUE(has(log.text(), {"largo", "did you mean 'large'?"}));
  const ScriptedServer silent([](const ServerRequest&) { return ServerReply{404, "{}", ""}; });
  EXPECT_TRUE(has(error_text([&] { ApiLanguageModel model(options_for(silent)); }, ErrorKind::kUsage),
                  {"cannot be listed", "status 404", "--api-model"}));
}

TEST(ApiLanguageModel, AddressesWithSecretsAreRefused) {
  for (const char* url : {"http://user:hunter22@host/v1", "https://host/v1?key=hunter22", "https://host/v1#hunter22"}) {
    const std::string text = error_text([&] { parse_http_address(url); }, ErrorKind::kUsage);
    EXPECT_TRUE(has(text, {"OCKHAM_API_KEY"}));
    EXPECT_EQ(text.find("hunter22"), std::string::npos);
  }
  EXPECT_EQ(parse_http_address("HTTPS://Host:8000/v1/").url, "HTTPS://Host:8000/v1");
  EXPECT_TRUE(parse_http_address("http://[::1]:80/v1").is_loopback);
  EXPECT_FALSE(parse_http_address("https://localhost.example/v1").is_loopback);
  EXPECT_FALSE(is_http_url("models/http"));
  EXPECT_TRUE(has(error_text([] { parse_http_address("http:///v1"); }, ErrorKind::kUsage), {"no server's address"}));
}

// A server that answers the first `bad` requests for texts with `reply`.
struct Misbehaving {
  ToyApi toy;
  ServerReply reply;
  std::atomic<int64_t> bad{0};
  ScriptedServer server{[this](const ServerRequest& request) {
    return request.path != "/v1/models" && bad-- > 0 ? reply : toy.answer(request);
  }};
};

std::vector<GenerateAnswer> ask_words(ApiLanguageModel& model, int64_t count) {
  std::vector<GenerateRequest> requests;
  for (int64_t i = 0; i < count; ++i) requests.push_back(generation({fmt::format("word{}", i), false}));
  return model.generate(requests);
}

TEST(ApiLanguageModel, WhatPassesIsAskedAgainAndSaidOnce) {
  struct Case {
    ServerReply reply;
    std::vector<std::string> said;
  };
  const std::string good = R"({"choices": [{"text": "x"}]})";
  const std::vector<Case> cases = {{{429, R"({"error": {"message": "slow down"}})", ""}, {"status 429: slow down"}},
                                   {{500, "<html>", ""}, {"status 500"}},
                                   {{503, "", ""}, {"status 503"}},
                                   {{200, "<html>busy</html>", ""}, {"is no JSON", "busy"}},
                                   {{200, "", ""}, {"is empty"}},
                                   {{200, good, "", 10}, {"broke in the middle"}},
                                   {{200, R"({"choices": [{"index": 0}]})", ""}, {"choice 0", "'text'"}},
                                   {{200, R"({"choices": {"text": "x"}})", ""}, {"'choices' is object"}},
                                   {{200, good, "", -1, true}, {"without an answer"}}};
  for (const Case& each : cases) {
    SCOPED_TRACE(each.said[0]);
    Misbehaving api;
    api.reply = each.reply;
    const LogLines log;
    ApiLanguageModel model(options_for(api.server));
    api.bad = 3;
    const std::vector<GenerateAnswer> answers = ask_words(model, 6);
    for (int i = 0; i < 6; ++i) {
      EXPECT_EQ(answers[i].missing, "");
      EXPECT_EQ(answers[i].texts, std::vector<std::string>{fmt::format("answer to word{}", i)});
    }
    EXPECT_TRUE(has(log.text(), each.said));
    EXPECT_EQ(std::count(log.text().begin(), log.text().end(), '\n'), 1) << log.text();
    EXPECT_EQ(model.totals().retries, 3);
    EXPECT_LE(api.server.most_at_once(), 4);
  }
}

TEST(ApiLanguageModel, ATimeoutIsAskedAgain) {
  Misbehaving api;
  api.reply = {200, "{}", "", -1, false, 3000};
  ApiLanguageModel::Options options = options_for(api.server);
  options.server.timeout_s = 0.3;
  ApiLanguageModel model(options);
  api.bad = 1;
  EXPECT_EQ(ask_words(model, 1)[0].texts, std::vector<std::string>{"answer to word0"});
  EXPECT_EQ(model.totals().retries, 1);
}

TEST(ApiLanguageModel, RetryAfterHoldsEveryRequestBack) {
  Misbehaving api;
  api.reply = {429, "{}", "Retry-After: 1\r\n"};
  ApiLanguageModel model(options_for(api.server));
  api.bad = 1;
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(ask_words(model, 1)[0].missing, "");
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(900));
  api.reply.headers = "Retry-After: 7200\r\n";
  api.bad = 1;
  EXPECT_TRUE(has(error_text([&] { ask_words(model, 1); }, ErrorKind::kResource), {"429", "7200 s", "run the same"}));
}

TEST(ApiLanguageModel, OneItemThatIsNeverAnsweredIsMissing) {
  for (const int status : {400, 413, 500}) {
    const ToyApi toy;
    const ScriptedServer server([&](const ServerRequest& request) {
      return request.body.find("word2") != std::string::npos
                 ? ServerReply{status, R"({"error": {"message": "not this one"}})", ""}
                 : toy.answer(request);
    });
    ApiLanguageModel model(options_for(server));
    const std::vector<GenerateAnswer> answers = ask_words(model, 8);
    for (int i = 0; i < 8; ++i) EXPECT_EQ(answers[i].missing.empty(), i != 2);
    EXPECT_TRUE(has(answers[2].missing, {fmt::format("status {}: not this one", status)}));
    EXPECT_EQ(answers[2].missing.ends_with("(after 4 tries)"), status == 500);
    // Alone too: the server still lists its models.
    EXPECT_FALSE(generate_one(model, "word2")[0].missing.empty());
  }
}

TEST(ApiLanguageModel, WhatCannotSucceedStopsAtOnce) {
  struct Case {
    ServerReply reply;
    ErrorKind kind;
    std::vector<std::string> said;
  };
  const std::vector<Case> cases = {
      {{401, R"({"error": {"message": "Incorrect API key provided: sk-very-secret-key-1234"}})", ""},
       ErrorKind::kInput,
       {"status 401", "[key]", "OCKHAM_API_KEY"}},
      {{403, "{}", ""}, ErrorKind::kInput, {"status 403", "OCKHAM_API_KEY"}},
      {{404, R"({"error": {"message": "The model `toy` does not exist", "code": "model_not_found"}})", ""},
       ErrorKind::kInput,
       {"status 404", "--api-model"}},
      {{302, "", "Location: https://other.example/v1/completions\r\n"}, ErrorKind::kInput, {"https://other.example"}},
      {{429, R"({"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}})", ""},
       ErrorKind::kResource,
       {"quota", "run the same command again"}}};
  for (const Case& each : cases) {
    SCOPED_TRACE(each.said[0]);
    Misbehaving api;
    api.reply = each.reply;
    ApiLanguageModel::Options options = options_for(api.server);
    options.server.key = "sk-very-secret-key-1234";
    ApiLanguageModel model(options);
    api.bad = 1000;
    const std::string text = error_text([&] { ask_words(model, 50); }, each.kind);
    EXPECT_TRUE(has(text, each.said));
    EXPECT_EQ(text.find("sk-very"), std::string::npos);
    EXPECT_LE(api.server.count("/completions"), 8);
    EXPECT_NE(api.server.requests().back().headers.find("Authorization: Bearer sk-very-secret-key-1234"),
              std::string::npos);
  }
}

TEST(ApiLanguageModel, AServerThatIsGoneStopsTheRun) {
  Misbehaving api;
  api.reply = {500, "{}", ""};
  ApiLanguageModel::Options options = options_for(api.server);
  options.server.retries = 1;
  ApiLanguageModel model(options);
  api.bad = 100000;
  EXPECT_TRUE(has(error_text([&] { ask_words(model, 100); }, ErrorKind::kResource),
                  {"requests in a row failed", "status 500", "run the same command again"}));
  api.bad = 0;
  EXPECT_EQ(ask_words(model, 1)[0].missing, "");
  api.server.stop();
  EXPECT_TRUE(has(error_text([&] { ask_words(model, 2); }, ErrorKind::kResource), {"run the same command again"}));
  EXPECT_TRUE(has(error_text([&] { ApiLanguageModel again(options); }, ErrorKind::kResource),
                  {"cannot be listed", "cannot be reached"}));
}

TEST(ApiLanguageModel, AKeyInAnAnswerIsTakenOut) {
  const ToyApi toy;
  const ScriptedServer server([&](const ServerRequest& request) { return toy.answer(request); });
  ApiLanguageModel::Options options = options_for(server);
  options.server.key = "sk-very-secret-key-1234";
  ApiLanguageModel model(options);
  EXPECT_EQ(generate_one(model, "say sk-very-secret-key-1234")[0].texts[0], "answer to  [key]");
  options.server.key = "word0";  // a word that stands for a key
  ApiLanguageModel open(options);
  EXPECT_EQ(ask_words(open, 1)[0].texts[0], "answer to word0");
}

TEST(ApiLanguageModel, KeysComeFromTheEnvironment) {
  ::setenv("OPENAI_API_KEY", "second", 1);
  ::setenv("OCKHAM_API_KEY", " first\n", 1);
  EXPECT_EQ(api_key_from_environment(), "first");
  ::unsetenv("OCKHAM_API_KEY");
  EXPECT_EQ(api_key_from_environment(), "second");
  ::setenv("OPENAI_API_KEY", "two\r\nlines", 1);
  const std::string text = error_text([] { api_key_from_environment(); }, ErrorKind::kUsage);
  EXPECT_TRUE(has(text, {"OPENAI_API_KEY"}));
  EXPECT_EQ(text.find("lines"), std::string::npos);
  ::unsetenv("OPENAI_API_KEY");
  EXPECT_EQ(api_key_from_environment(), "");
}

// A task of `count` plain questions.
struct Plan {
  Task task;
  EvalOptions options;
};
Plan questions(const Scratch& scratch, int count, const std::string& kind) {
  Plan plan;
  plan.task = read_task(
      scratch.put(kind + ".yaml",
                  "task: t/" + kind + "\nsummary: s\ndimension: d\nitems: {quick: 0, full: 0}\ndata: {world: w}\n" +
                      "request: " + (kind == "choice" ? "{kind: choice}" : "{kind: generate, max_tokens: 4}") +
                      "\nprompt: {plain: \"Question {input}\"}\nscorer: " + (kind == "choice" ? "choice" : "contains") +
                      "\nmetrics:\n  - {name: accuracy, aggregate: score, better: higher, score: true}\n"));
  plan.options.world_items = [count](const std::string&) {
    std::vector<Json> items;
    for (int i = 0; i < count; ++i)
      items.push_back({{"id", fmt::format("i{}", i)},
                       {"input", fmt::format("number word{}", i)},
                       {"option", {"yes", "no"}},
                       {"answers", {"answer"}},
                       {"label", i % 2}});
    return items;
  };
  return plan;
}

TEST(ApiEvaluation, MissingItemsAreCountedAndAskedAgainAlone) {
  const Scratch scratch;
  for (const char* kind : {"generate", "choice"}) {
    SCOPED_TRACE(kind);
    Plan plan = questions(scratch, 90, kind);
    const ToyApi toy;
    std::atomic<bool> is_whole{false};
    const ScriptedServer server([&](const ServerRequest& request) {
      const bool is_bad = !is_whole && request.body.find("word3") != std::string::npos;
      return is_bad ? ServerReply{400, R"({"error": {"message": "not this one"}})", ""} : toy.answer(request);
    });
    std::vector<ItemResult> kept;
    plan.options.on_items = [&](const std::vector<ItemResult>& items) {
      kept.insert(kept.end(), items.begin(), items.end());
    };
    plan.options.resume = [&](const std::string&) { return kept; };
    ApiLanguageModel model(options_for(server));
    const TaskResult result = evaluate(model, plan.task, plan.options);
    EXPECT_EQ(result.items.size(), 79U);  // without 3 and 30..39
    ASSERT_EQ(result.missing_items.size(), 11U);
    EXPECT_EQ(result.missing_items[0].id, "i3");
    EXPECT_EQ(result.metrics[0].n, 79);
    EXPECT_TRUE(has(fmt::format("{}", fmt::join(result.notes, "\n")), {"11 of 90 items are missing", "not this one"}));
    is_whole = true;
    const auto before = static_cast<int64_t>(server.requests().size());
    const TaskResult again = evaluate(model, plan.task, plan.options);
    EXPECT_EQ(static_cast<int64_t>(server.requests().size()) - before, kind[0] == 'c' ? 22 : 11);
    ASSERT_EQ(again.items.size(), 90U);
    EXPECT_TRUE(again.missing_items.empty());
    EXPECT_EQ(again.items[3].id, "i3");
    EXPECT_EQ(kept.size(), 90U);
  }
}

TEST(ApiEvaluation, ATaskThatIsAlwaysRefusedIsNotMeasured) {
  const Scratch scratch;
  const Plan plan = questions(scratch, 10, "generate");
  Misbehaving api;
  api.reply = {400, R"({"error": {"message": "temperature is not supported"}})", ""};
  ApiLanguageModel model(options_for(api.server));
  api.bad = 1000;
  EXPECT_TRUE(has(error_text([&] { evaluate(model, plan.task, plan.options); }, ErrorKind::kUnsupported),
                  {"t/generate", "none of the first 10 items", "temperature is not supported"}));
}

TEST(ApiEvaluation, TheForecastCountsWhatIsAsked) {
  const Scratch scratch;
  for (const char* kind : {"generate", "choice"}) {
    SCOPED_TRACE(kind);
    Plan plan = questions(scratch, 10, kind);
    const ToyApi toy;
    const ScriptedServer server([&](const ServerRequest& request) { return toy.answer(request); });
    ApiLanguageModel model(options_for(server));
    const TaskForecast count = forecast(model, {plan.task}, plan.options)[0];
    EXPECT_EQ(server.count("/completions"), kind[0] == 'c' ? 1 : 0);  // to see whether there are likelihoods
    EXPECT_EQ(count.requests, kind[0] == 'c' ? 20 : 10);
    // "Question number word0": 21 bytes; with " yes" 25, with " no" 24.
    EXPECT_EQ(count.prompt_tokens, kind[0] == 'c' ? 10 * (7 + 6) : 10 * 6);
    EXPECT_EQ(count.completion_tokens, kind[0] == 'c' ? 0 : 40);
    const int64_t before = server.count("/completions");
    evaluate(model, plan.task, plan.options);
    EXPECT_EQ(server.count("/completions") - before, count.requests);
    // What is there already is not asked.
    plan.options.resume = [](const std::string&) {
      std::vector<ItemResult> known(1);
      known[0].id = "i4";
      known[0].extra = Json::object();
      return known;
    };
    EXPECT_EQ(forecast(model, {plan.task}, plan.options)[0].requests, kind[0] == 'c' ? 18 : 9);
  }
  EXPECT_DOUBLE_EQ((ApiPrices{2, 8}.cost(500'000, 250'000)), 3.0);
}

}  // namespace
}  // namespace ockham
