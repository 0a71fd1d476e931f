// Token ids of requests and the cutting of replies, by the rules of core/language_model.h, for every model whose
// tokenizer is at hand.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ockham/core/language_model.h"
#include "ockham/text/tokenizer.h"

namespace ockham {

// Error(kUsage), naming `model`, where BOS is asked for and the tokenizer has none.
std::vector<int32_t> encode_prompt(const Tokenizer& tokenizer, const Prompt& prompt, const std::string& model);

// The tokenizer's chat template, or "role: content" lines where it has none (said once in the log).
Prompt render_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages, bool add_generation_prompt,
                   const std::string& model);

// Cuts the blanks off the end of a context; they belong to the front of what follows.
std::string take_trailing_blanks(Prompt& context);

// The tokens of `text` (those blanks and the continuation) behind a context without blanks at its end, whose own tokens
// are `ids`. Error(kInput) where it has none of its own.
std::vector<int32_t> continuation_tokens(const Tokenizer& tokenizer, const Prompt& context,
                                         const std::vector<int32_t>& ids, const std::string& text,
                                         const std::string& model);

// The text before the first of the stop strings that occurs in it; empty ones are passed over.
std::string cut_at_stop(std::string text, const std::vector<std::string>& stops);

}  // namespace ockham
