// GBNF: what is accepted compiles to a grammar without dead ends, or is refused; then bytes of the input are matched.
#include "ockham/text/grammar.h"

#include "ockham/text/byte_grammar.h"
#include "ockham/text/grammar_matcher.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ockham;
  if (size > 4096) return 0;
  survives([&] {
    const Grammar grammar = parse_grammar(as_text(data, size), "fuzz");
    GrammarMatcher matcher(compile_grammar(grammar, ByteSet().set(), "fuzz"));
    int32_t state = matcher.start();
    for (size_t i = 0; i < size && i < 64; ++i) {
      require(state >= 0 && (matcher.is_accepting(state) || matcher.may_go_on(state)));
      int32_t next = matcher.next(state, data[i]);
      for (int byte = 0; byte < 256 && next == GrammarMatcher::kDead; ++byte)
        next = matcher.next(state, static_cast<uint8_t>(byte));
      require(next != GrammarMatcher::kDead || !matcher.may_go_on(state));
      if (next == GrammarMatcher::kDead) break;
      state = next;
    }
  });
  return 0;
}
