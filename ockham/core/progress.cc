// Sinks of progress.h, guarded by one mutex; the interrupt flag is a lock-free atomic.
#include "ockham/core/progress.h"

#include <atomic>
#include <mutex>
#include <utility>

#include "ockham/core/error.h"

namespace ockham {
namespace {

std::mutex sink_mutex;
LogSink log_sink;
ProgressSink progress_sink;
std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler stores into it");

}  // namespace

void set_log_sink(LogSink sink) {
  std::lock_guard lock(sink_mutex);
  log_sink = std::move(sink);
}

void log_message(LogLevel level, std::string_view text) {
  std::lock_guard lock(sink_mutex);
  if (log_sink) log_sink(level, text);
}

void set_progress_sink(ProgressSink sink) {
  std::lock_guard lock(sink_mutex);
  progress_sink = std::move(sink);
}

ProgressSink exchange_progress_sink(ProgressSink sink) {
  std::lock_guard lock(sink_mutex);
  std::swap(progress_sink, sink);
  return sink;
}

void report_progress(const ProgressEvent& event) {
  std::lock_guard lock(sink_mutex);
  if (progress_sink) progress_sink(event);
}

void request_interrupt() {
  interrupted.store(true);
}
bool interrupt_requested() {
  return interrupted.load();
}
void clear_interrupt() {
  interrupted.store(false);
}

void check_interrupt() {
  if (interrupt_requested())
    throw Error(ErrorKind::kInterrupted, "interrupted; what was finished is kept, run the same command again to go on");
}

}  // namespace ockham
