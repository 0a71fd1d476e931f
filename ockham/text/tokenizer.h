// Hugging Face tokenizers and chat templates, through the Rust crates `tokenizers` and `minijinja`.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ockham/core/language_model.h"

namespace ockham {

// A model directory's tokenizer.json, tokenizer_config.json and chat_template.jinja. Thread-safe after loading.
class Tokenizer {
 public:
  // Error(kInput) names the missing or broken file and what to add.
  explicit Tokenizer(const std::string& directory);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // add_special_tokens runs the post-processor (BOS). parse_special turns the literal text of a special token into its
  // id; off for texts of strangers.
  std::vector<int32_t> encode(const std::string& text, bool add_special_tokens, bool parse_special = true) const;
  std::vector<std::vector<int32_t>> encode_batch(std::span<const std::string> texts, bool add_special_tokens) const;
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const;

  // By id: the bytes of each token, "" for special ones; see token_bytes.h. Reads the file anew.
  std::vector<std::string> all_token_bytes() const;
  // The bytes that a token stands for, which need not be whole characters; "" for an id without a token.
  std::string token_bytes(int32_t id) const;

  int64_t vocabulary_size() const;
  std::optional<int32_t> token_id(const std::string& token) const;
  std::optional<int32_t> bos_id() const;
  std::vector<int32_t> eos_ids() const;  // generation_config.json first, then config.json, then tokenizer_config.json

  bool has_chat_template() const;
  // Renders as transformers' apply_chat_template (trim_blocks, lstrip_blocks, bos_token, eos_token,
  // add_generation_prompt). Error(kInput) with the template's own message where it refuses the conversation.
  std::string render_chat(std::span<const ChatMessage> messages, bool add_generation_prompt) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct TokenizerTraining {
  int64_t vocabulary = 2048;                // special tokens included
  std::vector<std::string> special_tokens;  // get the first ids, in order
  std::string bos;                          // one of them: put before every text encoded with special tokens; "": none
};
// Trains a byte-level BPE and writes tokenizer.json into the directory. Same texts, same file. Error(kInput) for a
// vocabulary that does not hold the 256 bytes and the special tokens.
void train_tokenizer(std::span<const std::string> texts, const TokenizerTraining& training,
                     const std::string& directory);

}  // namespace ockham
