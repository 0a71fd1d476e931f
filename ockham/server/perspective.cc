// Queries, their pace, and what an answer means. https://developers.perspectiveapi.com describes the service.
#include "ockham/server/perspective.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <thread>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/file.h"
#include "ockham/io/json.h"
#include "ockham/server/api_answers.h"
#include "ockham/server/api_key.h"
#include "ockham/server/retry.h"

namespace ockham {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char *kKeyName = "PERSPECTIVE_API_KEY", *kUrlName = "PERSPECTIVE_API_URL";

Clock::duration seconds(double s) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s));
}

void sleep_until(Clock::time_point end) {
  while (Clock::now() < end) {
    check_interrupt();
    std::this_thread::sleep_for(std::min<Clock::duration>(end - Clock::now(), std::chrono::milliseconds(50)));
  }
}

const Json* member(const Json* object, const char* key) {
  if (object == nullptr || !object->is_object()) return nullptr;
  const auto found = object->find(key);
  return found == object->end() ? nullptr : &*found;
}

}  // namespace

PerspectiveService perspective_from_environment() {
  PerspectiveService service;
  service.key = key_from_environment(std::array{kKeyName});
  if (service.key.empty())
    throw_error(ErrorKind::kUsage, "--judge perspective: the service wants a key; put it into {}", kKeyName);
  if (const char* url = std::getenv(kUrlName); url != nullptr && *url != '\0') service.url = url;
  return service;
}

PerspectiveJudge::PerspectiveJudge(PerspectiveService service, const std::string& answers)
    : service_(std::move(service)), next_(Clock::now()) {
  const HttpAddress address = parse_http_address(service_.url, kKeyName);
  service_.url = address.url;
  label_ = "Perspective TOXICITY (" + address.host + ")";
  if (!address.is_https && !address.is_loopback)
    log_warning(fmt::format("{}: the key in {} travels unencrypted; use https", address.host, kKeyName));
  if (!answers.empty()) read_answers(answers);
}

void PerspectiveJudge::read_answers(const std::string& path) {
  file_ = std::make_unique<LineFile>(path);
  for (size_t i = 0; i < file_->lines().size(); ++i) {
    const std::string where = fmt::format("{}: line {}", path, i + 1);
    const Json line = parse_json(file_->lines()[i], where);
    if (!line.is_object()) throw_input("{}: is no answer of a judge; delete the file to ask again", where);
    if (json_text(line, "judge", where) != label_) continue;
    const double toxicity = json_real(line, "toxicity", where);
    if (!(toxicity >= 0 && toxicity <= 1))
      throw_input("{}: key 'toxicity' is {}, expected 0 to 1; delete the file to ask again", where, toxicity);
    answers_[json_text(line, "text", where)] = {toxicity, ""};
  }
}

void PerspectiveJudge::keep(const std::string& text_sha256, const Answer& answer) {
  answers_[text_sha256] = answer;
  // What was refused is asked again by the next run: the reason may be gone.
  if (file_ == nullptr || !answer.refusal.empty()) return;
  const Json line = {{"judge", label_}, {"text", text_sha256}, {"toxicity", answer.toxicity}};
  file_->append(line.dump());
}

int64_t PerspectiveJudge::queries() const {
  const std::lock_guard lock(mutex_);
  return queries_;
}

double PerspectiveJudge::score(const std::string& text) {
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) return 0;
  const std::string hash = sha256_text(text);
  const std::lock_guard lock(mutex_);
  auto known = answers_.find(hash);
  if (known == answers_.end()) {
    keep(hash, ask(text));
    ++queries_;
    known = answers_.find(hash);
    report_progress({"judge by Perspective", queries_, 0, "texts"});
  }
  if (!known->second.refusal.empty()) throw Error(ErrorKind::kUnsupported, known->second.refusal);
  return known->second.toxicity;
}

void PerspectiveJudge::wait_for_turn() {
  sleep_until(next_);
  next_ = Clock::now() + seconds(1 / service_.queries_per_second);
}

PerspectiveJudge::Trial PerspectiveJudge::judge_status(const HttpReply& reply) const {
  const std::string message = without_key(read_problem(reply.body).message, service_.key);
  const std::string text =
      message.empty() ? fmt::format("status {}", reply.status) : fmt::format("status {}: {}", reply.status, message);
  const int64_t status = reply.status;
  if (status >= 300 && status < 400)
    throw_input("{}: redirects{}; redirects are not followed with a key, correct {}", service_.url,
                reply.location.empty() ? "" : " to " + without_key(reply.location, service_.key), kUrlName);
  // The service calls a wrong key a bad request.
  const bool names_key =
      message.find("API key") != std::string::npos || reply.body.find("API_KEY_INVALID") != std::string::npos;
  if (status == 401 || status == 403 || (status == 400 && names_key))
    throw_input("{}: {}; it does not accept the key in {}: correct it, or enable the service for its project",
                service_.url, text, kKeyName);
  if (status == 404 || status == 405)
    throw_input("{}: {}; there is no such service, correct {}", service_.url, text, kUrlName);
  Trial trial;
  trial.retry_after_s = reply.retry_after_s;
  trial.is_answered = status != 408 && status != 429 && (status < 500 || status == 501);
  (trial.is_answered ? trial.answer.refusal : trial.problem) = text;
  return trial;
}

PerspectiveJudge::Trial PerspectiveJudge::try_once(const std::string& text) {
  const Json body = {{"comment", {{"text", text}}},
                     {"languages", Json::array({"en"})},
                     {"requestedAttributes", {{"TOXICITY", Json::object()}}},
                     {"doNotStore", true}};
  HttpRequest request = json_request(service_.url, body, service_.timeout_s);
  request.headers.push_back("X-Goog-Api-Key: " + service_.key);
  const HttpReply reply = send_once(connection_, request);
  Trial trial;
  if (reply.status == 0) {
    trial.problem = reply.problem;
    return trial;
  }
  if (reply.status < 200 || reply.status >= 300) return judge_status(reply);
  try {
    const Json answer = parse_json(reply.body, "its answer");
    if (!answer.is_object()) throw_input("its answer is no JSON object");
    trial.is_answered = true;
    const Json* score = member(member(member(&answer, "attributeScores"), "TOXICITY"), "summaryScore");
    const Json* value = member(score, "value");
    if (value == nullptr)
      trial.answer.refusal = "its answer has no attributeScores.TOXICITY.summaryScore.value";
    else if (!value->is_number() || !(value->get<double>() >= 0 && value->get<double>() <= 1))
      trial.answer.refusal = "its answer's TOXICITY is no number from 0 to 1";
    else
      trial.answer.toxicity = value->get<double>();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kInput) throw;
    trial.problem = without_key(error.what(), service_.key);
  }
  return trial;
}

PerspectiveJudge::Answer PerspectiveJudge::ask(const std::string& text) {
  for (int64_t attempt = 0;; ++attempt) {
    wait_for_turn();
    const Trial trial = try_once(text);
    if (trial.is_answered) return trial.answer;
    check_wait(service_.url, trial.problem, trial.retry_after_s);
    if (attempt >= service_.retries)
      throw_error(ErrorKind::kResource, "{}: no answer after {} tries: {}; {}", service_.url, attempt + 1,
                  trial.problem, kGoOn);
    if (attempt == 0) log_warning(fmt::format("{}: {}; asking again", service_.url, trial.problem));
    const double own = backoff_s(service_.first_pause_s, attempt);
    next_ = std::max(next_, Clock::now() + seconds(trial.retry_after_s > 0 ? trial.retry_after_s : own));
  }
}

}  // namespace ockham
