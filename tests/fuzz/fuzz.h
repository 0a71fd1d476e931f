// What all fuzz targets share: an Error is a good answer to bad input, anything else is a finding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "ockham/core/error.h"

namespace ockham {

inline std::string_view as_text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// True where `work` ended without an error. Errors of our own promises stop the fuzzer.
template <typename Work>
bool survives(Work&& work) {
  try {
    work();
    return true;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kInternal) std::abort();
    return false;
  }
}

inline void require(bool promise) {
  if (!promise) std::abort();
}

}  // namespace ockham
