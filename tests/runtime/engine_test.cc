// The engine on a trained model: text, perplexity, and what precision its options leave.
#include <cmath>

#include "ockham/io/npy.h"
#include "ockham/kernels/target.h"
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

// Logits behind every one of these.
std::vector<float> read_as(ReadPrecision precision, const std::vector<int32_t>& ids, const std::vector<int64_t>& passes,
                           int threads) {
  EngineOptions options = test::small_options(threads);
  options.precision = precision;
  Engine engine(test::open_int4(test::mini()), options);
  return test::logits_of(engine, ids, passes);
}

TEST(Engine, FastPromptsAreNearAndTheSameHoweverTheyAreCut) {
  std::vector<int32_t> ids(36);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * 37 % 2000);
  for (const Target target : available_targets()) {
    set_target(target);
    const std::vector<float> exact = read_as(ReadPrecision::kExact, ids, {36}, 1);
    const std::vector<float> fast = read_as(ReadPrecision::kFast, ids, {36}, 1);
    EXPECT_EQ(read_as(ReadPrecision::kFast, ids, {3, 1, 20, 12}, 2), fast);
    double difference = 0, size = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      difference += std::pow(static_cast<double>(fast[i]) - exact[i], 2);
      size += std::pow(static_cast<double>(exact[i]), 2);
    }
    EXPECT_GT(difference, 0);
    EXPECT_LT(std::sqrt(difference / size), 0.02) << target_name(target);
  }
}

TEST(Engine, GeneratedTokensAreAsExactBesideFastPrompts) {
  std::vector<float> logits[2];
  for (int fast = 0; fast < 2; ++fast) {
    EngineOptions options = test::small_options();
    options.precision = fast == 1 ? ReadPrecision::kFast : ReadPrecision::kExact;
    Engine engine(test::open_int4(test::mini()), options);
    const int32_t sequence = engine.cache().open();
    for (int32_t id = 5; id < 25; ++id) {
      const TokenSpan span{.sequence = sequence, .tokens = {&id, 1}, .is_generated = true};
      engine.forward({&span, 1});
      const float* hidden = engine.hidden(0);
      const float* row = engine.logits({&hidden, 1}, true);
      logits[fast].insert(logits[fast].end(), row, row + engine.config().vocabulary);
    }
  }
  EXPECT_EQ(logits[0], logits[1]);
}

}  // namespace
}  // namespace ockham
