// HTTP(S) requests through libcurl: one connection for one thread, kept alive between requests.
// Goals: no answer and half an answer are results, not exceptions; a request ends within its timeout and soon after
// Ctrl-C. Non-goals: redirects (they would carry a key to another host), cookies, streaming.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ockham {

struct HttpRequest {
  std::string url;
  std::string body;  // sent with POST; GET where it is empty
  std::vector<std::string> headers;
  double timeout_s = 300;  // of the whole request
};

struct HttpReply {
  int64_t status = 0;  // 0: no whole answer, and `problem` says why
  std::string body;
  std::string location;      // of a redirect
  double retry_after_s = 0;  // as the server asks for; 0: it does not
  std::string problem;       // "connection refused", "no answer within 300 s", ...
  bool is_hopeless = false;  // asking again cannot help: unknown host, certificate not trusted
};

// Certificates are checked against the system's, or the file in $CURL_CA_BUNDLE or $SSL_CERT_FILE; proxies come from
// the usual variables, loopback addresses go without.
class HttpConnection {
 public:
  HttpConnection();
  ~HttpConnection();
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;
  HttpReply send(const HttpRequest& request);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct HttpAddress {
  std::string url;   // without a slash at the end
  std::string host;  // in lower case
  bool is_https = false, is_loopback = false;
};
// True for "http://..." and "https://..." in any case.
bool is_http_url(const std::string& text);
// Error(kUsage) for an address with user and password, a query or a fragment: they would end up in files. `key_name`:
// the variable for the key, for that error.
HttpAddress parse_http_address(const std::string& text, const char* key_name = "OCKHAM_API_KEY");

}  // namespace ockham
