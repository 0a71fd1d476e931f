// Requests to an OpenAI-compatible server: several at a time, asked again where that can help.
//
// Asked again, after a pause that doubles (with jitter) or as long as the server asks for (Retry-After, which holds
// every request back): 408, 409, 425, 429, 5xx but 501, timeouts, broken connections, and answers that cannot be read.
// Not asked again: other 4xx, which refuse one request. Nothing is asked any more after 401, an unknown model, a used
// up quota, a redirect, or when request after request fails. The key never stands in an error or a log line.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "ockham/io/json.h"
#include "ockham/server/http.h"

namespace ockham {

struct ApiServer {
  std::string url;  // "https://HOST/v1"
  std::string key;  // "": none is sent
  int64_t concurrency = 8;
  int64_t retries = 5;     // beside the first try
  double timeout_s = 300;  // of one try
  double first_pause_s = 0.5;
};

// $OCKHAM_API_KEY, else $OPENAI_API_KEY, blanks around it taken off; "" for none. Error(kUsage) for a key that cannot
// stand in a header.
std::string api_key_from_environment();

// What the requests so far came to.
struct ApiTotals {
  int64_t requests = 0, retries = 0;                 // answered or refused; tries beside the first of each
  int64_t prompt_tokens = 0, completion_tokens = 0;  // as the server counts them
};

class ApiClient {
 public:
  // Error(kUsage) for a bad address. Warns where a key would travel unencrypted.
  explicit ApiClient(ApiServer server);
  const std::string& url() const { return address_.url; }

  using Read = std::function<void(const std::string& body)>;  // Error(kInput) where it cannot be read
  // Sends `body` (null: GET) to url() + path until `read` accepts the answer. "" then, else why there is none.
  // Error(kInput) or Error(kResource) where no request can succeed any more. At most one call at a time on one
  // connection.
  std::string ask(HttpConnection& connection, const std::string& path, const Json& body, const Read& read,
                  std::optional<int64_t> retries = {});
  // Calls work(connection, job) for every job below `count`, `concurrency` at a time. The first exception is rethrown.
  // Error(kResource) where no job got an answer and the server lists its models no more.
  void run(size_t count, const std::function<void(HttpConnection& connection, size_t job)>& work);

  // Takes the key out of a server's message, or out of an answer, where a word like "none" that stands for a key may
  // occur by itself.
  std::string redact(std::string text) const;
  std::string redact_answer(std::string text) const;
  void count_tokens(int64_t prompt, int64_t completion);
  ApiTotals totals() const;

 private:
  enum class Fate { kRead, kRefused, kAgain };
  struct Trial {
    Fate fate = Fate::kAgain;
    std::string reason;
    double retry_after_s = 0;
  };
  Trial try_once(HttpConnection& connection, const std::string& path, const Json& body, const Read& read);
  Trial judge_status(const HttpReply& reply, const std::string& path) const;
  void pause(double seconds) const;
  void wait_for_server() const;
  void check_alive();
  void warn_once(const std::string& reason);

  ApiServer server_;
  HttpAddress address_;
  std::atomic<int64_t> requests_{0}, retries_{0}, prompt_tokens_{0}, completion_tokens_{0};
  std::atomic<int64_t> answered_{0}, unanswered_{0}, failed_in_a_row_{0}, successes_{0};
  std::atomic<bool> is_stopped_{false};
  mutable std::mutex mutex_;
  std::chrono::steady_clock::time_point not_before_;  // as Retry-After asks
  std::vector<std::string> warned_;
};

}  // namespace ockham
