// Tries, pauses, and what a status means.
#include "ockham/server/api_client.h"

#include <algorithm>
#include <array>
#include <exception>
#include <thread>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/server/api_answers.h"
#include "ockham/server/api_key.h"
#include "ockham/server/retry.h"

namespace ockham {
namespace {

using Clock = std::chrono::steady_clock;

bool names_unknown_model(const ApiProblem& problem) {
  return problem.code == "model_not_found" || (problem.message.find("model") != std::string::npos &&
                                               (problem.message.find("does not exist") != std::string::npos ||
                                                problem.message.find("not found") != std::string::npos));
}

std::string status_text(int64_t status, const std::string& message) {
  return message.empty() ? fmt::format("status {}", status) : fmt::format("status {}: {}", status, message);
}

}  // namespace

std::string api_key_from_environment() {
  return key_from_environment(std::array{"OCKHAM_API_KEY", "OPENAI_API_KEY"});
}

ApiClient::ApiClient(ApiServer server) : server_(std::move(server)), address_(parse_http_address(server_.url)) {
  if (!server_.key.empty() && !address_.is_https && !address_.is_loopback)
    log_warning(fmt::format("{}: the API key travels unencrypted; use https, or unset the key if the server needs none",
                            address_.host));
}

std::string ApiClient::redact(std::string text) const {
  return without_key(std::move(text), server_.key);
}

std::string ApiClient::redact_answer(std::string text) const {
  constexpr size_t kShortest = 16;
  return server_.key.size() < kShortest ? text : redact(std::move(text));
}

void ApiClient::count_tokens(int64_t prompt, int64_t completion) {
  prompt_tokens_ += prompt;
  completion_tokens_ += completion;
}

ApiTotals ApiClient::totals() const {
  return {requests_, retries_, prompt_tokens_, completion_tokens_};
}

void ApiClient::pause(double seconds) const {
  const Clock::time_point end =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  while (Clock::now() < end && !is_stopped_ && !interrupt_requested())
    std::this_thread::sleep_for(std::min<Clock::duration>(end - Clock::now(), std::chrono::milliseconds(50)));
}

void ApiClient::wait_for_server() const {
  for (;;) {
    double left = 0;
    {
      const std::lock_guard lock(mutex_);
      left = std::chrono::duration<double>(not_before_ - Clock::now()).count();
    }
    if (left <= 0 || is_stopped_ || interrupt_requested()) return;
    pause(left);
  }
}

void ApiClient::warn_once(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  constexpr size_t kMost = 20;  // messages that hold a changing number are not worth more
  if (warned_.size() >= kMost || std::find(warned_.begin(), warned_.end(), reason) != warned_.end()) return;
  warned_.push_back(reason);
  log_warning(fmt::format("{}: {}; asking again", address_.url, reason));
}

ApiClient::Trial ApiClient::judge_status(const HttpReply& reply, const std::string& path) const {
  ApiProblem problem = read_problem(reply.body);
  problem.message = redact(problem.message);
  const std::string text = status_text(reply.status, problem.message);
  if (reply.status >= 300 && reply.status < 400)
    throw_input("{}: redirects{}; give that address, redirects are not followed with a key", address_.url,
                reply.location.empty() ? "" : " to " + redact(reply.location));
  if (reply.status == 401 || (reply.status == 403 && successes_ == 0))
    throw_input("{}: {}; {}", address_.url, text,
                server_.key.empty() ? "the server wants a key: put it into OCKHAM_API_KEY or OPENAI_API_KEY"
                                    : "it does not accept the key in OCKHAM_API_KEY or OPENAI_API_KEY: correct it");
  if (reply.status == 404 && names_unknown_model(problem))
    throw_input("{}: {}; name one of the server's models with --api-model", address_.url, text);
  if (problem.code == "insufficient_quota") throw_error(ErrorKind::kResource, "{}: {}; {}", address_.url, text, kGoOn);
  Trial trial;
  trial.reason = text;
  trial.retry_after_s = reply.retry_after_s;
  const int64_t status = reply.status;
  const bool is_passing = status == 408 || status == 409 || status == 425 || status == 429 || status >= 500;
  trial.fate = is_passing && status != 501 ? Fate::kAgain : Fate::kRefused;
  if (status == 404)
    trial.reason += fmt::format(" (it has no {}{})", path,
                                address_.url.ends_with("/v1") ? "" : "; the address usually ends with /v1");
  return trial;
}

ApiClient::Trial ApiClient::try_once(HttpConnection& connection, const std::string& path, const Json& body,
                                     const Read& read) {
  HttpRequest request = json_request(address_.url + path, body, server_.timeout_s);
  if (!server_.key.empty()) request.headers.push_back("Authorization: Bearer " + server_.key);
  const HttpReply reply = send_once(connection, request);
  Trial trial;
  if (reply.status == 0) {
    trial.reason = reply.problem;
    return trial;
  }
  if (reply.status < 200 || reply.status >= 300) return judge_status(reply, path);
  try {
    read(reply.body);
    trial.fate = Fate::kRead;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kInput) throw;
    trial.reason = redact(error.what());
  }
  return trial;
}

std::string ApiClient::ask(HttpConnection& connection, const std::string& path, const Json& body, const Read& read,
                           std::optional<int64_t> retries) {
  const int64_t most = retries.value_or(server_.retries);
  for (int64_t attempt = 0;; ++attempt) {
    wait_for_server();
    check_interrupt();
    if (is_stopped_) return "not asked any more";
    const Trial trial = try_once(connection, path, body, read);
    if (trial.fate != Fate::kAgain) {
      ++requests_;
      ++answered_;
      failed_in_a_row_ = 0;
      if (trial.fate == Fate::kRead && !body.is_null()) ++successes_;
      return trial.reason;
    }
    check_wait(address_.url, trial.reason, trial.retry_after_s);
    if (attempt >= most) {
      ++requests_;
      ++unanswered_;
      const int64_t failed = ++failed_in_a_row_;
      if (!retries && failed >= std::max<int64_t>(2, 2 * server_.concurrency))
        throw_error(ErrorKind::kResource, "{}: {} requests in a row failed, the last after {} tries: {}; {}",
                    address_.url, failed, attempt + 1, trial.reason, kGoOn);
      return fmt::format("{} (after {} tries)", trial.reason, attempt + 1);
    }
    ++retries_;
    warn_once(trial.reason);
    if (trial.retry_after_s > 0) {
      const std::lock_guard lock(mutex_);
      not_before_ = std::max(not_before_, Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                                             std::chrono::duration<double>(trial.retry_after_s)));
    } else {
      pause(backoff_s(server_.first_pause_s, attempt));
    }
  }
}

void ApiClient::run(size_t count, const std::function<void(HttpConnection& connection, size_t job)>& work) {
  std::atomic<size_t> next{0};
  std::exception_ptr failure;
  is_stopped_ = false;
  const int64_t answered = answered_, unanswered = unanswered_;
  const auto loop = [&] {
    try {
      HttpConnection connection;
      for (size_t job = next++; job < count && !is_stopped_; job = next++) work(connection, job);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure) failure = std::current_exception();
      is_stopped_ = true;
    }
  };
  std::vector<std::thread> threads;
  const size_t most = std::min(count, static_cast<size_t>(server_.concurrency));
  for (size_t i = 1; i < most; ++i) threads.emplace_back(loop);
  if (count > 0) loop();
  for (std::thread& thread : threads) thread.join();
  is_stopped_ = false;
  if (failure) std::rethrow_exception(failure);
  if (unanswered_ > unanswered && answered_ == answered) check_alive();
}

void ApiClient::check_alive() {
  HttpConnection connection;
  const std::string reason = ask(
      connection, "/models", nullptr, [](const std::string&) {}, 0);
  if (!reason.empty() && !reason.starts_with("status 4"))
    throw_error(ErrorKind::kResource, "{}: does not answer any more: {}; {}", address_.url, reason, kGoOn);
}

}  // namespace ockham
