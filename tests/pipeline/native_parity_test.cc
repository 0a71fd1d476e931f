// The two engines behind LanguageModel give the same answers: libtorch in float32 and the native one without rounding
// of inputs. They add in different orders, so log-probabilities agree to some units in the last place of the largest
// logit, and texts wherever no two tokens are that close.
#include <cmath>
#include <filesystem>

#include "ockham/pipeline/torch_language_model.h"
#include "ockham/runtime/native_language_model.h"
#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

constexpr double kTolerance = 1e-4;  // nats, for one token

class NativeParity : public testing::TestWithParam<std::string> {
 protected:
  NativeParity() {
    const std::string path = GetParam() == "mini" ? OCKHAM_SOURCE_DIR "/models/mini" : test::stories();
    if (!std::filesystem::exists(path + "/model.safetensors")) return;
    torch_ = std::make_unique<TorchLanguageModel>(path, TorchLanguageModel::Options{.dtype = DType::kF32});
    NativeLanguageModel::Options options;
    options.engine.precision = ReadPrecision::kExact;
    options.engine.threads = 2;
    options.engine.cache_bytes = int64_t{64} << 20;
    native_ = std::make_unique<NativeLanguageModel>(path, options);
  }
  void SetUp() override {
    if (native_ == nullptr) GTEST_SKIP() << GetParam() << " is not there";
  }
  std::unique_ptr<TorchLanguageModel> torch_;
  std::unique_ptr<NativeLanguageModel> native_;
};

TEST_P(NativeParity, ScoresOfContinuations) {
  std::vector<ScoreRequest> requests;
  const std::string shots = "Q: who is small? A: the mouse. Q: who is tall? A: the tree. ";
  for (const std::string question : {"Q: who is old? A:", "Q: what is red and round? A: ", "Once upon a time"})
    requests.push_back({{shots + question, false}, {" the ball", " a little girl named Lily", " x", " the king."}});
  const std::vector<ScoreAnswer> wanted = torch_->score(requests), found = native_->score(requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    ASSERT_EQ(found[i].scores.size(), wanted[i].scores.size());
    for (size_t c = 0; c < wanted[i].scores.size(); ++c) {
      const ContinuationScore &a = found[i].scores[c], &b = wanted[i].scores[c];
      EXPECT_EQ(a.tokens, b.tokens);
      EXPECT_EQ(a.is_greedy, b.is_greedy);
      EXPECT_NEAR(a.logprob, b.logprob, kTolerance * static_cast<double>(b.tokens)) << i << " " << c;
    }
  }
}

TEST_P(NativeParity, SequencesAndDistributions) {
  const std::vector<std::vector<int32_t>> ids = {
      torch_->tokenize("One day a little girl found a big, red ball in the park. She was very happy.", true),
      torch_->tokenize("the mayor of the town", true)};
  const std::vector<SequenceScore> wanted = torch_->score_sequences(ids), found = native_->score_sequences(ids);
  for (size_t i = 0; i < ids.size(); ++i) {
    ASSERT_EQ(found[i].logprobs.size(), wanted[i].logprobs.size());
    for (size_t t = 0; t < wanted[i].logprobs.size(); ++t)
      EXPECT_NEAR(found[i].logprobs[t], wanted[i].logprobs[t], kTolerance) << i << " " << t;
  }
  const auto a = torch_->distributions(ids[0]), b = native_->distributions(ids[0]);
  ASSERT_EQ(a->positions(), b->positions());
  std::vector<float> x(static_cast<size_t>(a->positions() * torch_->info().vocabulary)), y = x;
  a->read(0, a->positions(), x.data());
  b->read(0, b->positions(), y.data());
  for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(y[i], x[i], 2 * kTolerance) << i;
}

TEST_P(NativeParity, TextsGreedyAndSampled) {
  std::vector<GenerateRequest> requests(3);
  const char* prompts[] = {"Once upon a time", "who is the mayor?", "The dog"};
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].prompt = {prompts[i], false};
    requests[i].max_tokens = 30;
    requests[i].seed = i;
  }
  requests[2].temperature = 0.8;
  requests[2].top_p = 0.9;
  const std::vector<GenerateAnswer> wanted = torch_->generate(requests), found = native_->generate(requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(found[i].texts, wanted[i].texts);
    EXPECT_EQ(found[i].hit_limit, wanted[i].hit_limit);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, NativeParity, testing::Values("mini", "stories"),
                         [](const auto& model) { return model.param; });

}  // namespace
}  // namespace ockham
