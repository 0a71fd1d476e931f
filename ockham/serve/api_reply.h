// Answers in the form of the OpenAI API, as JSON.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ockham/serve/api_request.h"
#include "ockham/serve/service.h"
#include "ockham/text/tokenizer.h"

namespace ockham {

// What all parts of one answer say.
struct ReplyHead {
  std::string id, model;
  int64_t created = 0;  // seconds since 1970
  bool is_chat = false, has_logprobs = false;
};

// The whole answer: one part for each choice.
std::string whole_reply(const ReplyHead& head, std::span<const AnswerPart> choices, const AnswerUsage& usage,
                        const Tokenizer& tokenizer);
// Events of a stream: the beginning of a chat's choice, a part, the usage behind all parts, the end.
std::string role_event(const ReplyHead& head, size_t choice);
std::string part_event(const ReplyHead& head, const AnswerPart& part, const Tokenizer& tokenizer);
std::string usage_event(const ReplyHead& head, const AnswerUsage& usage);
std::string error_event(const RequestError& error);
std::string end_event();

std::string error_reply(const RequestError& error);
// `context_length` is what prompt and answer may have together.
std::string model_reply(const std::string& name, int64_t created, int64_t context_length);
std::string models_reply(const std::string& name, int64_t created, int64_t context_length);

// How a token is written: its text, or "bytes:\xe2\x82" where it is no whole character.
std::string token_name(const std::string& bytes);

}  // namespace ockham
