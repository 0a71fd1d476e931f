// A SAX receiver that knows where the parser stopped and refuses what nlohmann's lexer lets pass; private to io.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace ockham {

class JsonReceiver : public nlohmann::json_sax<nlohmann::ordered_json> {
 public:
  bool parse_error(std::size_t position, const std::string& last_token,
                   const nlohmann::detail::exception& error) override;
  // Throws Error(kInput) for the first fault of the syntax; receivers stop with an exception of their own.
  void run(std::string_view text, const std::string& where);

 private:
  size_t position_ = 0;
  std::string fault_;
};

}  // namespace ockham
