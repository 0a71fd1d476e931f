// LanguageModel behind an OpenAI-compatible server.
//
// Conversations go to /chat/completions as messages, so the server's own chat template is used; plain prompts go to
// /completions. Log-likelihoods come from /completions with `echo` and `logprobs`, where the server offers them.
// Without a tokenizer the texts themselves are sent, the server decides about BOS, nothing is cut, and what belongs to
// a continuation follows from `text_offset`; where the offsets do not hold together, the context is sent alone too and
// its tokens are counted, which is the rule of core/language_model.h. With a tokenizer token ids are sent, by that rule
// and cut on the left like a local model's.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "ockham/core/language_model.h"
#include "ockham/server/api_answers.h"
#include "ockham/server/api_client.h"
#include "ockham/text/tokenizer.h"

namespace ockham {

class ApiLanguageModel final : public LanguageModel {
 public:
  struct Options {
    ApiServer server;
    std::string model;           // "": the one that the server has
    std::string tokenizer;       // a model directory's; "": none
    int64_t context_length = 0;  // tokens; 0: as the server says
  };
  // Asks the server for its models. Error(kUsage) where a name must be chosen, with the names.
  explicit ApiLanguageModel(const Options& options);

  const ModelInfo& info() const override { return info_; }
  Prompt render(std::span<const ChatMessage> messages, bool add_generation_prompt) const override;
  std::vector<ScoreAnswer> score(std::span<const ScoreRequest> requests) override;
  std::vector<GenerateAnswer> generate(std::span<const GenerateRequest> requests) override;
  std::vector<SequenceScore> score_sequences(std::span<const std::vector<int32_t>> sequences) override;
  std::optional<int32_t> bos_id() const override;
  std::vector<int32_t> tokenize(const std::string& text, bool add_special_tokens) const override;

  // Asks for the log-likelihoods of a short text, once. Whether the server gives them.
  bool gives_likelihoods();
  // Error(kUnsupported) with the reason where a request cannot be asked.
  void check(const ScoreRequest& request);
  void check(const GenerateRequest& request) const;
  const Tokenizer* tokenizer() const { return tokenizer_.get(); }
  int64_t echo_tokens() const { return echo_tokens_; }  // that the server generates beside what it is asked to score
  ApiTotals totals() const { return client_.totals(); }

 private:
  struct EchoReply {
    ApiEcho echo;
    size_t count = 0;  // tokens of the prompt; behind them stands what the server had to generate
  };
  void choose_model(const std::string& wish);
  std::string echo(HttpConnection& connection, const Json& prompt, EchoReply& reply,
                   std::optional<int64_t> retries = {});
  std::string probe_likelihoods();
  void score_texts(HttpConnection& connection, const ScoreRequest& request, ScoreAnswer& answer);
  void score_ids(HttpConnection& connection, const ScoreRequest& request, ScoreAnswer& answer);
  void generate_one(HttpConnection& connection, const GenerateRequest& request, GenerateAnswer& answer);
  Json generation_body(const GenerateRequest& request, int64_t& truncated) const;
  std::string ask_generation(HttpConnection& connection, const GenerateRequest& request, const Json& body,
                             ApiGenerated& generated);

  ApiClient client_;
  ModelInfo info_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::optional<std::string> no_likelihoods_;  // why there are none; "": there are; unset: not asked yet
  int64_t echo_tokens_ = 0;
  // What the server turned out not to take.
  std::atomic<bool> takes_several_samples_{true}, takes_max_tokens_{true};
};

}  // namespace ockham
