#include "cli/chat/conversation.h"

#include <algorithm>
#include <utility>

#include "cli/kv_option.h"
#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/core/rng.h"
#include "ockham/io/file.h"
#include "ockham/runtime/text_stream.h"
#include "ockham/text/json_grammar.h"

namespace ockham {

NativeLanguageModel::Options Conversation::how_to_open(const ChatOptions& options) {
  NativeLanguageModel::Options how;
  how.has_hash = false;
  how.copies_dense = options.copy_weights;
  if (options.packed_cache || !options.packed_cache_dir.empty()) how.packed_cache = options.packed_cache_dir;
  how.engine.threads = options.threads;
  how.kv = chosen_kv_policy(options.kv);
  how.engine.precision = options.precision.precision();
  how.engine.cache_bytes = options.cache_mib << 20;
  how.engine.cache_type = options.cache_type == "int8" ? DType::kI8 : *dtype_from_config(options.cache_type);
  return how;
}

Conversation::Conversation(const ChatOptions& options)
    : options_(options), model_(options.model, how_to_open(options)), scheduler_(model_.engine()) {
  load_s_ = watch_.seconds();
  grammar_ = read_constraint();
  if (!options.system.empty()) set_system(options.system);
}

std::shared_ptr<TokenGrammar> Conversation::read_constraint() const {
  if (options_.json_object) return model_.constrain(json_object_grammar(), "--json-object");
  if (!options_.grammar.empty())
    return model_.constrain(parse_grammar(read_text_file(options_.grammar, int64_t{1} << 24), options_.grammar),
                            options_.grammar);
  if (options_.json_schema.empty()) return nullptr;
  const bool is_text = options_.json_schema.find_first_not_of(" \t\r\n") == options_.json_schema.find('{');
  const std::string where = is_text ? "--json-schema" : options_.json_schema;
  const Json schema = is_text ? parse_json(options_.json_schema, where) : read_json_file(options_.json_schema);
  return model_.constrain(json_schema_grammar(schema, where), where);
}

void Conversation::clear() {
  messages_.resize(has_system() ? 1 : 0);
}

void Conversation::set_system(const std::string& text) {
  if (has_system()) messages_.erase(messages_.begin());
  if (!text.empty()) messages_.insert(messages_.begin(), {"system", text});
}

ChatAnswer Conversation::ask(const std::string& text, const Show& show) {
  repeats_ = 0;
  const std::vector<ChatMessage> before = messages_;
  if (!is_chat()) messages_.clear();
  messages_.push_back({"user", text});
  try {
    return answer_last(show);
  } catch (...) {
    messages_ = before;
    throw;
  }
}

ChatAnswer Conversation::ask_again(const Show& show) {
  if (messages_.empty() || messages_.back().role != "assistant")
    throw_error(ErrorKind::kUsage, "there is no answer to give again");
  const ChatMessage before = std::move(messages_.back());
  messages_.pop_back();
  ++repeats_;
  try {
    return answer_last(show);
  } catch (...) {
    messages_.push_back(before);
    throw;
  }
}

// The prompt of all messages. The oldest question and its answer go, and so on, until a quarter of the context is free
// for the new answer, or as much as it may have.
Prompt Conversation::fit_prompt(ChatAnswer& answer) {
  if (!is_chat()) return {messages_.back().content, false};
  const int64_t context = model_.info().context_length;
  const int64_t room = context - std::min(options_.max_tokens, std::max<int64_t>(1, context / 4));
  while (true) {
    Prompt prompt = model_.render(messages_, true);
    const auto tokens = static_cast<int64_t>(model_.encode(prompt).size());
    if (tokens <= room) return prompt;
    const std::ptrdiff_t first = has_system() ? 1 : 0;
    const auto next = std::find_if(messages_.begin() + first + 1, messages_.end(),
                                   [](const ChatMessage& message) { return message.role == "user"; });
    if (next == messages_.end())
      throw_error(ErrorKind::kUsage, "the message makes {} tokens, the model's context has room for {}; shorten it",
                  tokens, room);
    answer.dropped_messages += static_cast<size_t>(next - messages_.begin() - first);
    messages_.erase(messages_.begin() + first, next);
  }
}

GenerationRequest Conversation::make_request(ChatAnswer& answer) {
  GenerateRequest wanted;
  wanted.prompt = fit_prompt(answer);
  answer.prompt = wanted.prompt.text;
  const int64_t context = model_.info().context_length;
  const auto tokens = static_cast<int64_t>(model_.encode(wanted.prompt).size());
  wanted.max_tokens = std::min(options_.max_tokens, std::max<int64_t>(1, context - 1));
  if (is_chat()) wanted.max_tokens = std::min(wanted.max_tokens, context - tokens);
  wanted.seed = repeats_ == 0 ? options_.seed : mix_seed(options_.seed, repeats_);
  GenerationRequest request = model_.make_request(wanted, 0, answer.truncated_tokens);
  request.sampler = options_.sampler;
  request.grammar = grammar_;
  answer.prompt_tokens = static_cast<int64_t>(request.prompt.size());
  return request;
}

ChatAnswer Conversation::answer_last(const Show& show) {
  ChatAnswer answer;
  generate(answer, show);
  messages_.push_back({"assistant", answer.text});
  return answer;
}

void Conversation::generate(ChatAnswer& answer, const Show& show) {
  const Stopwatch watch;
  GenerationRequest request = make_request(answer);
  TextStream stream(model_.tokenizer(), request.prompt, options_.stop);
  const auto give = [&](const std::string& piece) {
    answer.text += piece;
    if (!piece.empty() && show) show(piece);
  };
  request.on_token = [&](const SampledToken& token) {
    if (answer.tokens++ == 0) answer.first_s = watch.seconds();
    give(stream.push(token.id));
    answer.was_interrupted = interrupt_requested();
    return !stream.has_stopped() && !answer.was_interrupted;
  };
  request.on_finish = [&](FinishReason reason, int64_t shared) {
    answer.reason = reason;
    answer.shared_tokens = shared;
  };
  scheduler_.add(std::move(request));
  while (scheduler_.step()) {
    if (!interrupt_requested() || answer.tokens > 0) continue;
    answer.was_interrupted = true;  // before the first token: costs what the cache holds of the conversation
    answer.reason = FinishReason::kStopped;
    scheduler_.clear();
  }
  if (answer.was_interrupted) clear_interrupt();
  give(stream.finish());
  answer.rest_s = watch.seconds() - answer.first_s;
}

std::string perf_text(const ChatAnswer& answer) {
  const int64_t computed = answer.prompt_tokens - answer.shared_tokens;
  const double rest = static_cast<double>(std::max<int64_t>(answer.tokens - 1, 0));
  return fmt::format(
      "prompt {} tokens, {} of them in the cache, {:.1f} tokens/s; first token after {:.3f} s; answer {} tokens, "
      "{:.2f} "
      "tokens/s",
      answer.prompt_tokens, answer.shared_tokens,
      answer.first_s > 0 ? static_cast<double>(computed) / answer.first_s : 0, answer.first_s, answer.tokens,
      answer.rest_s > 0 ? rest / answer.rest_s : 0);
}

std::string_view reason_name(const ChatAnswer& answer) {
  if (answer.was_interrupted) return "interrupted";
  return answer.reason == FinishReason::kEndToken ? "end" : answer.reason == FinishReason::kStopped ? "stop" : "limit";
}

}  // namespace ockham
