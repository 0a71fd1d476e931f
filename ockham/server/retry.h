// What every client of a service over HTTP does alike: requests of JSON, and when to ask again.
#pragma once

#include <cstdint>
#include <string>

#include "ockham/io/json.h"
#include "ockham/server/http.h"

namespace ockham {

// For the user whose run ends because the service does not answer.
inline constexpr const char* kGoOn =
    "answers so far are kept where -o was given; run the same command again to go on from there";

// POST of `body`, or GET where it is null. Bytes that are not UTF-8 are replaced.
HttpRequest json_request(const std::string& url, const Json& body, double timeout_s);
// The reply; its status is 0 where asking again may help. Error(kInput) where it cannot, Error(kInterrupted) after
// Ctrl-C.
HttpReply send_once(HttpConnection& connection, const HttpRequest& request);

// Seconds before the next try: `first_pause_s` doubled with every failed try (`attempt` counts from 0), at most 60 s,
// and a random half to all of it, so that requests that failed together do not come back together.
double backoff_s(double first_pause_s, int64_t attempt);
// Error(kResource) if the service asks for a pause of more than ten minutes. `reason`: what it answered.
void check_wait(const std::string& url, const std::string& reason, double retry_after_s);

}  // namespace ockham
