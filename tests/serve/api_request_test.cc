// Requests of clients: what is read, and what is said about those that are wrong.
#include "ockham/serve/api_request.h"

#include <gtest/gtest.h>

#include <string>

namespace ockham {
namespace {

// The error of a request that must be refused.
RequestError refusal(const std::string& body, bool is_chat = false) {
  try {
    is_chat ? read_chat_request(body) : read_completion_request(body);
  } catch (const RequestError& error) {
    return error;
  }
  ADD_FAILURE() << "accepted: " << body;
  return {0, ""};
}

TEST(ApiRequest, ReadsACompletion) {
  const ApiRequest request = read_completion_request(
      R"({"model": "m", "prompt": "a", "max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.1,
          "repetition_penalty": 1.1, "n": 3, "seed": 5, "stop": ["x", "yy"], "logprobs": 2, "echo": true,
          "stream": true, "stream_options": {"include_usage": true}, "user": "u", "best_of": 3,
          "presence_penalty": 0, "logit_bias": {}})");
  EXPECT_EQ(request.model, "m");
  ASSERT_EQ(request.prompts.size(), 1u);
  EXPECT_EQ(std::get<std::string>(request.prompts[0]), "a");
  EXPECT_EQ(request.max_tokens, 7);
  EXPECT_EQ(request.sampler.temperature, 0.5);
  EXPECT_EQ(request.sampler.top_p, 0.9);
  EXPECT_EQ(request.sampler.top_k, 40);
  EXPECT_EQ(request.sampler.min_p, 0.1);
  EXPECT_EQ(request.sampler.repetition_penalty, 1.1);
  EXPECT_EQ(request.samples, 3);
  EXPECT_EQ(request.seed, 5u);
  EXPECT_EQ(request.stop, (std::vector<std::string>{"x", "yy"}));
  EXPECT_EQ(request.likely, 2);
  EXPECT_TRUE(request.echo && request.is_stream && request.has_usage_in_stream && !request.is_chat);
}

TEST(ApiRequest, HasTheDefaultsOfTheApi) {
  const ApiRequest request = read_completion_request(R"({"prompt": "", "max_tokens": null, "stop": null})");
  EXPECT_EQ(request.sampler.temperature, 1);
  EXPECT_EQ(request.sampler.top_p, 1);
  EXPECT_EQ(request.samples, 1);
  EXPECT_FALSE(request.max_tokens || request.seed || request.likely || request.echo || request.is_stream);
  EXPECT_TRUE(request.stop.empty() && request.model.empty());
}

TEST(ApiRequest, ReadsPromptsOfEveryForm) {
  EXPECT_EQ(read_completion_request(R"({"prompt": ["a", "b"]})").prompts.size(), 2u);
  const ApiRequest ids = read_completion_request(R"({"prompt": [1, 2, 3]})");
  ASSERT_EQ(ids.prompts.size(), 1u);
  EXPECT_EQ(std::get<std::vector<int32_t>>(ids.prompts[0]), (std::vector<int32_t>{1, 2, 3}));
  const ApiRequest lists = read_completion_request(R"({"prompt": [[1], [2, 3], "c"], "max_tokens": 0})");
  ASSERT_EQ(lists.prompts.size(), 3u);
  EXPECT_EQ(std::get<std::vector<int32_t>>(lists.prompts[1]), (std::vector<int32_t>{2, 3}));
  EXPECT_EQ(lists.max_tokens, 0);
}

TEST(ApiRequest, ReadsAChat) {
  const ApiRequest request = read_chat_request(
      R"({"model": "m", "messages": [{"role": "developer", "content": "s"},
          {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
          {"role": "assistant", "content": null}, {"role": "user", "content": "c"}],
          "max_completion_tokens": 9, "logprobs": true, "top_logprobs": 4, "stop": "z", "tools": [],
          "response_format": {"type": "text"}})");
  ASSERT_EQ(request.messages.size(), 4u);
  EXPECT_EQ(request.messages[0].role, "system");
  EXPECT_EQ(request.messages[1].content, "ab");
  EXPECT_EQ(request.messages[2].content, "");
  EXPECT_EQ(request.max_tokens, 9);
  EXPECT_EQ(request.likely, 4);
  EXPECT_EQ(request.stop, (std::vector<std::string>{"z"}));
  EXPECT_TRUE(request.is_chat);
}

TEST(ApiRequest, ReadsWhatATextIsKeptTo) {
  const auto read = [](const std::string& field) {
    return read_completion_request(R"({"prompt": "a", )" + field + "}");
  };
  EXPECT_FALSE(read(R"("response_format": {"type": "text"})").grammar.has_value());
  EXPECT_TRUE(read(R"("response_format": {"type": "json_object"})").grammar.has_value());
  EXPECT_TRUE(read(R"("grammar": "root ::= \"yes\" | \"no\"")").grammar.has_value());
  const auto schema = [&](const std::string& type) {
    return read(R"("response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema":
                   {"type": ")" +
                type + R"("}}})");
  };
  EXPECT_TRUE(schema("integer").grammar.has_value());
  EXPECT_EQ(schema("integer").constraint, schema("integer").constraint);
  EXPECT_NE(schema("integer").constraint, schema("boolean").constraint);
}

TEST(ApiRequest, ReadsACachePolicy) {
  const ApiRequest request = read_completion_request(R"({"prompt": "a", "kv_cache": "h2o,budget=0.3"})");
  EXPECT_EQ(request.kv.value().text(), "h2o,budget=0.3");
}

TEST(ApiRequest, RefusesWhatIsWrongAndSaysWhere) {
  struct Case {
    const char *body, *param;
  };
  const Case cases[] = {
      {"", ""},
      {"{", ""},
      {"[]", ""},
      {"\"\\ud800\"", ""},
      {"{\"prompt\": \"\xff\"}", ""},
      {"{}", "prompt"},
      {R"({"prompt": 3})", "prompt"},
      {R"({"prompt": []})", "prompt"},
      {R"({"prompt": [1, "a"]})", "prompt"},
      {R"({"prompt": [1.5]})", "prompt"},
      {R"({"prompt": [-1]})", "prompt"},
      {R"({"prompt": [4294967296]})", "prompt"},
      {R"({"prompt": [18446744073709551615]})", "prompt"},
      {R"({"prompt": [[]]})", "prompt"},
      {R"({"prompt": [[[1]]]})", "prompt"},
      {R"({"prompt": "a", "max_tokens": -1})", "max_tokens"},
      {R"({"prompt": "a", "max_tokens": 1.5})", "max_tokens"},
      {R"({"prompt": "a", "max_tokens": "9"})", "max_tokens"},
      {R"({"prompt": "a", "max_tokens": 18446744073709551615})", "max_tokens"},
      {R"({"prompt": "a", "n": 0})", "n"},
      {R"({"prompt": "a", "n": 1000000000})", "n"},
      {R"({"prompt": ["a", "b", "c"], "n": 128})", "n"},
      {R"({"prompt": "a", "temperature": -0.1})", "temperature"},
      {R"({"prompt": "a", "temperature": true})", "temperature"},
      {R"({"prompt": "a", "top_p": 1.1})", "top_p"},
      {R"({"prompt": "a", "repetition_penalty": 0})", "repetition_penalty"},
      {R"({"prompt": "a", "seed": 1.5})", "seed"},
      {R"({"prompt": "a", "stop": ["1", "2", "3", "4", "5"]})", "stop"},
      {R"({"prompt": "a", "stop": [""]})", "stop"},
      {R"({"prompt": "a", "stop": 3})", "stop"},
      {R"({"prompt": "a", "logprobs": 21})", "logprobs"},
      {R"({"prompt": "a", "logprobs": true})", "logprobs"},
      {R"({"prompt": "a", "echo": 1})", "echo"},
      {R"({"prompt": "a", "stream": "yes"})", "stream"},
      {R"({"prompt": "a", "stream_options": {}})", "stream_options"},
      {R"({"prompt": "a", "best_of": 2})", "best_of"},
      {R"({"prompt": "a", "suffix": "b"})", "suffix"},
      {R"({"prompt": "a", "presence_penalty": 1})", "presence_penalty"},
      {R"({"prompt": "a", "logit_bias": {"1": 5}})", "logit_bias"},
      {R"({"prompt": "a", "response_format": "json_object"})", "response_format"},
      {R"({"prompt": "a", "response_format": {"type": "xml"}})", "response_format"},
      {R"({"prompt": "a", "response_format": {"type": "json_schema"}})", "response_format"},
      {R"({"prompt": "a", "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "x"}}}})",
       "response_format"},
      {R"({"prompt": "a", "response_format": {"type": "json_object", "depth": 2}})", "depth"},
      {R"({"prompt": "a", "response_format": {"type": "json_object"}, "grammar": "root ::= \"a\""})", "grammar"},
      {R"({"prompt": "a", "grammar": "root ::= other"})", "grammar"},
      {R"({"prompt": "a", "grammar": 3})", "grammar"},
      {R"({"prompt": "a", "kv_cache": "h20"})", "kv_cache"},
      {R"({"prompt": "a", "kv_cache": {"policy": "h2o"}})", "kv_cache"},
      {R"({"prompt": "a", "temprature": 0})", "temprature"},
      {R"({"prompt": "a", "model": 5})", "model"},
  };
  for (const Case& one : cases) {
    const RequestError error = refusal(one.body);
    EXPECT_EQ(error.status, 400) << one.body;
    EXPECT_EQ(error.param, one.param) << one.body;
    EXPECT_FALSE(error.message.empty());
    EXPECT_STREQ(error.type(), "invalid_request_error");
  }
}

TEST(ApiRequest, RefusesWrongChats) {
  struct Case {
    const char *body, *param;
  };
  const Case cases[] = {
      {R"({})", "messages"},
      {R"({"messages": []})", "messages"},
      {R"({"messages": "a"})", "messages"},
      {R"({"messages": ["a"]})", "messages[0]"},
      {R"({"messages": [{"content": "a"}]})", "messages[0].role"},
      {R"({"messages": [{"role": "user", "content": "a"}, {"role": "ghost", "content": "a"}]})", "messages[1].role"},
      {R"({"messages": [{"role": "user"}]})", "messages[0].content"},
      {R"({"messages": [{"role": "user", "content": 5}]})", "messages[0].content"},
      {R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})", "messages[0].content"},
      {R"({"messages": [{"role": "user", "content": "a"}], "max_tokens": 0})", "max_tokens"},
      {R"({"messages": [{"role": "user", "content": "a"}], "top_logprobs": 2})", "top_logprobs"},
      {R"({"messages": [{"role": "user", "content": "a"}], "tools": [{}]})", "tools"},
      {R"({"messages": [{"role": "user", "content": "a"}], "prompt": "b"})", "prompt"},
  };
  for (const Case& one : cases) {
    const RequestError error = refusal(one.body, true);
    EXPECT_EQ(error.status, 400) << one.body;
    EXPECT_EQ(error.param, one.param) << one.body;
  }
}

TEST(ApiRequest, SurvivesDeepNestingAndLongNames) {
  EXPECT_EQ(refusal(std::string(100'000, '[')).status, 400);
  EXPECT_EQ(refusal(R"({"prompt": )" + std::string(100'000, '[') + std::string(100'000, ']') + "}").status, 400);
  const RequestError error = refusal(R"({"prompt": "a", ")" + std::string(100'000, 'x') + R"(": 1})");
  EXPECT_LT(error.message.size(), 300u);
}

}  // namespace
}  // namespace ockham
