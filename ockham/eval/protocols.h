// How a text becomes windows for perplexity. Numbers of different protocols cannot be compared, so the name goes with
// the number.
//   plain      the tokens of the text in windows of the model's context, not overlapping, every token but each window's
//              first scored
//   gptq       the same with windows of 2048: GPTQ (Frantar et al., 2022) and the pruning papers after it
//   llama.cpp  windows of 512, the first token of each replaced by BOS where the tokenizer adds one, only the second
//              half scored (llama.cpp's llama-perplexity)
//   lm-eval    document by document, the first token behind BOS, windows that see only what is before them, divided by
//              the words or bytes of the original text (lm-evaluation-harness's loglikelihood_rolling)
//   strided    windows that overlap; each scores the tokens that the one before did not (Hugging Face's guide)
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/core/language_model.h"

namespace ockham {

struct Window {
  std::vector<int32_t> ids;
  int64_t first_scored = 1;  // index of the first token whose log-likelihood counts
  size_t document = 0;       // lm-eval: windows of one document belong together
};
struct DocumentSize {
  int64_t words = 0, bytes = 0;  // of the original document
};
struct TextWindows {
  std::vector<Window> windows;
  std::vector<DocumentSize> documents;  // lm-eval only
  std::string protocol;
  std::string note;  // how many tokens in how many windows
};

struct ProtocolWish {
  std::string name = "plain";
  int64_t window = 0;  // tokens; 0: the protocol's own
  int64_t stride = 0;  // of strided; 0: half the window
};

// Windows of a text. Error(kInput) when it is too short, naming `source`.
TextWindows cut_windows(const LanguageModel& model, const std::string& text, const ProtocolWish& wish,
                        const std::string& source);
// lm-eval: what is scored and, for each, the original whose words and bytes are counted.
struct RollingDocument {
  std::string scored, original;
};
TextWindows roll_windows(const LanguageModel& model, const std::vector<RollingDocument>& documents,
                         const ProtocolWish& wish, const std::string& source);

// The pages of WikiText's raw file, as read and with the marks of its tokenizer taken out, as lm-evaluation-harness
// does.
std::vector<RollingDocument> wikitext_pages(const std::string& raw);
// Rows of the raw file joined by "\n\n" as GPTQ's code joins them; a line of one blank is an empty row.
std::string join_wikitext(const std::string& raw);
// As Python's len(re.split(r"\s+", text)).
int64_t count_words(const std::string& text);

}  // namespace ockham
