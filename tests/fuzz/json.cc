// JSON: what is accepted can be written and read again; then the same bytes as a file of JSON lines.
#include "ockham/io/json.h"

#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ockham;
  survives([&] {
    const Json json = parse_json(as_text(data, size), "fuzz");
    const std::string text = json.dump();
    require(parse_json(text, "again").dump() == text);
    if (json.is_object() && !json.empty()) {
      const std::string key = json.begin().key();
      survives([&] { json_text(json, key, "fuzz"); });
      survives([&] { json_integer(json, key, "fuzz", 1); });
      survives([&] { json_real(json, key, "fuzz"); });
    }
  });
  static const int file = ::memfd_create("fuzz", MFD_CLOEXEC);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  require(::ftruncate(file, 0) == 0 && ::pwrite(file, data, size, 0) == static_cast<ssize_t>(size));
  survives([&] { read_jsonl_file(path); });
  return 0;
}
