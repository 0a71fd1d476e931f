// The counting model.
#include "ockham/server/forecast.h"

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/text/prompt_tokens.h"

namespace ockham {
namespace {

class CountingModel final : public LanguageModel {
 public:
  CountingModel(ApiLanguageModel& model, TaskForecast& count) : model_(model), count_(count), info_(model.info()) {
    info_.batch_items = 4096;
  }
  const ModelInfo& info() const override { return info_; }
  Prompt render(std::span<const ChatMessage> messages, bool add_generation_prompt) const override {
    return model_.render(messages, add_generation_prompt);
  }
  std::vector<int32_t> tokenize(const std::string& text, bool add_special_tokens) const override {
    return model_.tokenize(text, add_special_tokens);
  }
  std::optional<int32_t> bos_id() const override { return model_.bos_id(); }

  std::vector<ScoreAnswer> score(std::span<const ScoreRequest> requests) override {
    std::vector<ScoreAnswer> answers;
    for (const ScoreRequest& request : requests) {
      model_.check(request);
      for (const std::string& continuation : request.continuations)
        add(cut(tokens(request.context.text + continuation, request.context)), model_.echo_tokens());
      answers.emplace_back().scores.assign(request.continuations.size(), {0, 1, false});
    }
    return answers;
  }

  std::vector<GenerateAnswer> generate(std::span<const GenerateRequest> requests) override {
    std::vector<GenerateAnswer> answers;
    for (const GenerateRequest& request : requests) {
      model_.check(request);
      constexpr int64_t kTokensPerTurn = 4;  // marks of a chat template
      int64_t prompt = 0;
      if (request.prompt.messages.empty() || model_.tokenizer() != nullptr)
        prompt = tokens(request.prompt.text, request.prompt);
      else
        for (const ChatMessage& message : request.prompt.messages)
          prompt += tokens(message.content, request.prompt) + kTokensPerTurn;
      add(cut(prompt), request.max_tokens * request.samples);
      answers.push_back({std::vector<std::string>(static_cast<size_t>(request.samples)),
                         std::vector<bool>(static_cast<size_t>(request.samples), false)});
    }
    return answers;
  }

  std::vector<SequenceScore> score_sequences(std::span<const std::vector<int32_t>> sequences) override {
    std::vector<SequenceScore> scores;
    model_.check(ScoreRequest{});
    for (const std::vector<int32_t>& ids : sequences) {
      add(static_cast<int64_t>(ids.size()), model_.echo_tokens());
      scores.push_back({std::vector<float>(ids.size() - 1, 0.0F)});
    }
    return scores;
  }

 private:
  int64_t tokens(const std::string& text, const Prompt& prompt) const {
    constexpr size_t kBytesPerToken = 4;
    if (model_.tokenizer() == nullptr) return static_cast<int64_t>((text.size() + kBytesPerToken - 1) / kBytesPerToken);
    return static_cast<int64_t>(
        encode_prompt(*model_.tokenizer(), {text, prompt.is_rendered, prompt.bos}, info_.name).size());
  }
  int64_t cut(int64_t count) const { return info_.context_length > 0 ? std::min(count, info_.context_length) : count; }
  void add(int64_t prompt, int64_t completion) {
    ++count_.requests;
    count_.prompt_tokens += prompt;
    count_.completion_tokens += completion;
  }

  ApiLanguageModel& model_;
  TaskForecast& count_;
  ModelInfo info_;
};

// Puts the sink back, whatever happens.
class NoProgress {
 public:
  NoProgress() : sink_(exchange_progress_sink({})) {}
  ~NoProgress() { exchange_progress_sink(std::move(sink_)); }
  NoProgress(const NoProgress&) = delete;
  NoProgress& operator=(const NoProgress&) = delete;

 private:
  ProgressSink sink_;
};

}  // namespace

std::vector<TaskForecast> forecast(ApiLanguageModel& model, const std::vector<Task>& tasks, EvalOptions options) {
  const NoProgress quiet;
  options.on_items = nullptr;
  options.toxicity_judge = [](const std::string&) { return 0.0; };
  std::vector<TaskForecast> counts;
  for (const Task& task : tasks) {
    TaskForecast& count = counts.emplace_back();
    count.task = task.name;
    if (task.kind != RequestKind::kGenerate) model.gives_likelihoods();
    CountingModel counting(model, count);
    try {
      evaluate(counting, task, options);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kUnsupported) throw;
      count.unsupported = error.what();
      count.requests = count.prompt_tokens = count.completion_tokens = 0;
    }
  }
  return counts;
}

}  // namespace ockham
