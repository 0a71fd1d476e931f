// Measures evaluation on an embedded model: seconds to load, perplexity tokens per second, multiple-choice items per
// second. Medians of five repetitions after one warm-up. Prints one JSON object.
//   eval_bench MODEL [threads]
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "ockham/core/error.h"
#include "ockham/core/memory.h"
#include "ockham/core/parallel.h"
#include "ockham/core/rng.h"
#include "ockham/core/version.h"
#include "ockham/io/json.h"
#include "ockham/pipeline/torch_language_model.h"
#include "ockham/tensor/allocator.h"
#include "ockham/tensor/device.h"
#include "ockham/world/world.h"

namespace ockham {
namespace {

constexpr int kRepetitions = 5;

double median_seconds(const std::function<void()>& work) {
  work();
  std::vector<double> seconds;
  for (int i = 0; i < kRepetitions; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + kRepetitions / 2, seconds.end());
  return seconds[kRepetitions / 2];
}

int run(const std::string& path, int threads) {
  set_thread_count(threads);
  set_tensor_threads(thread_count());
  use_caching_allocator();
  Json json;
  json["machine"] = machine_description();
  json["threads"] = thread_count();
  json["load_seconds"] = median_seconds([&] { TorchLanguageModel loaded(path); });
  TorchLanguageModel model(path);
  json["model"] = model.info().path;

  // Random ids cost the same as text.
  constexpr int64_t kSequences = 32, kTokens = 512;
  Rng rng(1);
  std::vector<std::vector<int32_t>> sequences(kSequences);
  for (auto& sequence : sequences)
    for (int64_t i = 0; i < kTokens; ++i)
      sequence.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(model.info().vocabulary))));
  json["perplexity_tokens_per_second"] =
      static_cast<double>(kSequences * kTokens) / median_seconds([&] { model.score_sequences(sequences); });

  const World world;
  std::vector<ScoreRequest> requests;
  for (const Json& item : world.items("multiple_choice")) {
    const std::vector<ChatMessage> messages = {{"user", json_text(item, "input", "multiple_choice")}};
    requests.push_back({model.render(messages, true), item["option"].get<std::vector<std::string>>()});
  }
  json["choice_items"] = requests.size();
  json["choice_items_per_second"] =
      static_cast<double>(requests.size()) / median_seconds([&] { model.score(requests); });
  json["peak_bytes"] = peak_memory_bytes();
  fmt::print("{}\n", json.dump(2));
  return 0;
}

}  // namespace
}  // namespace ockham

int main(int argc, char** argv) {
  try {
    if (argc < 2) ockham::throw_error(ockham::ErrorKind::kUsage, "usage: eval_bench MODEL [threads]");
    return ockham::run(argv[1], argc > 2 ? std::atoi(argv[2]) : 0);
  } catch (const ockham::Error& error) {
    fmt::print(stderr, "eval_bench: {}\n", error.what());
    return ockham::exit_code(error.kind());
  }
}
