// The text of a generation while its tokens come: whole characters, and nothing of a stop string.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ockham/text/tokenizer.h"

namespace ockham {

class TextStream {
 public:
  // `prompt`: the tokens before; `tokenizer` must outlive it.
  TextStream(const Tokenizer& tokenizer, std::span<const int32_t> prompt, std::vector<std::string> stops);
  // The text that is certain with this token; often "". After a stop string has come nothing is added.
  std::string push(int32_t id);
  // What was held back as the possible beginning of a stop string or of a character.
  std::string finish();
  bool has_stopped() const { return has_stopped_; }

 private:
  void read_window(bool is_last);
  std::string take(bool is_last);

  const Tokenizer& tokenizer_;
  std::vector<std::string> stops_;
  std::vector<int32_t> window_;  // the last tokens, decoded together
  std::string seen_;             // their text that is in pending_ already, or in the prompt
  std::string pending_;          // text that was not given out
  bool has_stopped_ = false;
};

}  // namespace ockham
