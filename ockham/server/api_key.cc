#include "ockham/server/api_key.h"

#include <algorithm>
#include <cstdlib>

#include "ockham/core/error.h"

namespace ockham {

std::string key_from_environment(std::span<const char* const> names) {
  for (const char* name : names) {
    const char* value = std::getenv(name);
    std::string key = value == nullptr ? "" : value;
    const size_t begin = key.find_first_not_of(" \t\r\n");
    if (begin == std::string::npos) continue;
    key = key.substr(begin, key.find_last_not_of(" \t\r\n") + 1 - begin);
    if (std::any_of(key.begin(), key.end(), [](char c) { return c <= ' ' || c > '~'; }))
      throw_error(ErrorKind::kUsage,
                  "{}: holds a blank, a line end or a character that no key has; set it to the key alone", name);
    return key;
  }
  return "";
}

std::string without_key(std::string text, const std::string& key) {
  constexpr size_t kShortest = 4;
  if (key.size() < kShortest) return text;
  for (size_t at = text.find(key); at != std::string::npos; at = text.find(key, at + 1))
    text.replace(at, key.size(), "[key]");
  return text;
}

}  // namespace ockham
