// Literals of Python sources: whatever the bytes, a value or an Error.
#include "ockham/io/python_literals.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ockham;
  const PythonSource source(std::string(as_text(data, size)), "fuzz.py");
  survives([&] { source.value("x"); });
  survives([&] { source.value("x", "def", 1); });
  survives([&] { source.dicts("role", "def", "end"); });
  return 0;
}
