// A conversation with a model on the native engine: messages, answers as they come, and what they took.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/chat/options.h"
#include "ockham/core/stopwatch.h"
#include "ockham/runtime/native_language_model.h"

namespace ockham {

// What one answer came to.
struct ChatAnswer {
  std::string prompt, text;  // as the model reads it, and what it answers
  FinishReason reason = FinishReason::kLimit;
  bool was_interrupted = false;
  int64_t prompt_tokens = 0, shared_tokens = 0, tokens = 0;
  int64_t truncated_tokens = 0;    // cut off on the left of a text that is no chat
  size_t dropped_messages = 0;     // that no longer fit the context
  double first_s = 0, rest_s = 0;  // until the first token, and the others
};

class Conversation {
 public:
  using Show = std::function<void(const std::string& piece)>;

  // `options` must outlive it; sampling, seed and max_tokens may change between answers.
  explicit Conversation(const ChatOptions& options);
  // Continues the text, or answers it as the next message of the chat; `show` gets whole characters as they come. An
  // interrupt (ockham/core/progress.h) ends the answer and is cleared. A message that cannot be answered is taken back.
  ChatAnswer ask(const std::string& text, const Show& show);
  // The last message again, with other random numbers. Error(kUsage) where there is none.
  ChatAnswer ask_again(const Show& show);
  // A new conversation; the system text stays.
  void clear();
  void set_system(const std::string& text);

  const std::vector<ChatMessage>& messages() const { return messages_; }
  NativeLanguageModel& model() { return model_; }
  bool is_chat() const { return !options_.raw && model_.tokenizer().has_chat_template(); }
  double load_s() const { return load_s_; }

 private:
  static NativeLanguageModel::Options how_to_open(const ChatOptions& options);
  std::shared_ptr<TokenGrammar> read_constraint() const;
  Prompt fit_prompt(ChatAnswer& answer);
  GenerationRequest make_request(ChatAnswer& answer);
  ChatAnswer answer_last(const Show& show);
  void generate(ChatAnswer& answer, const Show& show);
  bool has_system() const { return !messages_.empty() && messages_[0].role == "system"; }

  const ChatOptions& options_;
  Stopwatch watch_;
  double load_s_ = 0;
  NativeLanguageModel model_;
  Scheduler scheduler_;
  std::shared_ptr<TokenGrammar> grammar_;
  std::vector<ChatMessage> messages_;
  uint64_t repeats_ = 0;  // of the last message
};

std::string perf_text(const ChatAnswer& answer);
std::string_view reason_name(const ChatAnswer& answer);

}  // namespace ockham
