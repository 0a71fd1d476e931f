// Progress, log messages and interruption, by callback: the library never writes to the terminal itself.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace ockham {

enum class LogLevel { kDebug, kInfo, kWarning };
using LogSink = std::function<void(LogLevel, std::string_view text)>;
// Replaces the process-wide sink (none at the start: messages are dropped); thread-safe.
void set_log_sink(LogSink sink);
void log_message(LogLevel level, std::string_view text);
inline void log_info(std::string_view text) {
  log_message(LogLevel::kInfo, text);
}
inline void log_warning(std::string_view text) {
  log_message(LogLevel::kWarning, text);
}

// One job with a known amount of work; `unit` as in "tokens", "items", "blocks".
struct ProgressEvent {
  std::string stage;  // "compress wanda-50", "evaluate factworld/privacy"
  int64_t done = 0;
  int64_t total = 0;  // 0: unknown
  std::string unit;
};
using ProgressSink = std::function<void(const ProgressEvent&)>;
void set_progress_sink(ProgressSink sink);
// The same, giving back the sink that was there: for a job that shows its own progress instead of that of its parts.
ProgressSink exchange_progress_sink(ProgressSink sink);
void report_progress(const ProgressEvent& event);

// Set by the signal handler of the command line; async-signal-safe.
void request_interrupt();
bool interrupt_requested();
// Throws Error(kInterrupted) once an interrupt was requested; called between batches, blocks and steps.
void check_interrupt();
// For tests and for a second command in one process.
void clear_interrupt();

}  // namespace ockham
