// Requests of the OpenAI API, of both kinds. What is accepted keeps to its limits.
#include "ockham/serve/api_request.h"

#include "ockham/io/file.h"
#include "tests/fuzz/fuzz.h"

namespace ockham {
namespace {

void check(const ApiRequest& request) {
  const SamplerSettings& sampler = request.sampler;
  require(request.samples >= 1 && request.samples <= ApiRequest::kMostSamples);
  require(request.prompts.size() * static_cast<size_t>(request.samples) <= ApiRequest::kMostSequences);
  require(request.is_chat ? !request.messages.empty() : !request.prompts.empty());
  require(sampler.temperature >= 0 && sampler.temperature <= 2 && sampler.top_p >= 0 && sampler.top_p <= 1);
  require(sampler.top_k >= 0 && sampler.min_p >= 0 && sampler.min_p <= 1 && sampler.repetition_penalty >= 0.1);
  require(!request.max_tokens || (*request.max_tokens >= 0 && *request.max_tokens <= ApiRequest::kMostTokens));
  require(!request.likely || (*request.likely >= 0 && *request.likely <= ApiRequest::kMostLikely));
  require(request.stop.size() <= ApiRequest::kMostStops);
  for (const std::string& stop : request.stop) require(!stop.empty() && find_invalid_utf8(stop) == std::string::npos);
  for (const PromptInput& prompt : request.prompts) {
    if (const auto* ids = std::get_if<std::vector<int32_t>>(&prompt)) {
      require(!ids->empty());
      for (const int32_t id : *ids) require(id >= 0);
    } else {
      require(find_invalid_utf8(std::get<std::string>(prompt)) == std::string::npos);
    }
  }
}

}  // namespace
}  // namespace ockham

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ockham;
  for (const auto read : {read_completion_request, read_chat_request}) {
    try {
      check(read(as_text(data, size)));
    } catch (const RequestError& error) {
      require(error.status == 400 && find_invalid_utf8(error.message) == std::string::npos);
      require(find_invalid_utf8(error.param) == std::string::npos);
    }
  }
  return 0;
}
