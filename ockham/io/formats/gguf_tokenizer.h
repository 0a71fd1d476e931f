// Tokenizers of GGUF files: the keys tokenizer.* from the files of a Hugging Face directory, and those files from the
// keys.
//   tokenizer.ggml.model "gpt2": byte-level BPE; .pre names its splitting expression; .merges "a b" in order
//   tokenizer.ggml.model "llama": SentencePiece BPE with byte fallback; .scores: higher merges first
//   .tokens, .token_type (1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte), .bos_token_id,
//   .eos_token_id, .unknown_token_id, .padding_token_id, .add_bos_token, .add_space_prefix; tokenizer.chat_template;
//   tokenizer.huggingface.json: tokenizer.json itself, taken as it is where present.
#pragma once

#include <map>
#include <string>

#include "ockham/io/json.h"

namespace ockham {

enum GgufTokenType { kNormalToken = 1, kUnknownToken, kControlToken, kUserDefinedToken, kUnusedToken, kByteToken };

// Keys for the tokenizer in `directory`; empty where it has none. Error(kUnsupported) for a tokenizer that GGUF cannot
// hold (neither byte-level BPE nor BPE with byte fallback). `vocabulary` is the model's: missing ids become unused
// tokens.
Json make_gguf_tokenizer(const std::string& directory, int64_t vocabulary);

// Contents by file name (tokenizer.json, tokenizer_config.json, generation_config.json); empty where the file has no
// tokenizer. Error(kUnsupported) for a model or splitting expression that is not known here.
std::map<std::string, std::string> read_gguf_tokenizer(const Json& keys, const std::string& where);

// The same for a file: its own tokenizer.json, one that lies beside it, or one made of its keys, in that order.
std::map<std::string, std::string> read_gguf_companions(const std::string& path);

}  // namespace ockham
