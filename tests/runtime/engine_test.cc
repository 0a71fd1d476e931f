// The engine on a trained model: text, perplexity, and that neither threads nor company change a bit.
#include <cmath>

#include "ockham/io/npy.h"
#include "ockham/runtime/score_paths.h"
#include "tests/runtime/engine_fixture.h"

namespace ockham {
namespace {

constexpr const char* kStory =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a "
    "big, red ball.";

TEST(Engine, TellsTheStory) {
  if (!test::has_stories()) GTEST_SKIP() << test::stories() << " is not there";
  NativeLanguageModel model(test::stories(), {.engine = test::small_options()});
  GenerateRequest request;
  request.max_tokens = 100;
  const GenerateAnswer answer = model.generate({&request, 1})[0];
  EXPECT_TRUE(answer.texts[0].starts_with(kStory)) << answer.texts[0];
}

TEST(Engine, PerplexityOfTheReference) {
  if (!test::has_stories()) GTEST_SKIP() << test::stories() << " is not there";
  const std::vector<std::vector<int32_t>> ids = read_token_ids_npy(test_data("golden/stories260K/test_ids.npy"));
  NativeLanguageModel model(test::stories(), {.engine = test::small_options()});
  double sum = 0;
  int64_t count = 0;
  for (const SequenceScore& score : model.score_sequences(ids)) {
    for (const float logprob : score.logprobs) sum -= logprob;
    count += static_cast<int64_t>(score.logprobs.size());
  }
  EXPECT_NEAR(std::exp(sum / static_cast<double>(count)), 3.63786767, 3.63786767e-5);
}

TEST(Engine, SmallerCachesChangeLittle) {
  if (!test::has_stories()) GTEST_SKIP() << test::stories() << " is not there";
  std::vector<std::vector<int32_t>> ids = read_token_ids_npy(test_data("golden/stories260K/test_ids.npy"));
  ids.resize(4);
  std::vector<double> means;
  for (const DType type : {DType::kF32, DType::kBF16, DType::kI8}) {
    EngineOptions options = test::small_options();
    options.cache_type = type;
    NativeLanguageModel model(test::stories(), {.engine = options});
    double sum = 0, count = 0;
    for (const SequenceScore& score : model.score_sequences(ids)) {
      for (const float logprob : score.logprobs) sum -= logprob;
      count += static_cast<double>(score.logprobs.size());
    }
    means.push_back(sum / count);
  }
  EXPECT_NE(means[1], means[0]);
  EXPECT_NE(means[2], means[0]);
  EXPECT_NEAR(means[1], means[0], 1e-3);
  EXPECT_NEAR(means[2], means[0], 4e-3);
}

}  // namespace
}  // namespace ockham
