// One bar for the stage in work. Redrawn at most ten times a second; without a terminal a line at the start and every
// 10 s.
#include "cli/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <mutex>
#include <string>

#include "ockham/core/progress.h"

namespace ockham {
namespace {

using Clock = std::chrono::steady_clock;

std::string duration(double seconds) {
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{}:{:02} min", whole / 60, whole % 60);
  return fmt::format("{}:{:02} h", whole / 3600, whole / 60 % 60);
}

class ProgressPrinter {
 public:
  ProgressPrinter() : is_terminal_(isatty(STDERR_FILENO) == 1) {}

  void progress(const ProgressEvent& event) {
    std::lock_guard lock(mutex_);
    const Clock::time_point now = Clock::now();
    const bool is_new = event.stage != stage_;
    if (is_new) {
      stage_ = event.stage;
      started_ = now;
      first_done_ = event.done;
    }
    const bool is_last = event.total > 0 && event.done >= event.total;
    const double pause = is_terminal_ ? 0.1 : 10;
    if (!is_new && !is_last && std::chrono::duration<double>(now - drawn_).count() < pause) return;
    if (!is_terminal_ && is_last && !is_new && std::chrono::duration<double>(now - started_).count() < pause) return;
    drawn_ = now;
    std::string text = event.stage;
    if (event.total > 0)
      text += fmt::format("  {}/{} {}", event.done, event.total, event.unit);
    else if (event.done > 0)
      text += fmt::format("  {} {}", event.done, event.unit);
    const double elapsed = std::chrono::duration<double>(now - started_).count();
    if (event.total > 0 && event.done > first_done_ && event.done < event.total && elapsed > 1)
      text += "  " +
              duration(elapsed * static_cast<double>(event.total - event.done) /
                       static_cast<double>(event.done - first_done_)) +
              " left";
    if (!is_terminal_) {
      fmt::print(stderr, "{}\n", text);
      return;
    }
    std::string bar;
    if (event.total > 0) {
      constexpr int64_t kWidth = 20;
      const int64_t filled = std::clamp<int64_t>(kWidth * event.done / event.total, 0, kWidth);
      for (int64_t i = 0; i < kWidth; ++i) bar += i < filled ? "█" : "░";
      bar += ' ';
    }
    winsize size{};
    const size_t columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 30 ? size.ws_col : 80;
    if (text.size() + 22 > columns) text.resize(columns - 22);
    fmt::print(stderr, "\r\033[K{}{}", bar, text);
    std::fflush(stderr);
    has_bar_ = true;
  }

  void log(LogLevel level, std::string_view text) {
    if (level == LogLevel::kDebug) return;
    std::lock_guard lock(mutex_);
    clear();
    fmt::print(stderr, "{}{}\n", level == LogLevel::kWarning ? "warning: " : "", text);
  }

  void finish() {
    std::lock_guard lock(mutex_);
    clear();
  }

 private:
  void clear() {
    if (has_bar_) fmt::print(stderr, "\r\033[K");
    has_bar_ = false;
  }
  const bool is_terminal_;
  std::mutex mutex_;
  std::string stage_;
  Clock::time_point started_, drawn_;
  int64_t first_done_ = 0;
  bool has_bar_ = false;
};

ProgressPrinter& printer() {
  static ProgressPrinter instance;
  return instance;
}

extern "C" void handle_signal(int signal_number) {
  if (interrupt_requested()) {
    // The second Ctrl-C does not wait for the next safe point.
    std::signal(signal_number, SIG_DFL);
    std::raise(signal_number);
    return;
  }
  request_interrupt();
}

}  // namespace

void set_up_terminal(bool quiet) {
  std::signal(SIGINT, handle_signal);
  std::signal(SIGTERM, handle_signal);
  std::signal(SIGPIPE, SIG_IGN);
  set_log_sink([quiet](LogLevel level, std::string_view text) {
    if (!quiet || level == LogLevel::kWarning) printer().log(level, text);
  });
  if (!quiet) set_progress_sink([](const ProgressEvent& event) { printer().progress(event); });
}

void finish_terminal() {
  printer().finish();
}

}  // namespace ockham
