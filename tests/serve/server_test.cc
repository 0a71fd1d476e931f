// The server over real sockets: answers, streams, refusals, clients that leave, shutdown.
#include "ockham/serve/server.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <thread>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/file.h"
#include "tests/serve/http_client.h"
#include "tests/serve/serve_fixture.h"

namespace ockham {
namespace {

using test::HttpAnswer;
using test::HttpClient;

ServerOptions on_any_port() {
  ServerOptions options;
  options.port = 0;
  return options;
}

// The objects of a stream of events, without the last mark.
std::vector<Json> events_of(const std::string& body) {
  std::vector<Json> events;
  size_t at = 0;
  for (size_t end; (end = body.find("\n\n", at)) != std::string::npos; at = end + 2) {
    const std::string line = body.substr(at, end - at);
    EXPECT_TRUE(line.starts_with("data: ")) << line;
    if (line == "data: [DONE]") {
      EXPECT_EQ(end + 2, body.size());
      return events;
    }
    events.push_back(Json::parse(line.substr(6)));
  }
  ADD_FAILURE() << "no [DONE] in " << body;
  return events;
}

class ServerTest : public testing::Test {
 protected:
  HttpAnswer ask(const Server& server, const std::string& method, const std::string& path, const std::string& body = "",
                 const std::string& headers = "") {
    HttpClient client(server.port());
    return client.ask(method, path, body, headers);
  }
  // Asks until the server has noticed that a client is gone.
  void wait_until_quiet(Server& server) {
    for (int i = 0; i < 3000; ++i) {
      const ServiceState state = server.service().state();
      if (state.running == 0 && state.queued == 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    ADD_FAILURE() << "requests are still running";
  }
  NativeLanguageModel model_{test::mini(), test::small_model()};
};

constexpr const char* kCompletions = "/v1/completions";
constexpr const char* kChat = "/v1/chat/completions";

TEST_F(ServerTest, Completes) {
  Server server(model_, on_any_port());
  const HttpAnswer answer =
      ask(server, "POST", kCompletions,
          R"({"model": "mini", "prompt": ["who is", "the"], "n": 2, "max_tokens": 6, "seed": 3})");
  ASSERT_EQ(answer.status, 200) << answer.body;
  const Json json = answer.json();
  EXPECT_EQ(json["object"], "text_completion");
  EXPECT_EQ(json["model"], "mini");
  ASSERT_EQ(json["choices"].size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(json["choices"][i]["index"], i);
    EXPECT_TRUE(json["choices"][i]["text"].is_string());
    EXPECT_TRUE(json["choices"][i]["logprobs"].is_null());
  }
  const Json& usage = json["usage"];
  EXPECT_GT(usage["prompt_tokens"], 0);
  EXPECT_EQ(usage["total_tokens"].get<int>(),
            usage["prompt_tokens"].get<int>() + usage["completion_tokens"].get<int>());
}

TEST_F(ServerTest, EchoesWithLogProbabilities) {
  Server server(model_, on_any_port());
  const Json choice =
      ask(server, "POST", kCompletions,
          R"({"prompt": "who is the mayor", "max_tokens": 1, "temperature": 0, "logprobs": 2, "echo": true})")
          .json()["choices"][0];
  const Json& logprobs = choice["logprobs"];
  const size_t count = logprobs["tokens"].size();
  for (const char* key : {"token_logprobs", "top_logprobs", "text_offset"})
    EXPECT_EQ(logprobs[key].size(), count) << key;
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  std::string spelled;
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) {
      EXPECT_LE(logprobs["token_logprobs"][i].get<double>(), 0);
    }
    if (i > 0) {
      EXPECT_TRUE(logprobs["top_logprobs"][i].contains(logprobs["tokens"][i].get<std::string>()));
    }
    spelled += logprobs["tokens"][i].get<std::string>();
  }
  EXPECT_TRUE(choice["text"].get<std::string>().starts_with("who is the mayor"));
  EXPECT_NE(spelled.find("who is the mayor"), std::string::npos);
}

TEST_F(ServerTest, StreamsTheSameText) {
  Server server(model_, on_any_port());
  const std::string request = R"({"prompt": "once upon", "max_tokens": 20, "seed": 9, "logprobs": 1)";
  const Json whole = ask(server, "POST", kCompletions, request + "}").json();
  const HttpAnswer answer =
      ask(server, "POST", kCompletions, request + R"(, "stream": true, "stream_options": {"include_usage": true}})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.headers.find("content-type: text/event-stream"), std::string::npos);
  const std::vector<Json> events = events_of(answer.body);
  ASSERT_GT(events.size(), 3u);
  std::string text, reason;
  size_t tokens = 0;
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    const Json& choice = events[i]["choices"][0];
    text += choice["text"].get<std::string>();
    if (choice["logprobs"].is_object()) tokens += choice["logprobs"]["tokens"].size();
    if (!choice["finish_reason"].is_null()) reason = choice["finish_reason"];
  }
  EXPECT_EQ(text, whole["choices"][0]["text"]);
  EXPECT_EQ(reason, whole["choices"][0]["finish_reason"]);
  EXPECT_EQ(tokens, whole["choices"][0]["logprobs"]["tokens"].size());
  EXPECT_TRUE(events.back()["choices"].empty());
  EXPECT_EQ(events.back()["usage"]["completion_tokens"], whole["usage"]["completion_tokens"]);
}

TEST_F(ServerTest, Chats) {
  Server server(model_, on_any_port());
  const std::string request =
      R"({"model": "mini", "messages": [{"role": "user", "content": "who is the mayor of Ardel?"}], "max_tokens": 12,
          "n": 2, "seed": 4, "logprobs": true, "top_logprobs": 2)";
  const Json json = ask(server, "POST", kChat, request + "}").json();
  EXPECT_EQ(json["object"], "chat.completion");
  ASSERT_EQ(json["choices"].size(), 2u);
  const Json& first = json["choices"][0];
  EXPECT_EQ(first["message"]["role"], "assistant");
  for (const Json& token : first["logprobs"]["content"]) {
    EXPECT_EQ(token["top_logprobs"].size(), 2u);
    EXPECT_EQ(token["bytes"].size(), token["token"].get<std::string>().size());
  }
  const std::vector<Json> events = events_of(ask(server, "POST", kChat, request + R"(, "stream": true})").body);
  std::vector<std::string> texts(2);
  std::vector<bool> has_role(2);
  for (const Json& event : events) {
    EXPECT_EQ(event["object"], "chat.completion.chunk");
    const Json& choice = event["choices"][0];
    const auto index = choice["index"].get<size_t>();
    if (choice["delta"].contains("role")) has_role[index] = true;
    EXPECT_TRUE(has_role[index]);  // comes first
    texts[index] += choice["delta"].value("content", "");
  }
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(texts[i], json["choices"][i]["message"]["content"]);
}

TEST_F(ServerTest, TellsOfItself) {
  Server server(model_, on_any_port());
  EXPECT_EQ(ask(server, "GET", "/health").json()["status"], "ok");
  const Json models = ask(server, "GET", "/v1/models").json();
  EXPECT_EQ(models["data"][0]["id"], "mini");
  EXPECT_EQ(models["data"][0]["max_model_len"], model_.info().context_length);
  EXPECT_EQ(ask(server, "GET", "/v1/models/mini").json()["id"], "mini");
  EXPECT_EQ(ask(server, "POST", kCompletions, R"({"prompt": "a", "max_tokens": 3})").status, 200);
  const std::string metrics = ask(server, "GET", "/metrics").body;
  for (const char* line :
       {"ockham_requests_total{route=\"/v1/completions\",status=\"200\"} 1\n", "ockham_generated_tokens_total ",
        "ockham_request_seconds_bucket{le=\"+Inf\"} 1\n", "ockham_queued_requests 0\n"})
    EXPECT_NE(metrics.find(line), std::string::npos) << line << " in\n" << metrics;
}

TEST_F(ServerTest, RefusesInTheFormOfTheApiAndGoesOn) {
  ServerOptions options = on_any_port();
  options.most_body_bytes = 100'000;
  Server server(model_, options);
  struct Case {
    const char *method, *path;
    std::string body;
    int status;
  };
  const std::string large = R"({"prompt": ")" + std::string(200'000, 'a') + R"("})";
  const Case cases[] = {{"POST", kCompletions, "{", 400},
                        {"POST", kCompletions, "", 400},
                        {"POST", kCompletions, "\xff\xfe", 400},
                        {"POST", kCompletions, std::string(90'000, '['), 400},
                        {"POST", kCompletions, R"({"prompt": "a", "n": 99999999999})", 400},
                        {"POST", kCompletions, R"({"prompt": "a", "max_tokens": -3})", 400},
                        {"POST", kCompletions, R"({"prompt": "a", "max_tokens": 100000})", 400},
                        {"POST", kCompletions, R"({"prompt": [999999999]})", 400},
                        {"POST", kCompletions, R"({"prompt": "a", "model": "gpt-5"})", 404},
                        {"POST", kCompletions, large, 413},
                        {"POST", kChat, R"({"messages": [{"role": "user", "content": 7}]})", 400},
                        {"GET", kCompletions, "", 405},
                        {"POST", "/v1/models", "{}", 405},
                        {"GET", "/v1/models/none", "", 404},
                        {"POST", "/v1/embeddings", "{}", 404},
                        {"GET", "/", "", 404}};
  for (const Case& one : cases) {
    const HttpAnswer answer = ask(server, one.method, one.path, one.body);
    EXPECT_EQ(answer.status, one.status) << one.method << " " << one.path << " " << one.body.substr(0, 60);
    const Json error = answer.json()["error"];
    std::set<std::string> keys;
    for (const auto& [key, value] : error.items()) keys.insert(key);
    EXPECT_EQ(keys, (std::set<std::string>{"message", "type", "param", "code"}));
    EXPECT_TRUE(error["message"].is_string() && error["type"].is_string());
  }
  EXPECT_EQ(ask(server, "POST", kCompletions, R"({"prompt": "a", "max_tokens": 2})").status, 200);
}

TEST_F(ServerTest, SurvivesWhatIsNoHttp) {
  Server server(model_, on_any_port());
  for (const std::string& bytes :
       {std::string("\x16\x03\x01\x02\x00\x01", 6), std::string("GET\r\n\r\n"), std::string(100'000, 'a'),
        std::string("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n"),
        std::string("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{\"prompt\"")}) {
    HttpClient client(server.port());
    client.send(bytes);
    client.close();
  }
  HttpClient chunked(server.port());
  chunked.send(
      "POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      "1e\r\n{\"prompt\": \"a\", \"max_tokens\":2\r\n1\r\n}\r\n0\r\n\r\n");
  EXPECT_EQ(chunked.read_answer().status, 200);
}

TEST_F(ServerTest, AConnectionServesManyRequests) {
  Server server(model_, on_any_port());
  HttpClient client(server.port());
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(client.ask("POST", kCompletions, R"({"prompt": "a", "max_tokens": 1})").status, 200);
}

TEST_F(ServerTest, AsksForItsKey) {
  ServerOptions options = on_any_port();
  options.key = "secret-key";
  Server server(model_, options);
  const std::string body = R"({"prompt": "a", "max_tokens": 1})";
  EXPECT_EQ(ask(server, "GET", "/health").status, 200);
  for (const char* headers : {"", "Authorization: Bearer wrong\r\n", "Authorization: secret-key\r\n",
                              "Authorization: Bearer secret-key2\r\n", "Authorization: Bearer \r\n"}) {
    const HttpAnswer answer = ask(server, "POST", kCompletions, body, headers);
    EXPECT_EQ(answer.status, 401) << headers;
    EXPECT_EQ(answer.json()["error"]["code"], "invalid_api_key");
  }
  EXPECT_EQ(ask(server, "GET", "/metrics").status, 401);
  EXPECT_EQ(ask(server, "POST", kCompletions, body, "Authorization: Bearer secret-key\r\n").status, 200);
}

TEST_F(ServerTest, AClientThatLeavesFreesItsRequest) {
  {
    ServerOptions options = on_any_port();
    options.service.most_running = 2;
    Server server(model_, options);
    for (const bool is_stream : {true, false}) {
      std::vector<std::unique_ptr<HttpClient>> clients;
      for (int i = 0; i < 4; ++i) {
        clients.push_back(std::make_unique<HttpClient>(server.port()));
        clients.back()->send_request(
            "POST", kCompletions,
            std::string(R"({"prompt": "once upon", "max_tokens": 480, "seed": 1, "stream": )") +
                (is_stream ? "true}" : "false}"));
      }
      if (is_stream) {
        EXPECT_TRUE(clients[0]->read_until("data: "));
      }
      clients.clear();
      wait_until_quiet(server);
    }
    EXPECT_GT(server.service().state().cancelled, 0);
    EXPECT_EQ(ask(server, "POST", kCompletions, R"({"prompt": "a", "max_tokens": 1})").status, 200);
  }
  EXPECT_EQ(model_.engine().cache().free_pages(), model_.engine().cache().pages());
}

TEST_F(ServerTest, AFullQueueSaysWhenToComeBack) {
  ServerOptions options = on_any_port();
  options.service.most_running = 1;
  options.service.most_queued = 1;
  Server server(model_, options);
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 12; ++i) {
    clients.push_back(std::make_unique<HttpClient>(server.port()));
    clients.back()->send_request("POST", kCompletions, R"({"prompt": "once upon", "max_tokens": 200, "seed": 1})");
  }
  int answered = 0, refused = 0;
  for (const auto& client : clients) {
    const HttpAnswer answer = client->read_answer();
    answered += answer.status == 200;
    refused += answer.status == 429;
    if (answer.status == 429) {
      EXPECT_NE(answer.headers.find("retry-after: "), std::string::npos);
    }
  }
  EXPECT_EQ(answered + refused, 12);
  EXPECT_GT(answered, 0);
  EXPECT_GT(refused, 0);
}

TEST_F(ServerTest, AClientThatSendsNothingIsLeft) {
  ServerOptions options = on_any_port();
  options.read_timeout_s = 0.2;
  Server server(model_, options);
  HttpClient silent(server.port()), half(server.port());
  silent.send("POST /v1/comp");
  half.send("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{\"prompt\"");
  EXPECT_EQ(half.read_answer().status, 408);
  EXPECT_FALSE(silent.read_until("\r\n\r\n200"));  // closed
}

TEST_F(ServerTest, ShutsDownInGoodOrder) {
  Server server(model_, on_any_port());
  HttpClient idle(server.port()), client(server.port());
  idle.ask("GET", "/health");
  client.send_request("POST", kCompletions, R"({"prompt": "once upon", "max_tokens": 60, "seed": 1, "stream": true})");
  ASSERT_TRUE(client.read_until("data: "));
  std::thread stopping([&] { server.shut_down(60); });
  const HttpAnswer answer = client.read_answer();
  stopping.join();
  EXPECT_TRUE(answer.body.ends_with("data: [DONE]\n\n"));
  EXPECT_EQ(answer.body.find("\"error\""), std::string::npos);  // it had the time
  HttpClient late(server.port());
  EXPECT_FALSE(late.is_connected() && late.ask("GET", "/health").status == 200);
}

TEST_F(ServerTest, EndsStreamsThatTakeTooLong) {
  Server server(model_, on_any_port());
  HttpClient client(server.port());
  client.send_request("POST", kCompletions, R"({"prompt": "once upon", "max_tokens": 490, "seed": 1, "stream": true})");
  ASSERT_TRUE(client.read_until("data: "));
  std::thread stopping([&] { server.shut_down(0); });
  const HttpAnswer answer = client.read_answer();
  stopping.join();
  EXPECT_EQ(server.service().state().running, 0);
  EXPECT_TRUE(answer.body.empty() || answer.body.find("data: ") == 0);
}

TEST_F(ServerTest, RunsUntilAnInterrupt) {
  clear_interrupt();
  int port = 0;
  std::thread interrupting;
  run_server(model_, on_any_port(), 5, [&](const Server& server) {
    port = server.port();
    interrupting = std::thread([port] {
      HttpClient client(port);
      EXPECT_EQ(client.ask("POST", kCompletions, R"({"prompt": "a", "max_tokens": 1})").status, 200);
      request_interrupt();
    });
  });
  interrupting.join();
  EXPECT_FALSE(interrupt_requested());
  EXPECT_FALSE(HttpClient(port).is_connected());
}

TEST_F(ServerTest, APortThatIsTakenIsAnError) {
  Server server(model_, on_any_port());
  ServerOptions options = on_any_port();
  options.port = server.port();
  try {
    Server second(model_, options);
    FAIL() << "listens twice";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kResource);
    EXPECT_NE(std::string(error.what()).find(std::to_string(options.port)), std::string::npos);
  }
}

}  // namespace
}  // namespace ockham
