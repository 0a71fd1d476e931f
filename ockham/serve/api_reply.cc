#include "ockham/serve/api_reply.h"

#include <fmt/format.h>

#include <algorithm>

#include "ockham/io/file.h"
#include "ockham/io/json.h"

namespace ockham {
namespace {

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string event(const Json& json) {
  return "data: " + dump(json) + "\n\n";
}

Json or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

double at_most_zero(double logprob) {
  return std::min(logprob, 0.0);
}

// {"tokens", "token_logprobs", "top_logprobs", "text_offset"}, lists of one length.
Json completion_logprobs(const std::vector<AnswerToken>& tokens, const Tokenizer& tokenizer) {
  Json names = Json::array(), values = Json::array(), likely = Json::array(), offsets = Json::array();
  for (const AnswerToken& token : tokens) {
    const std::string name = token_name(tokenizer.token_bytes(token.id));
    names.push_back(name);
    offsets.push_back(token.offset);
    if (!token.logprob) {
      values.push_back(nullptr);
      likely.push_back(nullptr);
      continue;
    }
    values.push_back(at_most_zero(*token.logprob));
    Json top = Json::object();
    for (const LikelyToken& one : token.likely) {
      const std::string other = token_name(tokenizer.token_bytes(one.id));
      if (!top.contains(other)) top[other] = at_most_zero(one.logprob);
    }
    if (!top.contains(name)) top[name] = at_most_zero(*token.logprob);
    likely.push_back(std::move(top));
  }
  return {{"tokens", std::move(names)},
          {"token_logprobs", std::move(values)},
          {"top_logprobs", std::move(likely)},
          {"text_offset", std::move(offsets)}};
}

Json chat_token(int32_t id, double logprob, const Tokenizer& tokenizer) {
  const std::string bytes = tokenizer.token_bytes(id);
  Json list = Json::array();
  for (const char byte : bytes) list.push_back(static_cast<unsigned char>(byte));
  return {{"token", token_name(bytes)}, {"logprob", at_most_zero(logprob)}, {"bytes", std::move(list)}};
}

Json chat_logprobs(const std::vector<AnswerToken>& tokens, const Tokenizer& tokenizer) {
  Json content = Json::array();
  for (const AnswerToken& token : tokens) {
    Json entry = chat_token(token.id, token.logprob.value_or(0), tokenizer), likely = Json::array();
    for (const LikelyToken& one : token.likely) likely.push_back(chat_token(one.id, one.logprob, tokenizer));
    entry["top_logprobs"] = std::move(likely);
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

Json logprobs_of(const ReplyHead& head, const AnswerPart& part, const Tokenizer& tokenizer) {
  if (!head.has_logprobs) return nullptr;
  return head.is_chat ? chat_logprobs(part.tokens, tokenizer) : completion_logprobs(part.tokens, tokenizer);
}

Json usage_json(const AnswerUsage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.shared_tokens}}}};
}

Json envelope(const ReplyHead& head, const char* chat_object, Json choices) {
  return {{"id", head.id},
          {"object", head.is_chat ? chat_object : "text_completion"},
          {"created", head.created},
          {"model", head.model},
          {"choices", std::move(choices)}};
}

Json chunk(const ReplyHead& head, Json choice) {
  return envelope(head, "chat.completion.chunk", Json::array({std::move(choice)}));
}

Json error_json(const RequestError& error) {
  return {{"error",
           {{"message", error.message},
            {"type", error.type()},
            {"param", or_null(error.param)},
            {"code", or_null(error.code)}}}};
}

Json model_json(const std::string& name, int64_t created, int64_t context_length) {
  return {{"id", name},
          {"object", "model"},
          {"created", created},
          {"owned_by", "ockham"},
          {"max_model_len", context_length}};
}

}  // namespace

std::string token_name(const std::string& bytes) {
  if (find_invalid_utf8(bytes) == std::string::npos) return bytes;
  std::string name = "bytes:";
  for (const char byte : bytes) name += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
  return name;
}

std::string whole_reply(const ReplyHead& head, std::span<const AnswerPart> choices, const AnswerUsage& usage,
                        const Tokenizer& tokenizer) {
  Json list = Json::array();
  for (const AnswerPart& part : choices) {
    Json choice = {{"index", part.choice}};
    if (head.is_chat) {
      choice["message"] = {{"role", "assistant"}, {"content", part.text}, {"refusal", nullptr}};
    } else {
      choice["text"] = part.text;
    }
    choice["logprobs"] = logprobs_of(head, part, tokenizer);
    choice["finish_reason"] = or_null(part.finish_reason);
    list.push_back(std::move(choice));
  }
  Json reply = envelope(head, "chat.completion", std::move(list));
  reply["usage"] = usage_json(usage);
  return dump(reply);
}

std::string role_event(const ReplyHead& head, size_t choice) {
  return event(chunk(head, {{"index", choice},
                            {"delta", {{"role", "assistant"}, {"content", ""}}},
                            {"logprobs", nullptr},
                            {"finish_reason", nullptr}}));
}

std::string part_event(const ReplyHead& head, const AnswerPart& part, const Tokenizer& tokenizer) {
  Json choice = {{"index", part.choice}};
  if (!head.is_chat) {
    choice["text"] = part.text;
  } else {
    choice["delta"] = part.text.empty() ? Json::object() : Json{{"content", part.text}};
  }
  choice["logprobs"] = part.tokens.empty() ? Json(nullptr) : logprobs_of(head, part, tokenizer);
  choice["finish_reason"] = or_null(part.finish_reason);
  return event(chunk(head, std::move(choice)));
}

std::string usage_event(const ReplyHead& head, const AnswerUsage& usage) {
  Json json = envelope(head, "chat.completion.chunk", Json::array());
  json["usage"] = usage_json(usage);
  return event(json);
}

std::string error_event(const RequestError& error) {
  return event(error_json(error));
}

std::string end_event() {
  return "data: [DONE]\n\n";
}

std::string error_reply(const RequestError& error) {
  return dump(error_json(error));
}

std::string model_reply(const std::string& name, int64_t created, int64_t context_length) {
  return dump(model_json(name, created, context_length));
}

std::string models_reply(const std::string& name, int64_t created, int64_t context_length) {
  return dump({{"object", "list"}, {"data", Json::array({model_json(name, created, context_length)})}});
}

}  // namespace ockham
