#include "cli/chat/line_input.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "ockham/core/progress.h"

namespace ockham {
namespace {

constexpr int kPasteMs = 30;  // lines of one paste come closer to each other than lines that are typed

}  // namespace

LineInput::Event LineInput::read_line(std::string& line) {
  while (true) {
    if (const size_t end = buffer_.find('\n'); end != std::string::npos) {
      line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return Event::kText;
    }
    char bytes[4096];
    const ssize_t count = interrupt_requested() ? -1 : ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (interrupt_requested()) {
      clear_interrupt();
      buffer_.clear();
      return Event::kInterrupt;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      line = std::move(buffer_);
      buffer_.clear();
      return line.empty() ? Event::kEnd : Event::kText;
    }
    buffer_.append(bytes, static_cast<size_t>(count));
  }
}

bool LineInput::has_more() const {
  if (buffer_.find('\n') != std::string::npos) return true;
  pollfd input{STDIN_FILENO, POLLIN, 0};
  return ::poll(&input, 1, kPasteMs) == 1 && (input.revents & POLLIN) != 0;
}

LineInput::Event LineInput::read(std::string& text) {
  text.clear();
  std::string line;
  for (bool is_continued = true; is_continued;) {
    const Event event = read_line(line);
    if (event == Event::kInterrupt || (event == Event::kEnd && text.empty())) return event;
    if (event == Event::kEnd) break;
    is_continued = line.ends_with('\\');
    if (is_continued) line.back() = '\n';
    text += line;
    if (!is_continued && has_more()) {
      text += '\n';
      is_continued = true;
    }
  }
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  return Event::kText;
}

}  // namespace ockham
