// JSON Schemas: what is accepted compiles, and one text that is written along the first open way is JSON.
#include "ockham/io/json.h"
#include "ockham/text/byte_grammar.h"
#include "ockham/text/grammar_matcher.h"
#include "ockham/text/json_grammar.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ockham;
  if (size > 4096) return 0;
  survives([&] {
    const Json schema = parse_json(as_text(data, size), "fuzz");
    const Grammar grammar = json_schema_grammar(schema, "fuzz", {.references = 3, .nesting = 2});
    GrammarMatcher matcher(compile_grammar(grammar, ByteSet().set(), "fuzz"));
    int32_t state = matcher.start();
    std::string text;
    // What ends a string, a list or an object comes first, then bytes of the input, then whatever fits.
    const auto write = [&](uint8_t byte) {
      const int32_t next = matcher.next(state, byte);
      if (next == GrammarMatcher::kDead) return false;
      text += static_cast<char>(byte);
      state = next;
      return true;
    };
    while (text.size() < 2048 && !matcher.is_accepting(state)) {
      bool is_written = write('"') || write('}') || write(']') || write(data[text.size() % size]);
      for (int byte = 0; byte < 256 && !is_written; ++byte) is_written = write(static_cast<uint8_t>(byte));
      require(is_written);
    }
    if (matcher.is_accepting(state)) require(survives([&] { parse_json(text, "written"); }));
  });
  return 0;
}
