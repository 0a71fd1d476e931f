// A small HTTP server for tests: a function answers, and may answer badly: late, half, with garbage, or not at all.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace ockham {

struct ServerRequest {
  std::string method, path, headers, body;  // `headers` as sent, for searching
};
struct ServerReply {
  int status = 200;
  std::string body;
  std::string headers;        // further ones, each ending in \r\n
  int64_t send_at_most = -1;  // bytes of the body before the connection is closed
  bool is_closed_unanswered = false;
  int delay_ms = 0;
};

class ScriptedServer {
 public:
  using Answer = std::function<ServerReply(const ServerRequest&)>;
  explicit ScriptedServer(Answer answer) : answer_(std::move(answer)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 64) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      std::abort();
    port_ = ntohs(address.sin_port);
    accepting_ = std::thread([this] { accept_all(); });
  }
  ~ScriptedServer() {
    stop();
    for (std::thread& thread : connections_) thread.join();
  }
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  // Whoever connects afterwards is refused; open connections are closed.
  void stop() {
    is_stopping_ = true;
    if (accepting_.joinable()) {
      accepting_.join();
      ::close(listener_);
    }
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/v1"; }
  int64_t count(const std::string& path_end) const {
    const std::lock_guard lock(mutex_);
    int64_t found = 0;
    for (const ServerRequest& request : requests_) found += request.path.ends_with(path_end);
    return found;
  }
  std::vector<ServerRequest> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  int64_t most_at_once() const { return most_at_once_; }

 private:
  void accept_all() {
    while (!is_stopping_) {
      pollfd waiting{listener_, POLLIN, 0};
      if (::poll(&waiting, 1, 20) <= 0) continue;
      const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (connection < 0) continue;
      const int one = 1;
      ::setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
      connections_.emplace_back([this, connection] {
        while (serve(connection)) {
        }
        ::close(connection);
      });
    }
  }
  // More bytes into `text`; false at the end of the connection.
  bool read_more(int connection, std::string& text) const {
    while (!is_stopping_) {
      pollfd waiting{connection, POLLIN, 0};
      if (::poll(&waiting, 1, 20) <= 0) continue;
      char part[16384];
      const ssize_t n = ::recv(connection, part, sizeof(part), 0);
      if (n <= 0) return false;
      text.append(part, static_cast<size_t>(n));
      return true;
    }
    return false;
  }
  // One request; false to close.
  bool serve(int connection) {
    std::string text;
    size_t end = std::string::npos;
    while ((end = text.find("\r\n\r\n")) == std::string::npos)
      if (!read_more(connection, text)) return false;
    ServerRequest request;
    request.headers = text.substr(0, end);
    request.method = text.substr(0, text.find(' '));
    const size_t path = text.find(' ') + 1;
    request.path = text.substr(path, text.find(' ', path) - path);
    size_t length = 0;
    if (const size_t at = request.headers.find("Content-Length: "); at != std::string::npos)
      length = std::strtoul(request.headers.c_str() + at + 16, nullptr, 10);
    while (text.size() < end + 4 + length)
      if (!read_more(connection, text)) return false;
    request.body = text.substr(end + 4, length);
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
      most_at_once_ = std::max<int64_t>(most_at_once_, ++at_once_);
    }
    const ServerReply reply = answer_(request);
    if (reply.delay_ms > 0) wait(reply.delay_ms);
    --at_once_;
    if (reply.is_closed_unanswered || is_stopping_) return false;
    std::string all = "HTTP/1.1 " + std::to_string(reply.status) + " X\r\nContent-Type: application/json\r\n" +
                      reply.headers + "Content-Length: " + std::to_string(reply.body.size()) + "\r\n\r\n";
    const bool is_cut = reply.send_at_most >= 0;
    all += is_cut ? reply.body.substr(0, static_cast<size_t>(reply.send_at_most)) : reply.body;
    for (size_t sent = 0; sent < all.size();) {
      const ssize_t n = ::send(connection, all.data() + sent, all.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return false;
      sent += static_cast<size_t>(n);
    }
    return !is_cut;
  }
  void wait(int ms) const {
    for (int i = 0; i < ms && !is_stopping_; i += 10) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }

  Answer answer_;
  int listener_ = -1, port_ = 0;
  std::atomic<bool> is_stopping_{false};
  std::atomic<int64_t> at_once_{0}, most_at_once_{0};
  mutable std::mutex mutex_;
  std::vector<ServerRequest> requests_;
  std::vector<std::thread> connections_;
  std::thread accepting_;
};

}  // namespace ockham
