// System texts that a user puts before every conversation: presets by name, or a text of their own.
#pragma once

#include <string>
#include <vector>

#include "ockham/core/language_model.h"

namespace ockham {

// The text of a preset ("none" is empty: no system text at all), or `wish` itself where it holds a blank.
// `llama-2-safety` is read by key from the prompts.json below `data_directory`. Error(kUsage) lists the presets.
std::string system_prompt_text(const std::string& wish, const std::string& data_directory);

// Puts `text` before the conversation's own system text, a blank line between; an empty text removes system texts.
void apply_system_prompt(const std::string& text, std::vector<ChatMessage>& messages);

}  // namespace ockham
