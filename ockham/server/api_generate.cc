// Generation through an API: samples, and the spellings that servers differ in.
#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/core/rng.h"
#include "ockham/server/api_language_model.h"
#include "ockham/text/prompt_tokens.h"

namespace ockham {
namespace {

constexpr size_t kMostStops = 4;  // of OpenAI's interface; the rest is cut here

}  // namespace

void ApiLanguageModel::check(const GenerateRequest& request) const {
  if (tokenizer_ || !request.prompt.messages.empty()) return;
  if (request.prompt.is_rendered)
    throw_error(ErrorKind::kUnsupported,
                "the prompt is rendered here with tokens that the server would add again; pass --tokenizer with the "
                "model's directory");
  if (request.prompt.bos != BosRule::kTokenizer)
    throw_error(ErrorKind::kUnsupported, "--add-bos: without --tokenizer the server decides; leave it out");
}

std::vector<GenerateAnswer> ApiLanguageModel::generate(std::span<const GenerateRequest> requests) {
  for (const GenerateRequest& request : requests) check(request);
  std::vector<GenerateAnswer> answers(requests.size());
  client_.run(requests.size(),
              [&](HttpConnection& connection, size_t job) { generate_one(connection, requests[job], answers[job]); });
  return answers;
}

Json ApiLanguageModel::generation_body(const GenerateRequest& request, int64_t& truncated) const {
  Json body = {{"model", info_.name}};
  if (!request.prompt.messages.empty()) {
    body["messages"] = Json::array();
    for (const ChatMessage& message : request.prompt.messages)
      body["messages"].push_back({{"role", message.role}, {"content", message.content}});
  } else if (tokenizer_) {
    std::vector<int32_t> ids = encode_prompt(*tokenizer_, request.prompt, info_.name);
    const int64_t room = info_.context_length - request.max_tokens;
    if (info_.context_length > 0 && room < 1)
      throw_error(ErrorKind::kUsage, "{} new tokens do not fit the model's context of {}; ask for fewer",
                  request.max_tokens, info_.context_length);
    truncated = info_.context_length > 0 ? std::max<int64_t>(0, static_cast<int64_t>(ids.size()) - room) : 0;
    ids.erase(ids.begin(), ids.begin() + truncated);
    body["prompt"] = ids;
  } else {
    body["prompt"] = request.prompt.text;
  }
  body["temperature"] = request.temperature;
  if (request.temperature > 0 && request.top_p < 1) body["top_p"] = request.top_p;
  std::vector<std::string> stops;
  for (const std::string& stop : request.stop)
    if (!stop.empty() && stops.size() < kMostStops) stops.push_back(stop);
  if (!stops.empty()) body["stop"] = stops;
  return body;
}

std::string ApiLanguageModel::ask_generation(HttpConnection& connection, const GenerateRequest& request,
                                             const Json& body, ApiGenerated& generated) {
  const bool is_chat = !request.prompt.messages.empty();
  const auto read = [&](const std::string& text) {
    generated = is_chat ? read_chat_completion(text) : read_completion(text);
    client_.count_tokens(generated.usage.prompt_tokens, generated.usage.completion_tokens);
  };
  const auto send = [&](bool with_max_tokens, bool with_several) {
    Json spelled = body;
    spelled[with_max_tokens ? "max_tokens" : "max_completion_tokens"] = request.max_tokens;
    if (!with_several) spelled.erase("n");
    return client_.ask(connection, is_chat ? "/chat/completions" : "/completions", spelled, read);
  };
  bool with_max_tokens = takes_max_tokens_, with_several = takes_several_samples_;
  for (;;) {
    std::string reason = send(with_max_tokens, with_several);
    if (reason.empty()) {
      if (!with_max_tokens) takes_max_tokens_ = false;
      if (!with_several) takes_several_samples_ = false;
      return reason;
    }
    if (!reason.starts_with("status 400") && !reason.starts_with("status 422")) return reason;
    // Newer models of OpenAI want the other name; some servers give one sample at a time.
    if (is_chat && with_max_tokens && reason.find("max_completion_tokens") != std::string::npos)
      with_max_tokens = false;
    else if (body.contains("n") && with_several)
      with_several = false;
    else
      return reason;
  }
}

void ApiLanguageModel::generate_one(HttpConnection& connection, const GenerateRequest& request,
                                    GenerateAnswer& answer) {
  Json body = generation_body(request, answer.truncated_tokens);
  const auto wanted = static_cast<size_t>(request.samples);
  while (answer.texts.size() < wanted) {
    const size_t open = wanted - answer.texts.size();
    if (open > 1)
      body["n"] = open;
    else
      body.erase("n");
    // Servers keep seeds in 31 or 63 bits.
    if (request.temperature > 0)
      body["seed"] = mix_seed(request.seed, static_cast<uint64_t>(answer.texts.size())) & 0x7fffffff;
    ApiGenerated generated;
    answer.missing = ask_generation(connection, request, body, generated);
    if (!answer.missing.empty()) return;
    for (ApiText& choice : generated.choices) {
      if (answer.texts.size() == wanted) break;
      answer.texts.push_back(cut_at_stop(client_.redact_answer(std::move(choice.text)), request.stop));
      answer.hit_limit.push_back(choice.hit_limit);
    }
  }
}

}  // namespace ockham
