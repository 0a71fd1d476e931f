// What can be read out of a server's answers, and what is said of those that cannot.
#include "ockham/server/api_answers.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/io/scratch.h"

namespace ockham {
namespace {

// As vLLM answers: BOS counts in the offsets.
constexpr const char* kEcho = R"({"choices": [{"text": "The sky is blue", "logprobs": {
  "tokens": ["<s>", "The", " sky", " is", " blue"], "text_offset": [0, 3, 6, 10, 13],
  "token_logprobs": [null, -2.5, -1.25, -0.5, -3.0],
  "top_logprobs": [null, {"A": -1.0, "The": -2.5}, {" sky": -1.25}, {" is": -0.5}, {" grey": -0.25, " blue": -3.0}]}}],
  "usage": {"prompt_tokens": 5, "completion_tokens": 0}})";

TEST(ApiAnswers, AnEchoGivesTokensLikelihoodsAndFirstChoices) {
  const ApiEcho echo = read_echo(kEcho);
  ASSERT_EQ(echo.tokens.size(), 5U);
  EXPECT_TRUE(std::isnan(echo.logprobs[0]));
  EXPECT_EQ(echo.logprobs[4], -3.0);
  EXPECT_EQ(echo.is_best, (std::vector<bool>{false, false, true, true, false}));
  EXPECT_EQ(echo.usage.prompt_tokens, 5);
  EXPECT_TRUE(spells(echo, 5, "The sky is blue"));
  EXPECT_FALSE(spells(echo, 4, "The sky is blue"));
}

TEST(ApiAnswers, TheBoundaryFollowsFromOffsetsThatHoldTogether) {
  ApiEcho echo = read_echo(kEcho);
  EXPECT_EQ(find_boundary(echo, 5, "The sky is", " blue"), 4);
  EXPECT_EQ(find_boundary(echo, 5, "The sky", " is blue"), 3);
  EXPECT_EQ(find_boundary(echo, 5, "", "The sky is blue"), 1);
  // As OpenAI counts: without BOS.
  ApiEcho plain = echo;
  plain.tokens.erase(plain.tokens.begin());
  plain.offsets = {0, 3, 7, 10};
  EXPECT_EQ(find_boundary(plain, 4, "The sky is", " blue"), 3);
  // Code points, not bytes.
  ApiEcho umlaut = plain;
  umlaut.tokens = {"Grün", " ist", " das", " Gräs"};
  umlaut.offsets = {0, 4, 8, 12};
  EXPECT_EQ(find_boundary(umlaut, 4, "Grün ist das", " Gräs"), 3);
  // Tokens that lost their blank, as SentencePiece's do one by one: the offsets drift, the letters tell.
  ApiEcho bare = plain;
  bare.tokens = {"The", "sky", "is", "blue"};
  bare.offsets = {0, 3, 6, 8};
  EXPECT_EQ(find_boundary(bare, 4, "The sky is", " blue"), -1);
  // A token across the boundary, offsets of bytes, no offsets.
  ApiEcho across = plain;
  across.tokens = {"The", " sky", " isbl", "ue"};
  across.offsets = {0, 3, 7, 12};
  EXPECT_EQ(find_boundary(across, 4, "The sky is", "blue"), -1);
  umlaut.offsets = {0, 5, 9, 13};
  EXPECT_EQ(find_boundary(umlaut, 4, "Grün ist das", " Gräs"), 3);
  echo.offsets.clear();
  EXPECT_EQ(find_boundary(echo, 5, "The sky is", " blue"), -1);
  EXPECT_EQ(find_boundary(ApiEcho{}, 0, "a", "b"), -1);
}

TEST(ApiAnswers, GenerationsGiveTextsAndWhyTheyStopped) {
  const ApiGenerated completion = read_completion(
      R"({"choices": [{"text": " blue", "finish_reason": "length"}, {"text": null, "finish_reason": null}],
          "usage": {"prompt_tokens": "many", "completion_tokens": 18446744073709551615}})");
  ASSERT_EQ(completion.choices.size(), 2U);
  EXPECT_EQ(completion.choices[0].text, " blue");
  EXPECT_TRUE(completion.choices[0].hit_limit);
  EXPECT_EQ(completion.choices[1].text, "");
  EXPECT_EQ(completion.usage.completion_tokens, 0);
  const auto chat = [](const std::string& message) {
    return read_chat_completion(R"({"choices": [{"message": )" + message + "}]}").choices[0].text;
  };
  EXPECT_EQ(chat(R"({"role": "assistant", "content": "yes"})"), "yes");
  EXPECT_EQ(chat(R"({"content": null, "refusal": "I cannot help with that."})"), "I cannot help with that.");
  EXPECT_EQ(chat(R"({"reasoning_content": "hm"})"), "");
}

TEST(ApiAnswers, ModelsMayNameTheirContext) {
  const std::vector<ApiModel> models = read_models(
      R"({"data": [{"id": "a", "max_model_len": 4096}, {"id": "b", "meta": {"n_ctx_train": 512}}, {"id": "c"}]})");
  ASSERT_EQ(models.size(), 3U);
  EXPECT_EQ(models[0].context_length, 4096);
  EXPECT_EQ(models[1].context_length, 512);
  EXPECT_EQ(models[2].context_length, 0);
}

TEST(ApiAnswers, WhatCannotBeReadIsNamed) {
  const auto said = [](const std::string& body) { return error_text([&] { read_completion(body); }); };
  EXPECT_TRUE(has(said(""), {"is empty"}));
  EXPECT_TRUE(has(said("<html>Bad gateway</html>"), {"is no JSON", "<html>Bad"}));
  EXPECT_TRUE(has(said(R"({"choices": [{"te)"), {"is no JSON"}));
  EXPECT_TRUE(has(said("[1]"), {"is array", "expected an object"}));
  EXPECT_TRUE(has(said("{}"), {"'choices' is missing"}));
  EXPECT_TRUE(has(said(R"({"choices": []})"), {"empty list"}));
  EXPECT_TRUE(has(said(R"({"choices": "text"})"), {"'choices' is string"}));
  EXPECT_TRUE(has(said(R"({"choices": [{"text": 3}]})"), {"choice 0", "text"}));
  EXPECT_TRUE(
      has(error_text([] { read_chat_completion(R"({"choices": [{"text": "x"}]})"); }), {"'message' is missing"}));
  EXPECT_TRUE(has(error_text([] { read_models(R"({"data": [{"name": "x"}]})"); }), {"'id'"}));
  const auto echo = [](const std::string& lists) {
    return error_text([&] { read_echo(R"({"choices": [{"logprobs": )" + lists + "}]}"); });
  };
  EXPECT_TRUE(has(echo("null"), {"'logprobs' is null"}));
  EXPECT_TRUE(
      has(echo(R"({"tokens": ["a"], "token_logprobs": [-1], "top_logprobs": null})"), {"'top_logprobs' is null"}));
  EXPECT_TRUE(has(echo(R"({"tokens": ["a"], "token_logprobs": [-1, -2], "top_logprobs": [null]})"), {"one length"}));
  EXPECT_TRUE(has(echo(R"({"tokens": [1], "token_logprobs": [-1], "top_logprobs": [null]})"), {"token 0 is number"}));
  EXPECT_TRUE(has(echo(R"({"tokens": ["a"], "token_logprobs": ["x"], "top_logprobs": [null]})"), {"is string"}));
  EXPECT_TRUE(has(echo(R"({"tokens": ["a"], "token_logprobs": [2.5], "top_logprobs": [null]})"), {"2.5"}));
}

TEST(ApiAnswers, ErrorsOfSeveralServersAreRead) {
  EXPECT_EQ(read_problem(R"({"error": {"message": "no such model", "code": "model_not_found"}})").code,
            "model_not_found");
  EXPECT_EQ(read_problem(R"({"error": "out of memory"})").message, "out of memory");
  EXPECT_EQ(read_problem(R"({"object": "error", "message": "too long"})").message, "too long");
  EXPECT_EQ(read_problem(R"({"detail": [{"loc": ["body"], "msg": "field required"}]})").message, "field required");
  EXPECT_EQ(read_problem("<html>").message, "");
  EXPECT_EQ(read_problem("[]").message, "");
  const std::string longest(1000, 'x');
  EXPECT_EQ(read_problem(R"({"message": ")" + longest + "\"}").message.size(), 303U);
}

}  // namespace
}  // namespace ockham
