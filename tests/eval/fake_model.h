// A language model for tests: answers come from a function of the prompt; no weights.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ockham/core/language_model.h"
#include "ockham/core/rng.h"

namespace ockham {

class FakeModel final : public LanguageModel {
 public:
  using Answer = std::function<std::string(const std::string& prompt, uint64_t seed)>;
  explicit FakeModel(Answer answer) : answer_(std::move(answer)) {
    info_.name = "fake";
    info_.context_length = 16;
    info_.parameters = 1000;
  }
  const ModelInfo& info() const override { return info_; }
  Prompt render(std::span<const ChatMessage> messages, bool add_generation_prompt) const override {
    std::string text;
    for (const ChatMessage& message : messages) text += "<" + message.role + ">" + message.content;
    return {text + (add_generation_prompt ? "<assistant>" : ""), true};
  }
  std::vector<GenerateAnswer> generate(std::span<const GenerateRequest> requests) override {
    std::vector<GenerateAnswer> answers;
    largest_batch = std::max(largest_batch, requests.size());
    for (const GenerateRequest& request : requests) {
      GenerateAnswer answer;
      for (int64_t s = 0; s < request.samples; ++s) {
        answer.texts.push_back(answer_(request.prompt.text, mix_seed(request.seed, static_cast<uint64_t>(s))));
        answer.hit_limit.push_back(false);
      }
      answer.truncated_tokens = request.prompt.text.find("<long>") != std::string::npos ? 3 : 0;
      answers.push_back(std::move(answer));
    }
    return answers;
  }
  // A continuation's log-likelihood is minus its number of bytes, unless it is what answer() says.
  std::vector<ScoreAnswer> score(std::span<const ScoreRequest> requests) override {
    std::vector<ScoreAnswer> answers;
    for (const ScoreRequest& request : requests) {
      ScoreAnswer answer;
      for (const std::string& continuation : request.continuations) {
        const bool is_wanted = continuation == answer_(request.context.text, 0);
        answer.scores.push_back({is_wanted ? -0.1 : -static_cast<double>(continuation.size()), 1, is_wanted});
      }
      answers.push_back(std::move(answer));
    }
    return answers;
  }
  // Every token costs ln(2), so perplexity is 2.
  std::vector<SequenceScore> score_sequences(std::span<const std::vector<int32_t>> sequences) override {
    std::vector<SequenceScore> scores;
    for (const auto& sequence : sequences) scores.push_back({std::vector<float>(sequence.size() - 1, -0.69314718F)});
    return scores;
  }
  std::vector<int32_t> tokenize(const std::string& text, bool) const override { return {text.begin(), text.end()}; }

  size_t largest_batch = 0;

 private:
  Answer answer_;
  ModelInfo info_;
};

}  // namespace ockham
