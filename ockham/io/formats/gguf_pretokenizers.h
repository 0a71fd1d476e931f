// The splitting expressions that `tokenizer.ggml.pre` names, for the families read here.
#pragma once

#include <string>

#include "ockham/io/json.h"

namespace ockham {

// {normalizer, pre_tokenizer, decoder, ignore_merges} of tokenizer.json. Error(kUnsupported) for a name not known here.
Json pretokenizer_shell(const std::string& name, const std::string& where);
// The name that fits a tokenizer.json; "default" where none does.
std::string find_pretokenizer(const Json& tokenizer);

}  // namespace ockham
