#include "ockham/serve/metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace ockham {
namespace {

std::string heading(const std::string& name, const char* type, const char* help) {
  return fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

std::string value(const std::string& name, const char* type, const char* help, int64_t number) {
  return heading(name, type, help) + fmt::format("{} {}\n", name, number);
}

}  // namespace

void Histogram::add(double seconds) {
  const auto place = std::lower_bound(kLimits.begin(), kLimits.end(), seconds);
  if (place != kLimits.end()) ++counts_[static_cast<size_t>(place - kLimits.begin())];
  ++count_;
  sum_ += seconds;
}

std::string Histogram::text(const std::string& name, const char* help) const {
  std::string text = heading(name, "histogram", help);
  int64_t below = 0;
  for (size_t i = 0; i < kLimits.size(); ++i) {
    below += counts_[i];
    text += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, kLimits[i], below);
  }
  return text + fmt::format("{0}_bucket{{le=\"+Inf\"}} {1}\n{0}_sum {2}\n{0}_count {1}\n", name, count_, sum_);
}

void Metrics::count(const std::string& route, int status) {
  const std::lock_guard lock(mutex_);
  ++requests_[{route, status}];
}

void Metrics::add_latency(double seconds) {
  const std::lock_guard lock(mutex_);
  latency_.add(seconds);
}

void Metrics::add_first_token(double seconds) {
  const std::lock_guard lock(mutex_);
  first_token_.add(seconds);
}

std::string Metrics::text(const ServiceState& state, int64_t connections) const {
  const std::lock_guard lock(mutex_);
  std::string text = heading("ockham_requests_total", "counter", "Answers by route and status.");
  for (const auto& [key, count] : requests_)
    text += fmt::format("ockham_requests_total{{route=\"{}\",status=\"{}\"}} {}\n", key.first, key.second, count);
  text += value("ockham_requests_cancelled_total", "counter", "Requests whose client left before the end.",
                state.cancelled);
  text += value("ockham_prompt_tokens_total", "counter", "Prompt tokens of answered requests.", state.prompt_tokens);
  text += value("ockham_prompt_tokens_shared_total", "counter",
                "Prompt tokens whose keys and values were in the cache.", state.shared_tokens);
  text += value("ockham_generated_tokens_total", "counter", "Tokens generated for answered requests.",
                state.generated_tokens);
  text += value("ockham_queued_requests", "gauge", "Requests that wait.", state.queued);
  text += value("ockham_running_texts", "gauge", "Texts that are being generated.", state.running);
  text += value("ockham_open_connections", "gauge", "Connections of clients.", connections);
  text +=
      value("ockham_cache_pages", "gauge", "Pages of the cache of keys and values, 32 tokens each.", state.cache_pages);
  text += value("ockham_cache_pages_free", "gauge", "Pages that hold nothing.", state.free_pages);
  text += latency_.text("ockham_request_seconds", "Seconds from a request to the end of its answer.");
  return text +
         first_token_.text("ockham_first_token_seconds", "Seconds from a request to the first text of its stream.");
}

}  // namespace ockham
