// Tokenizer files of a newly trained model: tokenizer.json trained on its own texts, special tokens, chat template.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ockham/io/documents.h"

namespace ockham {

// The first ids of every model that Ockham trains. A turn is written <|role|>content<|end|>, without line breaks.
struct SpecialTokens {
  int32_t begin_id = 0, stop_id = 1, system_id = 2, user_id = 3, assistant_id = 4, turn_end_id = 5;
  static std::vector<std::string> names() {
    return {"<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"};
  }
};

// Writes tokenizer.json, tokenizer_config.json and generation_config.json into `directory`.
void write_vocabulary(std::span<const Document> documents, int64_t vocabulary, int64_t context_length,
                      const std::string& directory);

}  // namespace ockham
