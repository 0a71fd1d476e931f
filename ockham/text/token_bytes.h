// The bytes that each token of a vocabulary stands for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/io/json.h"

namespace ockham {

// By id, from the JSON of a tokenizer.json: byte-level vocabularies (GPT-2), SentencePiece's with and without bytes as
// <0x0A>, and those whose decoder replaces a mark by a blank. "" for special tokens and for ids without a token.
// Error(kUnsupported) for other decoders, Error(kInput) for a file that is no tokenizer.
std::vector<std::string> token_bytes(const Json& tokenizer, const std::string& where);

}  // namespace ockham
