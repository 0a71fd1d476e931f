// Encoding of contexts and continuations.
#include "ockham/text/prompt_tokens.h"

#include <algorithm>
#include <mutex>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"

namespace ockham {

std::vector<int32_t> encode_prompt(const Tokenizer& tokenizer, const Prompt& prompt, const std::string& model) {
  const bool is_plain = !prompt.is_rendered;
  std::vector<int32_t> ids =
      tokenizer.encode(prompt.text, is_plain && prompt.bos != BosRule::kNever, prompt.is_rendered);
  if (is_plain && prompt.bos == BosRule::kAlways) {
    const std::optional<int32_t> bos = tokenizer.bos_id();
    if (!bos) throw_error(ErrorKind::kUsage, "{}: its tokenizer has no beginning-of-sequence token to add", model);
    if (ids.empty() || ids[0] != *bos) ids.insert(ids.begin(), *bos);
  }
  return ids;
}

Prompt render_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages, bool add_generation_prompt,
                   const std::string& model) {
  if (tokenizer.has_chat_template()) return {tokenizer.render_chat(messages, add_generation_prompt), true};
  static std::once_flag told;
  std::call_once(told, [&] {
    log_warning(fmt::format("{}: has no chat template; prompts are written as \"role: content\" lines", model));
  });
  std::string text;
  for (const ChatMessage& message : messages) text += message.role + ": " + message.content + "\n";
  return {text + (add_generation_prompt ? "assistant:" : ""), false};
}

std::string take_trailing_blanks(Prompt& context) {
  const size_t cut = context.text.find_last_not_of(" \t\n\r\v\f") + 1;
  std::string blanks = context.text.substr(cut);
  context.text.resize(cut);
  return blanks;
}

std::vector<int32_t> continuation_tokens(const Tokenizer& tokenizer, const Prompt& context,
                                         const std::vector<int32_t>& ids, const std::string& text,
                                         const std::string& model) {
  Prompt joint = context;
  joint.text += text;
  const std::vector<int32_t> whole = encode_prompt(tokenizer, joint, model);
  if (whole.size() <= ids.size())
    throw_input("continuation '{}' has no token of its own behind its context; make it longer", text);
  return {whole.begin() + static_cast<std::ptrdiff_t>(ids.size()), whole.end()};
}

std::string cut_at_stop(std::string text, const std::vector<std::string>& stops) {
  size_t first = text.size();
  for (const std::string& stop : stops)
    if (!stop.empty()) first = std::min(first, text.find(stop));
  text.resize(std::min(first, text.size()));
  return text;
}

}  // namespace ockham
