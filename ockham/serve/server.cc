#include "ockham/serve/server.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <random>
#include <thread>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/core/stopwatch.h"
#include "ockham/io/file.h"
#include "ockham/io/rust_values.h"
#include "ockham/serve/api_reply.h"

namespace ockham {
namespace {

constexpr const char* kJson = "application/json";
constexpr const char* kEvents = "text/event-stream; charset=utf-8";

// Ids of answers: the server's own random part, then a number.
std::string make_id(bool is_chat, uint64_t number) {
  static const uint64_t kSalt = [] {
    std::random_device device;
    return (uint64_t{device()} << 32) | device();
  }();
  return fmt::format("{}-{:016x}{:08x}", is_chat ? "chatcmpl" : "cmpl", kSalt, number);
}

void send_whole(const OckhamHttp* http, uint64_t id, int status, const char* type, const std::string& header,
                const std::string& value, const std::string& body) {
  ockham_http_answer(http, id, status, view(type), view(header), view(value), view(body), 0);
}

// Takes as long for a wrong key as for a right one: what is compared are hashes, all of their bytes.
bool is_same(const std::string& a, const std::string& b) {
  unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

}  // namespace

struct Server::Call {
  uint64_t id = 0;
  int problem = 0;
  std::string_view method, path, authorization, body;
  // Of the metrics; paths that are none of ours are not told apart.
  std::string route_name() const {
    for (const char* known : {"/v1/completions", "/v1/chat/completions", "/v1/models", "/health", "/metrics"})
      if (path == known) return known;
    return path.starts_with("/v1/models/") ? "/v1/models" : "other";
  }
};

// An answer on its way to a client.
class Server::Answering : public AnswerListener {
 public:
  Answering(Server& server, const Call& call, ReplyHead head)
      : server_(server), id_(call.id), route_(call.route_name()), head_(std::move(head)) {}

 protected:
  void count(int status) {
    server_.metrics_.count(route_, status);
    if (status == 200) server_.metrics_.add_latency(watch_.seconds());
  }
  const Tokenizer& tokenizer() const { return server_.service_.model().tokenizer(); }

  Server& server_;
  uint64_t id_;
  std::string route_;
  ReplyHead head_;
  Stopwatch watch_;
};

class Server::Whole final : public Answering {
 public:
  Whole(Server& server, const Call& call, ReplyHead head, size_t choices)
      : Answering(server, call, std::move(head)), parts_(choices) {}

  void on_part(AnswerPart part) override {
    AnswerPart& whole = parts_[part.choice];
    whole.choice = part.choice;
    whole.text += part.text;
    whole.tokens.insert(whole.tokens.end(), std::make_move_iterator(part.tokens.begin()),
                        std::make_move_iterator(part.tokens.end()));
    if (!part.finish_reason.empty()) whole.finish_reason = part.finish_reason;
  }
  void on_end(const AnswerUsage& usage) override {
    const std::string reply = whole_reply(head_, parts_, usage, tokenizer());
    count(200);
    send_whole(server_.http_, id_, 200, kJson, "", "", reply);
  }
  void on_error(const RequestError& error) override { server_.refuse(id_, route_, error); }

 private:
  std::vector<AnswerPart> parts_;
};

class Server::Stream final : public Answering {
 public:
  Stream(Server& server, const Call& call, ReplyHead head, size_t choices, bool has_usage)
      : Answering(server, call, std::move(head)), has_begun_(choices, false), has_usage_(has_usage) {}

  void on_part(AnswerPart part) override {
    if (!is_open_) server_.metrics_.add_first_token(watch_.seconds());
    std::string text;
    if (head_.is_chat && !has_begun_[part.choice]) text = role_event(head_, part.choice);
    has_begun_[part.choice] = true;
    send(text + part_event(head_, part, tokenizer()));
  }
  void on_end(const AnswerUsage& usage) override {
    count(200);
    send((has_usage_ ? usage_event(head_, usage) : "") + end_event());
    ockham_http_end(server_.http_, id_);
  }
  void on_error(const RequestError& error) override {
    if (!is_open_) return server_.refuse(id_, route_, error);
    count(error.status);
    send(error_event(error) + end_event());
    ockham_http_end(server_.http_, id_);
  }

 private:
  void send(const std::string& text) {
    if (is_open_) return ockham_http_send(server_.http_, id_, view(text));
    is_open_ = true;
    ockham_http_answer(server_.http_, id_, 200, view(kEvents), view(""), view(""), view(text), 1);
  }
  std::vector<bool> has_begun_;
  bool has_usage_, is_open_ = false;
};

Server::Server(NativeLanguageModel& model, const ServerOptions& options)
    : options_(options),
      created_(static_cast<int64_t>(std::time(nullptr))),
      key_hash_(options.key.empty() ? "" : sha256_text(options.key)),
      service_(model, options.service) {
  OckhamHttpOptions http{};
  http.host = view(options_.host);
  http.port = static_cast<uint16_t>(options_.port);
  http.most_body_bytes = static_cast<size_t>(options_.most_body_bytes);
  http.most_connections = static_cast<size_t>(options_.most_connections);
  http.worker_threads = 4;
  http.read_timeout_ms = static_cast<uint64_t>(options_.read_timeout_s * 1000);
  http.write_timeout_ms = static_cast<uint64_t>(options_.write_timeout_s * 1000);
  http.context = this;
  http.on_request = [](void* context, const OckhamHttpRequest* request) {
    const auto text = [](OckhamText part) { return std::string_view(part.data, part.length); };
    static_cast<Server*>(context)->handle({request->id, request->problem, text(request->method), text(request->path),
                                           text(request->authorization), text(request->body)});
  };
  http.on_gone = [](void* context, uint64_t id) { static_cast<Server*>(context)->service_.cancel(id); };
  const std::string error = take_error(ockham_http_start(&http, &http_));
  if (!error.empty()) throw_error(ErrorKind::kResource, "{}; choose another with --port or --host", error);
  is_ready_.count_down();
}

Server::~Server() {
  shut_down(0);
  ockham_http_free(http_);
}

int Server::port() const {
  return ockham_http_port(http_);
}

std::string Server::url() const {
  const bool is_v6 = options_.host.find(':') != std::string::npos;
  return fmt::format("http://{}:{}/v1", is_v6 ? "[" + options_.host + "]" : options_.host, port());
}

void Server::shut_down(double grace_s) {
  if (std::exchange(is_shut_down_, true)) return;
  service_.close();
  ockham_http_close(http_);
  const Stopwatch watch;
  while (!service_.wait_until_idle(0.05) && watch.seconds() < grace_s && !interrupt_requested()) continue;
  service_.end_all();
  // What was said last must still reach the clients.
  const Stopwatch rest;
  while (ockham_http_connections(http_) > 0 && rest.seconds() < 2 && !interrupt_requested())
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

void Server::refuse(uint64_t id, const std::string& route, const RequestError& error) {
  metrics_.count(route, error.status);
  const bool is_later = error.retry_after_s > 0;
  const std::string header = is_later ? "retry-after" : error.status == 401 ? "www-authenticate" : "";
  send_whole(http_, id, error.status, kJson, header, is_later ? fmt::format("{}", error.retry_after_s) : "Bearer",
             error_reply(error));
}

void Server::give(const Call& call, int status, const std::string& type, const std::string& body) {
  metrics_.count(call.route_name(), status);
  send_whole(http_, call.id, status, type.c_str(), "", "", body);
}

// Whatever happens ends in an answer.
void Server::handle(const Call& call) noexcept {
  is_ready_.wait();
  const std::string name = call.route_name();
  try {
    route(call);
  } catch (const RequestError& error) {
    refuse(call.id, name, error);
  } catch (const Error& error) {
    const bool is_theirs = error.kind() == ErrorKind::kInput || error.kind() == ErrorKind::kUsage;
    refuse(call.id, name, RequestError(is_theirs ? 400 : 500, error.what()));
  } catch (const std::exception& error) {
    refuse(call.id, name, RequestError(500, error.what()));
  }
}

void Server::check_key(const Call& call) const {
  if (key_hash_.empty()) return;
  constexpr std::string_view kScheme = "Bearer ";
  const std::string_view given =
      call.authorization.starts_with(kScheme) ? call.authorization.substr(kScheme.size()) : std::string_view();
  if (!is_same(sha256_text(given), key_hash_))
    throw RequestError(401, "the API key is missing or wrong; send it as 'Authorization: Bearer KEY'", "",
                       "invalid_api_key");
}

void Server::route(const Call& call) {
  const auto expect = [&](const char* method) {
    if (call.method == method) return;
    throw RequestError(405, fmt::format("{} takes {} requests only", call.route_name(), method), "",
                       "method_not_allowed");
  };
  if (call.path == "/health") {
    expect("GET");
    return give(call, 200, kJson, "{\"status\":\"ok\"}");
  }
  check_key(call);
  if (call.problem == 413)
    throw RequestError(413, fmt::format("the body is larger than {} bytes", options_.most_body_bytes), "",
                       "request_too_large");
  if (call.problem != 0) throw RequestError(call.problem, "the body did not come whole");
  if (call.path == "/v1/completions" || call.path == "/v1/chat/completions") {
    expect("POST");
    return complete(call, call.path == "/v1/chat/completions");
  }
  const int64_t context = service_.capacity();
  if (call.path == "/v1/models") {
    expect("GET");
    return give(call, 200, kJson, models_reply(service_.model_name(), created_, context));
  }
  if (call.path == "/v1/models/" + service_.model_name()) {
    expect("GET");
    return give(call, 200, kJson, model_reply(service_.model_name(), created_, context));
  }
  if (call.path.starts_with("/v1/models/"))
    throw RequestError(404, fmt::format("there is no such model; this server has '{}'", service_.model_name()), "model",
                       "model_not_found");
  if (call.path == "/metrics") {
    expect("GET");
    return give(call, 200, "text/plain; version=0.0.4; charset=utf-8",
                metrics_.text(service_.state(), static_cast<int64_t>(ockham_http_connections(http_))));
  }
  throw RequestError(404,
                     "there is no such address; this server has /v1/completions, /v1/chat/completions, /v1/models, "
                     "/health and /metrics",
                     "", "unknown_url");
}

void Server::complete(const Call& call, bool is_chat) {
  ApiRequest request = is_chat ? read_chat_request(call.body) : read_completion_request(call.body);
  ReplyHead head;
  head.id = make_id(is_chat, call.id);
  head.model = service_.model_name();
  head.created = static_cast<int64_t>(std::time(nullptr));
  head.is_chat = is_chat;
  head.has_logprobs = request.likely.has_value();
  const size_t prompts = is_chat ? 1 : request.prompts.size();
  const size_t choices = prompts * static_cast<size_t>(request.samples);
  std::shared_ptr<AnswerListener> listener;
  if (request.is_stream) {
    listener = std::make_shared<Stream>(*this, call, std::move(head), choices, request.has_usage_in_stream);
  } else {
    listener = std::make_shared<Whole>(*this, call, std::move(head), choices);
  }
  service_.submit(call.id, std::move(request), std::move(listener));
}

void run_server(NativeLanguageModel& model, const ServerOptions& options, double grace_s,
                const std::function<void(const Server&)>& started) {
  Server server(model, options);
  started(server);
  while (!interrupt_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  clear_interrupt();
  server.shut_down(grace_s);
}

}  // namespace ockham
