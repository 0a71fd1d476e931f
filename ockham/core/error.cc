// Exit codes of the error kinds.
#include "ockham/core/error.h"

namespace ockham {

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUsage:
    case ErrorKind::kInput:
    case ErrorKind::kUnsupported:
      return 2;
    case ErrorKind::kResource:
    case ErrorKind::kInterrupted:
    case ErrorKind::kInternal:
      return 1;
  }
  return 1;
}

}  // namespace ockham
