// What is read soon, asked for.
#pragma once

#include <cstdint>

#include "ockham/kernels/compile.h"

namespace ockham {

// `bytes` of memory from `from` on into the second cache. They may lie beyond the end of anything: nothing is read.
OCKHAM_INLINE void fetch(const void* from, int64_t bytes) {
  constexpr int64_t kLine = 64;
  for (int64_t at = 0; at < bytes; at += kLine) OCKHAM_PREFETCH(static_cast<const char*>(from) + at);
}
// The same into the first cache, of what is written next. A write that misses waits for a place among what was asked
// of memory.
OCKHAM_INLINE void fetch_to_write(const void* to, int64_t bytes) {
  constexpr int64_t kLine = 64;
  for (int64_t at = 0; at < bytes; at += kLine) __builtin_prefetch(static_cast<const char*>(to) + at, 1, 3);
}

}  // namespace ockham
