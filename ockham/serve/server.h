// The OpenAI API over HTTP: routes, keys, streams of events. Connections are the Rust library's (hyper,
// rust/src/http.rs).
#pragma once

#include <cstdint>
#include <functional>
#include <latch>
#include <memory>
#include <string>

#include "ockham/serve/metrics.h"
#include "ockham/serve/service.h"

struct OckhamHttp;

namespace ockham {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;  // 0: one that is free
  std::string key;  // "": none is asked for
  ServiceOptions service;
  int64_t most_body_bytes = int64_t{4} << 20;
  int64_t most_connections = 512;
  double read_timeout_s = 60, write_timeout_s = 60;  // of clients that send or take nothing
};

class Server {
 public:
  // Listens once it is made. Error(kResource) where it cannot.
  Server(NativeLanguageModel& model, const ServerOptions& options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int port() const;
  std::string url() const;  // "http://127.0.0.1:8080/v1"
  // No new connections and requests; those that are there may end within so many seconds, then they are told that the
  // server stops.
  void shut_down(double grace_s);

  Service& service() { return service_; }

 private:
  class Answering;
  class Whole;
  class Stream;
  struct Call;
  void handle(const Call& call) noexcept;
  void route(const Call& call);
  void check_key(const Call& call) const;
  void complete(const Call& call, bool is_chat);
  void give(const Call& call, int status, const std::string& type, const std::string& body);
  void refuse(uint64_t id, const std::string& route, const RequestError& error);

  ServerOptions options_;
  Metrics metrics_;
  int64_t created_;
  std::string key_hash_;
  Service service_;
  OckhamHttp* http_ = nullptr;
  std::latch is_ready_{1};  // requests may come before the constructor has ended
  bool is_shut_down_ = false;
};

// Runs a server until an interrupt is requested (core/progress.h), then shuts it down; a second one ends it at once.
// `started` is called when it listens.
void run_server(NativeLanguageModel& model, const ServerOptions& options, double grace_s,
                const std::function<void(const Server&)>& started);

}  // namespace ockham
