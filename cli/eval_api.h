// `ockham eval` on a model behind an API: options, the forecast, and what it came to.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "ockham/eval/journal.h"
#include "ockham/server/api_language_model.h"
#include "ockham/server/forecast.h"

namespace ockham {

struct ApiArguments {
  std::string model, baseline_model, tokenizer;
  int64_t concurrency = 8, retries = 5, context_length = 0;
  double timeout_s = 300;
  ApiPrices prices;
  bool is_dry_run = false;
};

void add_api_options(CLI::App& command, ApiArguments& arguments);
// Of these the ones about requests alone.
void add_request_options(CLI::App& command, ApiArguments& arguments);
// Error(kUsage) where options of an API stand beside models that are none.
void check_api_arguments(const ApiArguments& arguments, bool has_api);

// `name`: of the model, or "" for the server's only one. The key comes from the environment.
std::unique_ptr<ApiLanguageModel> open_api_model(const std::string& url, const std::string& name,
                                                 const ApiArguments& arguments);

// Counts what will be asked; answers in the journal (may be null) are there already. Faithful templates must be chosen.
std::vector<TaskForecast> forecast_api(ApiLanguageModel& model, const std::vector<Task>& tasks,
                                       const EvalOptions& options, const EvalJournal* journal);
// One line with the sum, and prices where given.
std::string forecast_text(const ModelInfo& info, const std::vector<TaskForecast>& counts, const ApiPrices& prices);
void print_forecast(const ModelInfo& info, const std::vector<TaskForecast>& counts, const ApiPrices& prices);
Json forecast_json(const ModelInfo& info, const std::vector<TaskForecast>& counts, const ApiPrices& prices);

// What was asked, for the results.
Json totals_json(const ApiTotals& totals, const ApiPrices& prices);
std::string totals_text(const ModelInfo& info, const ApiTotals& totals, const ApiPrices& prices);

}  // namespace ockham
