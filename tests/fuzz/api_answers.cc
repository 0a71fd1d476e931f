// Answers of a server, in every form that is read. What is read holds together.
#include "ockham/server/api_answers.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ockham;
  const std::string_view text = as_text(data, size);
  survives([&] { read_models(text); });
  survives([&] { require(!read_completion(text).choices.empty()); });
  survives([&] { require(!read_chat_completion(text).choices.empty()); });
  survives([&] {
    const ApiEcho echo = read_echo(text);
    const size_t count = echo.tokens.size();
    require(echo.logprobs.size() == count && echo.is_best.size() == count);
    require(echo.offsets.empty() || echo.offsets.size() == count);
    // The text that the tokens spell, cut anywhere.
    std::string joint;
    for (const std::string& token : echo.tokens) joint += token;
    require(spells(echo, count, joint));
    for (size_t cut = 0; cut <= joint.size(); cut += 1 + joint.size() / 16) {
      const int64_t begin =
          find_boundary(echo, count, std::string_view(joint).substr(0, cut), std::string_view(joint).substr(cut));
      require(begin >= -1 && begin < static_cast<int64_t>(count));
    }
    require(find_boundary(echo, count + 1, joint, "x") == -1);
  });
  require(read_problem(text).message.size() <= 303);
  return 0;
}
