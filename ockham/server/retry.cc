// Pauses and their limits.
#include "ockham/server/retry.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"

namespace ockham {
namespace {

constexpr double kLongestPause = 60, kLongestWait = 600;  // s; of our own, and that a service may ask for

}  // namespace

HttpRequest json_request(const std::string& url, const Json& body, double timeout_s) {
  HttpRequest request;
  request.url = url;
  request.timeout_s = timeout_s;
  request.headers = {"Accept: application/json", "User-Agent: ockham"};
  if (!body.is_null()) {
    request.headers.emplace_back("Content-Type: application/json");
    request.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  return request;
}

HttpReply send_once(HttpConnection& connection, const HttpRequest& request) {
  HttpReply reply = connection.send(request);
  check_interrupt();
  if (reply.status == 0 && reply.is_hopeless) throw_input("{}: {}", request.url, reply.problem);
  return reply;
}

double backoff_s(double first_pause_s, int64_t attempt) {
  static thread_local std::minstd_rand generator{std::random_device{}()};
  const double share = std::uniform_real_distribution<double>(0.5, 1)(generator);
  return share * std::min(kLongestPause, first_pause_s * std::pow(2.0, static_cast<double>(attempt)));
}

void check_wait(const std::string& url, const std::string& reason, double retry_after_s) {
  if (retry_after_s > kLongestWait)
    throw_error(ErrorKind::kResource, "{}: {}, and asks to wait {:.0f} s; {}", url, reason, retry_after_s, kGoOn);
}

}  // namespace ockham
