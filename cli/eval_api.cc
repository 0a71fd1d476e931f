// Options, forecast and totals of an API.
#include "cli/eval_api.h"

#include <fmt/format.h>

#include "ockham/core/error.h"

namespace ockham {
namespace {

TaskForecast sum_of(const std::vector<TaskForecast>& counts) {
  TaskForecast sum;
  for (const TaskForecast& count : counts) {
    sum.requests += count.requests;
    sum.prompt_tokens += count.prompt_tokens;
    sum.completion_tokens += count.completion_tokens;
  }
  return sum;
}

bool has_prices(const ApiPrices& prices) {
  return prices.input > 0 || prices.output > 0;
}

double cost_of(const TaskForecast& count, const ApiPrices& prices) {
  return prices.cost(static_cast<double>(count.prompt_tokens), static_cast<double>(count.completion_tokens));
}

// Digits in groups of three.
std::string grouped(int64_t number) {
  std::string text = std::to_string(number);
  for (size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, ",");
  return text;
}

}  // namespace

void add_request_options(CLI::App& command, ApiArguments& arguments) {
  command.add_option("--api-concurrency", arguments.concurrency, "Requests at a time (default 8)")
      ->check(CLI::Range(1, 1024));
  command.add_option("--api-retries", arguments.retries, "Tries of a failed request beside the first (default 5)")
      ->check(CLI::Range(0, 100));
  command.add_option("--api-timeout", arguments.timeout_s, "Seconds for one request (default 300)")
      ->check(CLI::Range(0.1, 86400.0));
}

void add_api_options(CLI::App& command, ApiArguments& arguments) {
  command.add_option("--api-model", arguments.model, "Name of the model on the server (needed where it has several)");
  command.add_option("--api-baseline-model", arguments.baseline_model,
                     "The same of a --baseline that is a server's address");
  command
      .add_option("--tokenizer", arguments.tokenizer,
                  "Model directory with the tokenizer of a model behind an API: token ids are sent, texts are counted")
      ->check(CLI::ExistingDirectory);
  add_request_options(command, arguments);
  command
      .add_option("--api-context", arguments.context_length, "Tokens the model reads, where the server does not say")
      ->check(CLI::PositiveNumber);
  command.add_option("--price-in", arguments.prices.input, "Price of a million prompt tokens, for the forecast")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--price-out", arguments.prices.output, "Price of a million completion tokens")
      ->check(CLI::NonNegativeNumber);
  command.add_flag("--dry-run", arguments.is_dry_run, "Say what a model behind an API would be asked, and stop");
}

void check_api_arguments(const ApiArguments& arguments, bool has_api) {
  if (has_api) return;
  const char* used = !arguments.model.empty()            ? "--api-model"
                     : !arguments.baseline_model.empty() ? "--api-baseline-model"
                     : !arguments.tokenizer.empty()      ? "--tokenizer"
                     : arguments.context_length > 0      ? "--api-context"
                     : has_prices(arguments.prices)      ? "--price-in, --price-out"
                     : arguments.is_dry_run              ? "--dry-run"
                                                         : nullptr;
  if (used != nullptr)
    throw_error(ErrorKind::kUsage, "{}: is for a model behind an API; give its address, as in http://localhost:8000/v1",
                used);
}

std::unique_ptr<ApiLanguageModel> open_api_model(const std::string& url, const std::string& name,
                                                 const ApiArguments& arguments) {
  ApiLanguageModel::Options options;
  options.server = {url, api_key_from_environment(), arguments.concurrency, arguments.retries, arguments.timeout_s};
  options.model = name;
  options.tokenizer = arguments.tokenizer;
  options.context_length = arguments.context_length;
  return std::make_unique<ApiLanguageModel>(options);
}

std::vector<TaskForecast> forecast_api(ApiLanguageModel& model, const std::vector<Task>& tasks,
                                       const EvalOptions& options, const EvalJournal* journal) {
  EvalOptions counting = options;
  counting.resume = nullptr;
  if (journal != nullptr)
    counting.resume = [journal](const std::string& fingerprint) { return journal->find(fingerprint); };
  return forecast(model, tasks, std::move(counting));
}

std::string forecast_text(const ModelInfo& info, const std::vector<TaskForecast>& counts, const ApiPrices& prices) {
  const TaskForecast sum = sum_of(counts);
  std::string text =
      fmt::format("{} at {}: {} requests, about {} prompt tokens, at most {} completion tokens", info.name, info.path,
                  grouped(sum.requests), grouped(sum.prompt_tokens), grouped(sum.completion_tokens));
  if (has_prices(prices)) text += fmt::format(", at most {:.4g} by the given prices", cost_of(sum, prices));
  return text;
}

void print_forecast(const ModelInfo& info, const std::vector<TaskForecast>& counts, const ApiPrices& prices) {
  std::vector<std::string> header = {"task", "requests", "prompt tokens, about", "completion tokens, at most"};
  if (has_prices(prices)) header.emplace_back("price, at most");
  TextTable table(header);
  for (const TaskForecast& count : counts) {
    if (!count.unsupported.empty()) continue;
    std::vector<std::string> row = {count.task, std::to_string(count.requests), std::to_string(count.prompt_tokens),
                                    std::to_string(count.completion_tokens)};
    if (has_prices(prices)) row.push_back(fmt::format("{:.4f}", cost_of(count, prices)));
    table.add(std::move(row));
  }
  fmt::print("{}{}\n", table.text(), forecast_text(info, counts, prices));
  for (const TaskForecast& count : counts)
    if (!count.unsupported.empty()) fmt::print("not measured: {}: {}\n", count.task, count.unsupported);
}

Json forecast_json(const ModelInfo& info, const std::vector<TaskForecast>& counts, const ApiPrices& prices) {
  Json json = {{"name", info.name}, {"path", info.path}, {"tasks", Json::array()}};
  for (const TaskForecast& count : counts) {
    Json task = {{"task", count.task},
                 {"requests", count.requests},
                 {"prompt_tokens", count.prompt_tokens},
                 {"completion_tokens", count.completion_tokens}};
    if (has_prices(prices)) task["price"] = cost_of(count, prices);
    if (!count.unsupported.empty()) task["not_measured"] = count.unsupported;
    json["tasks"].push_back(std::move(task));
  }
  return json;
}

Json totals_json(const ApiTotals& totals, const ApiPrices& prices) {
  Json json = {{"requests", totals.requests},
               {"retries", totals.retries},
               {"prompt_tokens", totals.prompt_tokens},
               {"completion_tokens", totals.completion_tokens}};
  if (has_prices(prices))
    json["price"] =
        prices.cost(static_cast<double>(totals.prompt_tokens), static_cast<double>(totals.completion_tokens));
  return json;
}

std::string totals_text(const ModelInfo& info, const ApiTotals& totals, const ApiPrices& prices) {
  std::string text = fmt::format("{} at {}: {} requests and {} retries", info.name, info.path, grouped(totals.requests),
                                 grouped(totals.retries));
  if (totals.prompt_tokens + totals.completion_tokens > 0)
    text += fmt::format(", {} prompt and {} completion tokens by its own count", grouped(totals.prompt_tokens),
                        grouped(totals.completion_tokens));
  if (has_prices(prices))
    text += fmt::format(", {:.4g} by the given prices", prices.cost(static_cast<double>(totals.prompt_tokens),
                                                                    static_cast<double>(totals.completion_tokens)));
  return text;
}

}  // namespace ockham
