// What an evaluation would ask of a server, counted by running it on a model that answers nothing: the same prompts,
// the same requests, no network.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/eval/evaluate.h"
#include "ockham/server/api_language_model.h"

namespace ockham {

// Prices per million tokens, in any currency; 0: not given.
struct ApiPrices {
  double input = 0, output = 0;
  double cost(double prompt_tokens, double completion_tokens) const {
    return (prompt_tokens * input + completion_tokens * output) / 1e6;
  }
};

struct TaskForecast {
  std::string task;
  int64_t requests = 0;
  int64_t prompt_tokens = 0;      // by the tokenizer, else a token for every four bytes
  int64_t completion_tokens = 0;  // at most
  std::string unsupported;        // why the server cannot be asked; "" where it can
};

// In the order of the tasks. What `options.resume` gives is not counted.
std::vector<TaskForecast> forecast(ApiLanguageModel& model, const std::vector<Task>& tasks, EvalOptions options);

}  // namespace ockham
