// Taking over what the Rust library hands out, and freeing it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ockham_rust.h"

namespace ockham {

inline OckhamText view(std::string_view text) {
  return {text.data(), text.size()};
}

// The text of an error of the Rust library, "" for none; frees it.
inline std::string take_error(char* error) {
  if (error == nullptr) return "";
  const std::string text = error;
  ockham_error_free(error);
  return text.empty() ? "unknown failure" : text;
}

inline std::string take_bytes(OckhamBytes bytes) {
  std::string text(reinterpret_cast<const char*>(bytes.data), bytes.length);
  ockham_bytes_free(bytes);
  return text;
}

inline std::vector<std::string> take_strings(OckhamStrings strings) {
  std::vector<std::string> texts;
  texts.reserve(strings.count);
  const char* next = reinterpret_cast<const char*>(strings.text.data);
  for (size_t i = 0; i < strings.count; ++i) {
    texts.emplace_back(next, strings.lengths[i]);
    next += strings.lengths[i];
  }
  ockham_strings_free(strings);
  return texts;
}

}  // namespace ockham
