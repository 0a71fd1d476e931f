// Errors of the whole program: one exception type with a kind, so that only the command line decides about exit codes.
// Goals: every text names the file, the key, what was found, what was expected and what to do.
// Non-goals: error codes, recovery. The library never prints and never aborts.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace ockham {

enum class ErrorKind {
  kUsage,        // the command line is wrong (exit code 2)
  kInput,        // a file, recipe, task or model is wrong (exit code 2)
  kUnsupported,  // well-formed, but outside what Ockham reads (exit code 2)
  kResource,     // the machine's fault: disk full, unwritable output, no memory (exit code 1)
  kInterrupted,  // Ctrl-C or SIGTERM; the work so far is kept (exit code 1)
  kInternal,     // a broken promise of our own code (exit code 1)
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& text) : std::runtime_error(text), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// throw_error(ErrorKind::kInput, "{}: key '{}' is {}, expected {}; {}", file, key, found, expected, remedy)
template <typename... Args>
[[noreturn]] void throw_error(ErrorKind kind, fmt::format_string<Args...> text, Args&&... args) {
  throw Error(kind, fmt::format(text, std::forward<Args>(args)...));
}
template <typename... Args>
[[noreturn]] void throw_input(fmt::format_string<Args...> text, Args&&... args) {
  throw Error(ErrorKind::kInput, fmt::format(text, std::forward<Args>(args)...));
}

// 0 done, 1 failed, 2 wrong usage or bad input: the exit code of a failed command.
int exit_code(ErrorKind kind);

}  // namespace ockham

// A promise of our own code, never reachable from user input: throws Error(kInternal) with the place.
#define OCKHAM_CHECK(condition)                                                                              \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      ::ockham::throw_error(::ockham::ErrorKind::kInternal, "{}:{}: broken promise: {}", __FILE__, __LINE__, \
                            #condition);                                                                     \
  } while (false)
