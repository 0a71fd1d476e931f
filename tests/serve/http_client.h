// A client for tests that sends exact bytes and takes answers apart.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cctype>
#include <cstdlib>
#include <string>

#include "ockham/io/json.h"

namespace ockham::test {

struct HttpAnswer {
  int status = 0;             // 0: the server closed without an answer
  std::string headers, body;  // headers in lower case; the body with its chunks joined
  Json json() const { return Json::parse(body); }
};

class HttpClient {
 public:
  explicit HttpClient(int port) {
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    is_connected_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~HttpClient() { close(); }
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  bool is_connected() const { return is_connected_; }
  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }

  void send(const std::string& text) {
    for (size_t sent = 0; sent < text.size();) {
      const ssize_t n = ::send(socket_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return;
      sent += static_cast<size_t>(n);
    }
  }
  void send_request(const std::string& method, const std::string& path, const std::string& body,
                    const std::string& headers = "") {
    send(method + " " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  }
  // What has come until `end` is there or the connection closes.
  bool read_until(const std::string& end) {
    while (text_.find(end) == std::string::npos)
      if (!read_more()) return false;
    return true;
  }
  const std::string& received() const { return text_; }

  HttpAnswer read_answer() {
    HttpAnswer answer;
    if (!read_until("\r\n\r\n")) return answer;
    const size_t end = text_.find("\r\n\r\n");
    answer.headers = text_.substr(0, end + 2);
    text_.erase(0, end + 4);
    answer.status = std::atoi(answer.headers.c_str() + answer.headers.find(' '));
    for (char& c : answer.headers) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (const size_t at = answer.headers.find("content-length: "); at != std::string::npos) {
      const size_t length = std::strtoul(answer.headers.c_str() + at + 16, nullptr, 10);
      while (text_.size() < length && read_more()) continue;
      answer.body = text_.substr(0, length);
      text_.erase(0, length);
      return answer;
    }
    while (read_until("\r\n")) {
      const size_t size = std::strtoul(text_.c_str(), nullptr, 16), begin = text_.find("\r\n") + 2;
      while (text_.size() < begin + size + 2 && read_more()) continue;
      answer.body += text_.substr(begin, size);
      text_.erase(0, begin + size + 2);
      if (size == 0) break;
    }
    return answer;
  }
  HttpAnswer ask(const std::string& method, const std::string& path, const std::string& body = "",
                 const std::string& headers = "") {
    send_request(method, path, body, headers);
    return read_answer();
  }

 private:
  bool read_more() {
    pollfd waiting{socket_, POLLIN, 0};
    if (::poll(&waiting, 1, 60'000) <= 0) return false;
    char part[65536];
    const ssize_t n = ::recv(socket_, part, sizeof part, 0);
    if (n <= 0) return false;
    text_.append(part, static_cast<size_t>(n));
    return true;
  }
  int socket_ = -1;
  bool is_connected_ = false;
  std::string text_;
};

}  // namespace ockham::test
