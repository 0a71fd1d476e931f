// Answers of an OpenAI-compatible server, read with every type and length checked: they come from strangers.
// Source: OpenAI's API reference (models, chat completions, legacy completions with `echo` and `logprobs`), and what
// vLLM and llama.cpp make of it. Every reader throws Error(kInput) that names the missing or wrong key.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ockham {

struct ApiModel {
  std::string name;
  int64_t context_length = 0;  // vLLM's max_model_len, llama.cpp's meta.n_ctx or meta.n_ctx_train; 0: not said
};
std::vector<ApiModel> read_models(std::string_view body);

// As the server counts; 0 where it does not say.
struct ApiUsage {
  int64_t prompt_tokens = 0, completion_tokens = 0;
};
struct ApiText {
  std::string text;
  bool hit_limit = false;  // finish_reason "length"
};
struct ApiGenerated {
  std::vector<ApiText> choices;  // at least one
  ApiUsage usage;
};
ApiGenerated read_completion(std::string_view body);
// A refusal that stands beside an empty content is the text.
ApiGenerated read_chat_completion(std::string_view body);

// A text and what the model thinks of each of its tokens; lists of one length.
struct ApiEcho {
  std::vector<std::string> tokens;
  std::vector<int64_t> offsets;  // code points before each token, by the server's count; empty where it does not say
  std::vector<double> logprobs;  // nats; NaN where none is given, as for a first token
  std::vector<bool> is_best;     // no other token is likelier
  ApiUsage usage;
};
ApiEcho read_echo(std::string_view body);

// The first of `count` tokens of the text context + continuation that belongs to the continuation, by the offsets, or
// -1 where they do not hold together: the tokens behind the boundary must spell the continuation. A first token that
// the text does not begin with (BOS) shifts the offsets of some servers.
int64_t find_boundary(const ApiEcho& echo, size_t count, std::string_view context, std::string_view continuation);

// Whether the first `count` tokens spell the text, blanks and a first token that is not in the text (BOS) aside.
bool spells(const ApiEcho& echo, size_t count, std::string_view text);

// What an answer with an error status says: at most 300 bytes of its message, and its code ("model_not_found"); ""
// where it says nothing that can be read.
struct ApiProblem {
  std::string message, code;
};
ApiProblem read_problem(std::string_view body);

}  // namespace ockham
