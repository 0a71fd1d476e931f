// The format doctor: how a model is laid out on disk, what is wrong with it, and which programs load it. Looks at
// headers, settings, tokenizer and chat template; of the weights it reads the zero points of one GPTQ linear only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/model/checkpoint.h"

namespace ockham {

struct LoaderVerdict {
  std::string program;  // "transformers", "vLLM", "llama.cpp"
  bool loads = false;
  std::string note;  // what it needs, or why not and what to do instead; may be empty
};

struct FormatDiagnosis {
  std::string layout;         // "gptq_v2, 4 bit, group 128, asymmetric"
  std::string zero_points;    // "none", or how they are stored
  std::string projections;    // "q, k, v split; gate, up fused"
  std::string head;           // "tied to the embedding", "own tensor"
  std::string chat_template;  // "none", "renders", "renders with its own first token; refuses a system message"
  int64_t dense_bytes = 0;    // of all parameters in the model's dtype
  int64_t stored_bytes = 0;
  std::vector<std::string> problems;  // found and what to do, one sentence each
  std::vector<LoaderVerdict> loaders;
};
FormatDiagnosis diagnose_format(const Checkpoint& checkpoint);

}  // namespace ockham
