// Progress bars with time left on a terminal, plain lines elsewhere; log lines; both on standard error.
#pragma once

namespace ockham {

// Installs the sinks of ockham/core/progress.h and the handlers of SIGINT and SIGTERM.
void set_up_terminal(bool quiet);
// Ends a bar that is still on the line.
void finish_terminal();

}  // namespace ockham
