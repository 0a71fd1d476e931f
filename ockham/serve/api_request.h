// What clients of the OpenAI API ask for: JSON in, checked values out. Everything that is wrong with a request and can
// be known without the model is said here.
//
// A field that would change the answer and is not offered is refused, one that changes nothing is passed over, one that
// nobody knows is refused.
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ockham/core/kv_policy.h"
#include "ockham/core/language_model.h"
#include "ockham/runtime/sampler.h"
#include "ockham/text/grammar.h"

namespace ockham {

// A refusal in the form of the OpenAI API: an HTTP status and the fields of {"error": {...}}.
class RequestError final : public std::exception {
 public:
  RequestError(int status, std::string message, std::string param = "", std::string code = "");
  const char* what() const noexcept override { return message.c_str(); }
  const char* type() const;  // as the status says: "invalid_request_error", "rate_limit_error", ...

  int status;
  std::string message, param, code;  // "" is written as null
  int retry_after_s = 0;             // 0: nothing is said about it
};

// A text, or the ids that the client made of one.
using PromptInput = std::variant<std::string, std::vector<int32_t>>;

struct ApiRequest {
  bool is_chat = false;
  std::string model;                  // "": the one that is served
  std::vector<PromptInput> prompts;   // of a completion: at least one
  std::vector<ChatMessage> messages;  // of a chat: at least one
  std::optional<int64_t> max_tokens;  // 0 only for completions
  int64_t samples = 1;                // for each prompt
  SamplerSettings sampler;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;  // at most kMostStops, none empty
  std::optional<int64_t> likely;  // tokens to list beside each one with its log-probability; empty: no logprobs
  bool echo = false;              // the prompt before its completion
  // What the text is kept to: response_format or grammar. `constraint` is the same text for the same language.
  std::optional<Grammar> grammar;
  std::string constraint;      // "" where there is none
  std::optional<KvPolicy> kv;  // which tokens its cache keeps; none: as the server's
  bool is_stream = false, has_usage_in_stream = false;

  static constexpr size_t kMostStops = 4, kMostStopBytes = 1024, kMostSequences = 256, kMostMessages = 4096;
  static constexpr size_t kMostGrammarBytes = size_t{1} << 18;
  static constexpr int64_t kMostLikely = 20, kMostSamples = 128, kMostTokens = int64_t{1} << 30;
};

// The body of POST /v1/completions or /v1/chat/completions. RequestError(400) where it is none.
ApiRequest read_completion_request(std::string_view body);
ApiRequest read_chat_request(std::string_view body);

}  // namespace ockham
