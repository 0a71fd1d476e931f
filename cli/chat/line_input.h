// Lines that a user types or pastes on a terminal, with interruption.
#pragma once

#include <string>

namespace ockham {

class LineInput {
 public:
  enum class Event { kText, kInterrupt, kEnd };

  // Waits for a line, without its end. What was pasted, so that more lines are there at once, is one text of several
  // lines, as is a line that ends with a backslash and the next one. kInterrupt: Ctrl-C came; kEnd: Ctrl-D.
  Event read(std::string& text);

 private:
  Event read_line(std::string& line);
  bool has_more() const;
  std::string buffer_;
};

}  // namespace ockham
