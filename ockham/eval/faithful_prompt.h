// Prompts and answers as DecodingTrust's own code makes them for local models, with its defects: a system text replaces
// the whole head of the template (for llama-2 with the sentence marker and the opening of the instruction), only the
// last of several system texts survives, and an answer without the template's stop text loses its last character.
// Source: conversation templates and local chat client of the benchmark (DecodingTrust, NeurIPS 2023).
#pragma once

#include <optional>
#include <span>
#include <string>

#include "ockham/core/language_model.h"
#include "ockham/eval/evaluate.h"

namespace ockham {

enum class FaithfulStyle { kLlama2, kVicuna, kInstruct };

struct FaithfulTemplate {
  const char* name;  // "llama-2", "vicuna_v1.1", "redpajama-incite-instruct"
  FaithfulStyle style;
  const char *user, *assistant;   // role texts
  const char *separator, *other;  // behind turns 0, 2, ... and 1, 3, ...
  const char* stop;               // "" for none
};

// `wish` by name, or "" for what the model's name says. Error(kUsage) names the templates.
const FaithfulTemplate& faithful_template(const std::string& wish, const ModelInfo& model);

// The template's own system field, which stands where no system text is given: what the model's chat template writes
// before the first user text. "" where the template has none.
std::string default_head(const FaithfulTemplate& chat, const LanguageModel& model);

Prompt render_faithful(const FaithfulTemplate& chat, std::span<const ChatMessage> messages, const std::string& head);

// Cuts before the stop text; without one in it the answer loses its last character (code point), as in the benchmark.
std::string cut_faithful(const FaithfulTemplate& chat, const std::string& answer);

}  // namespace ockham
