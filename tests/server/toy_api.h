// An OpenAI-compatible server of a toy model: tokens are words with the blank before them; a token's log-likelihood
// follows from itself and the one before; answers from the last word.
#pragma once

#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "ockham/io/json.h"
#include "tests/server/scripted_server.h"

namespace ockham {

struct ToyApi {
  // What servers differ in.
  bool has_echo = true, has_bos = true, drops_blanks = false, wants_one_token = false, one_sample = false,
       wants_max_completion_tokens = false;
  int64_t max_model_len = 0;
  std::vector<std::string> models = {"toy"};

  static std::vector<std::string> words(const std::string& text) {
    std::vector<std::string> result;
    for (const char c : text) {
      if (result.empty() || c == ' ') result.emplace_back();
      result.back() += c;
    }
    return result;
  }
  // -0.25, -0.5, ... -2
  static double logprob(const std::string& before, const std::string& token) {
    size_t sum = 0;
    for (const char c : before + "|" + token) sum = sum * 31 + static_cast<unsigned char>(c);
    return -0.25 * static_cast<double>(sum % 8 + 1);
  }

  // Answers while `left` questions are left, every question taking one; then hangs up, on whatever is asked.
  ServerReply answer_while(std::atomic<int64_t>& left, const ServerRequest& request) const {
    const bool is_question = request.path != "/v1/models";
    return left <= 0 || (is_question && left-- <= 0) ? ServerReply{200, "", "", -1, true} : answer(request);
  }
  ServerReply answer(const ServerRequest& request) const {
    if (request.path == "/v1/models") {
      Json list = {{"object", "list"}, {"data", Json::array()}};
      for (const std::string& model : models) {
        list["data"].push_back({{"id", model}});
        if (max_model_len > 0) list["data"].back()["max_model_len"] = max_model_len;
      }
      return {200, list.dump(), ""};
    }
    if (request.body.empty()) return {404, "{}", ""};
    const Json body = Json::parse(request.body);
    if (wants_max_completion_tokens && body.contains("max_tokens"))
      return refusal("Unsupported parameter: use max_completion_tokens instead of max_tokens");
    if (one_sample && body.value("n", 1) > 1) return refusal("Only one completion choice is allowed");
    if (request.path == "/v1/chat/completions") {
      Json choices = Json::array();
      for (int i = 0; i < body.value("n", 1); ++i)
        choices.push_back(
            {{"index", i},
             {"message", {{"role", "assistant"}, {"content", reply_to(body["messages"].back()["content"])}}},
             {"finish_reason", "stop"}});
      return {200, Json({{"choices", choices}, {"usage", {{"prompt_tokens", 5}, {"completion_tokens", 1}}}}).dump(),
              ""};
    }
    if (request.path != "/v1/completions") return {404, R"({"error": {"message": "no such place"}})", ""};
    if (body.value("echo", false)) return echo(body);
    const Json choice = {{"text", reply_to(body["prompt"])}, {"finish_reason", "length"}};
    return {200, Json({{"choices", Json::array({choice})}}).dump(), ""};
  }

 private:
  static ServerReply refusal(const std::string& message) {
    return {400, Json({{"error", {{"message", message}, {"code", 400}}}}).dump(), ""};
  }
  static std::string reply_to(const std::string& prompt) { return "answer to " + words(prompt).back(); }
  ServerReply echo(const Json& body) const {
    if (!has_echo) return refusal("Only no echo is supported");
    if (wants_one_token && body["max_tokens"] == 0) return refusal("max_tokens must be at least 1");
    std::vector<std::string> tokens = words(body["prompt"]);
    if (has_bos) tokens.insert(tokens.begin(), "<s>");
    for (int i = 0; i < body["max_tokens"].get<int>(); ++i) tokens.emplace_back(" more");
    Json lists = {{"tokens", Json::array()},
                  {"token_logprobs", Json::array()},
                  {"top_logprobs", Json::array()},
                  {"text_offset", Json::array()}};
    size_t offset = 0;
    for (size_t i = 0; i < tokens.size(); ++i) {
      const double value = i == 0 ? 0 : logprob(tokens[i - 1], tokens[i]);
      std::string shown = tokens[i];
      if (drops_blanks && shown.starts_with(' ')) shown.erase(0, 1);
      lists["tokens"].push_back(shown);
      lists["token_logprobs"].push_back(i == 0 ? Json() : Json(value));
      lists["top_logprobs"].push_back(i == 0 ? Json() : Json({{"other", -1.0}, {shown, value}}));
      lists["text_offset"].push_back(offset);
      offset += shown.size();
    }
    const Json choice = {{"text", "..."}, {"logprobs", lists}};
    return {200, Json({{"choices", Json::array({choice})}}).dump(), ""};
  }
};

}  // namespace ockham
