// The one place that includes libcurl.
#include "ockham/server/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"

namespace ockham {
namespace {

constexpr size_t kLargestBody = size_t{64} << 20;

struct Sink {
  std::string body;
  bool is_too_large = false;
};

size_t take_body(const char* data, size_t size, size_t count, void* target) {
  auto* sink = static_cast<Sink*>(target);
  if (size * count > kLargestBody - sink->body.size()) {
    sink->is_too_large = true;
    return 0;
  }
  sink->body.append(data, size * count);
  return size * count;
}

int stop_on_interrupt(void*, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return interrupt_requested() ? 1 : 0;
}

std::string problem_text(CURLcode code, const Sink& sink, const HttpRequest& request) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      return "its host name is unknown";
    case CURLE_COULDNT_CONNECT:
      return "it cannot be reached (connection refused)";
    case CURLE_OPERATION_TIMEDOUT:
      return fmt::format("no whole answer within {:g} s", request.timeout_s);
    case CURLE_GOT_NOTHING:
      return "it closed the connection without an answer";
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
      return "the connection broke in the middle of an answer";
    case CURLE_PEER_FAILED_VERIFICATION:
      return "its certificate is not trusted; name a file with the certificate in CURL_CA_BUNDLE or SSL_CERT_FILE";
    case CURLE_WRITE_ERROR:
      if (sink.is_too_large) return fmt::format("its answer is larger than {} MB", kLargestBody >> 20);
      [[fallthrough]];
    default:
      return curl_easy_strerror(code);
  }
}

bool is_hopeless(CURLcode code) {
  return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE || code == CURLE_SSL_CERTPROBLEM ||
         code == CURLE_URL_MALFORMAT;
}

const char* certificate_file() {
  for (const char* name : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"})
    if (const char* file = std::getenv(name); file != nullptr && *file != '\0') return file;
  return nullptr;
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string lower_text(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), lower);
  return text;
}

}  // namespace

struct HttpConnection::State {
  CURL* handle = nullptr;
};

HttpConnection::HttpConnection() : state_(std::make_unique<State>()) {
  static const CURLcode kReady = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (kReady == CURLE_OK) state_->handle = curl_easy_init();
  if (state_->handle == nullptr) throw_error(ErrorKind::kResource, "libcurl cannot be initialised");
}

HttpConnection::~HttpConnection() {
  curl_easy_cleanup(state_->handle);
}

HttpReply HttpConnection::send(const HttpRequest& request) {
  CURL* handle = state_->handle;
  curl_easy_reset(handle);  // keeps the connection
  Sink sink;
  curl_slist* headers = nullptr;
  for (const std::string& header : request.headers) headers = curl_slist_append(headers, header.c_str());
  headers = curl_slist_append(headers, "Expect:");  // no round trip before a body
  curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
  if (!request.body.empty()) {
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request.body.c_str());
  }
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout_s * 1000));
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(std::min(request.timeout_s, 20.0) * 1000));
  curl_easy_setopt(handle, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(handle, CURLOPT_ACCEPT_ENCODING, "");
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_body);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &sink);
  curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, stop_on_interrupt);
  curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  if (const char* file = certificate_file(); file != nullptr) curl_easy_setopt(handle, CURLOPT_CAINFO, file);
  if (parse_http_address(request.url).is_loopback) curl_easy_setopt(handle, CURLOPT_NOPROXY, "*");
  const CURLcode code = curl_easy_perform(handle);
  curl_slist_free_all(headers);

  HttpReply reply;
  if (code != CURLE_OK) {
    reply.problem = problem_text(code, sink, request);
    reply.is_hopeless = is_hopeless(code);
    return reply;
  }
  long status = 0;
  curl_off_t wait = 0;
  const char* location = nullptr;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(handle, CURLINFO_RETRY_AFTER, &wait);
  curl_easy_getinfo(handle, CURLINFO_REDIRECT_URL, &location);
  reply.status = status;
  reply.retry_after_s = static_cast<double>(wait);
  if (location != nullptr) reply.location = location;
  reply.body = std::move(sink.body);
  return reply;
}

bool is_http_url(const std::string& text) {
  const std::string head = lower_text(text.substr(0, 8));
  return head.starts_with("http://") || head.starts_with("https://");
}

HttpAddress parse_http_address(const std::string& text, const char* key_name) {
  HttpAddress address;
  if (!is_http_url(text)) throw_error(ErrorKind::kUsage, "an address begins with http:// or https://");
  address.is_https = lower_text(text.substr(0, 8)) == "https://";
  const size_t begin = address.is_https ? 8 : 7;
  const std::string authority = text.substr(begin, text.find_first_of("/?#", begin) - begin);
  // The address itself is not shown: what stands before the @ may be a password.
  if (authority.find('@') != std::string::npos)
    throw_error(ErrorKind::kUsage,
                "the server's address holds a user or password before '@', which would end up in files; take it out "
                "and put the key into {}",
                key_name);
  if (text.find_first_of("?#") != std::string::npos)
    throw_error(ErrorKind::kUsage,
                "the server's address holds '?' or '#', expected one like https://HOST/v1; a key belongs into {}",
                key_name);
  if (text.find_first_of(" \t\r\n") != std::string::npos || authority.empty() || authority[0] == ':')
    throw_error(ErrorKind::kUsage, "'{}' is no server's address, expected one like https://HOST/v1", text);
  const size_t port = authority[0] == '[' ? authority.find(']') + 1 : authority.find(':');
  address.host = lower_text(authority.substr(0, std::min(port, authority.size())));
  address.is_loopback = address.host == "localhost" || address.host == "[::1]" || address.host.starts_with("127.");
  address.url = text;
  while (address.url.ends_with('/')) address.url.pop_back();
  return address;
}

}  // namespace ockham
