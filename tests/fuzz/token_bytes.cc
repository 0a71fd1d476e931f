// tokenizer.json as far as the bytes of its tokens: read whole, or refused.
#include "ockham/text/token_bytes.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ockham;
  survives([&] { token_bytes(parse_json(as_text(data, size), "fuzz"), "fuzz"); });
  return 0;
}
