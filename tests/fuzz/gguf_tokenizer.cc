// Tokenizer keys of GGUF files, given as JSON.
#include "ockham/io/formats/gguf_tokenizer.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ockham;
  survives([&] { read_gguf_tokenizer(parse_json(as_text(data, size), "fuzz"), "fuzz"); });
  return 0;
}
