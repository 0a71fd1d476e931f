// The rules of core/language_model.h on the native engine.
#include <cmath>

#include "ockham/core/error.h"
#include "tests/runtime/engine_fixture.h"

namespace ockham {
namespace {

TEST(NativeLanguageModel, SaysWhatItIs) {
  const NativeLanguageModel model(test::mini());
  EXPECT_EQ(model.info().name, "mini");
  EXPECT_EQ(model.info().sha256.size(), 64U);
  EXPECT_GT(model.info().parameters, 1'000'000);
  EXPECT_NE(model.info().arithmetic.find("bfloat16"), std::string::npos) << model.info().arithmetic;
  EXPECT_EQ(NativeLanguageModel(test::mini(), {.has_hash = false}).info().sha256, "");
}

TEST(NativeLanguageModel, SaysWhatItsCacheHeld) {
  const auto use_of = [](const std::string& kv) {
    NativeLanguageModel model(test::mini(), {.engine = test::small_options(), .kv = parse_kv_policy("test", kv)});
    EXPECT_EQ(model.info().arithmetic.find("KV cache") != std::string::npos, kv != "full");
    std::string text;
    for (int i = 0; i < 24; ++i) text += "the baker sells bread by the river. ";
    const ScoreRequest request{{text, false}, {" yes", " no"}};
    model.score({&request, 1});
    const std::optional<CacheUse> use = model.take_cache_use();
    EXPECT_FALSE(model.take_cache_use().has_value()) << "nothing was asked since";
    return use;
  };
  EXPECT_FALSE(use_of("full").has_value());
  const std::optional<CacheUse> all = use_of("h2o,budget=1"), half = use_of("h2o,budget=0.5"),
                                coded = use_of("quantized,bits=4");
  ASSERT_TRUE(all && half && coded);
  EXPECT_EQ(all->kept, 1);
  EXPECT_FALSE(all->attention_mass.has_value());
  EXPECT_NEAR(half->kept, 0.5, 0.02);
  EXPECT_GT(half->attention_mass.value(), 0.5);
  EXPECT_LT(*half->attention_mass, 1);
  EXPECT_NEAR(half->bytes_per_token / all->bytes_per_token, 0.5, 0.1);
  EXPECT_EQ(coded->kept, 1);
  EXPECT_LT(coded->bytes_per_token, 0.8 * all->bytes_per_token);
}

// The continuation's tokens are scored as in the whole sequence.
TEST(NativeLanguageModel, ContinuationsArePartsOfSequences) {
  NativeLanguageModel model(test::mini(), {.engine = test::small_options(2)});
  const std::vector<std::string> continuations = {" the mayor", " a river of stone.", " x"};
  const ScoreRequest requests[] = {{{"who lives in this town?  ", false}, continuations},
                                   {{"nobody knows who lives here:", false}, continuations}};
  const std::vector<ScoreAnswer> answers = model.score(requests);
  for (size_t i = 0; i < 2; ++i) {
    std::string context = requests[i].context.text;
    for (size_t c = 0; c < continuations.size(); ++c) {
      const std::vector<int32_t> whole = model.tokenize(context + continuations[c], true);
      const SequenceScore sequence = model.score_sequences({&whole, 1})[0];
      const ContinuationScore& score = answers[i].scores[c];
      ASSERT_GT(score.tokens, 0);
      double sum = 0;
      for (size_t t = sequence.logprobs.size() - static_cast<size_t>(score.tokens); t < sequence.logprobs.size(); ++t)
        sum += sequence.logprobs[t];
      EXPECT_EQ(score.logprob, sum) << i << " " << c;
    }
  }
  // In another order, in other company.
  const ScoreRequest second[] = {requests[1]};
  EXPECT_EQ(model.score(second)[0].scores[1].logprob, answers[1].scores[1].logprob);
}

TEST(NativeLanguageModel, DistributionsHoldTheScores) {
  NativeLanguageModel model(test::mini(), {.engine = test::small_options()});
  const std::vector<int32_t> ids = model.tokenize("who is the mayor of this town, and where does he live?", true);
  const SequenceScore score = model.score_sequences({&ids, 1})[0];
  const auto distributions = model.distributions(ids);
  const auto vocabulary = static_cast<size_t>(model.info().vocabulary);
  ASSERT_EQ(distributions->positions(), static_cast<int64_t>(ids.size()) - 1);
  std::vector<float> logs(vocabulary * (ids.size() - 1));
  distributions->read(0, 3, logs.data());
  distributions->read(3, distributions->positions() - 3, logs.data() + 3 * vocabulary);
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    double sum = 0;
    for (size_t id = 0; id < vocabulary; ++id) sum += std::exp(logs[i * vocabulary + id]);
    EXPECT_NEAR(sum, 1, 1e-5);
    EXPECT_NEAR(logs[i * vocabulary + static_cast<size_t>(ids[i + 1])], score.logprobs[i], 2e-6);
  }
}

TEST(NativeLanguageModel, WhatIsTooLongIsCutOnTheLeft) {
  NativeLanguageModel model(test::mini(), {.engine = test::small_options()});
  std::string text = "the";
  for (int64_t i = 0; i < 2 * model.info().context_length; ++i) text += " river";
  const ScoreRequest request{{text, false}, {" and the town"}};
  EXPECT_GT(model.score({&request, 1})[0].truncated_tokens, 0);
  GenerateRequest generation;
  generation.prompt = {text, false};
  generation.max_tokens = 8;
  const GenerateAnswer answer = model.generate({&generation, 1})[0];
  EXPECT_GT(answer.truncated_tokens, 0);
  generation.max_tokens = model.info().context_length;
  EXPECT_THROW(model.generate({&generation, 1}), Error);
  const std::vector<int32_t> foreign = {1, static_cast<int32_t>(model.info().vocabulary)};
  EXPECT_THROW(model.score_sequences({&foreign, 1}), Error);
}

TEST(NativeLanguageModel, SamplesStopsAndCompany) {
  NativeLanguageModel model(test::mini(), {.engine = test::small_options()});
  GenerateRequest one;
  one.prompt = {"who is the mayor", false};
  one.max_tokens = 12;
  one.temperature = 0.9;
  one.samples = 3;
  one.seed = 4;
  GenerateRequest other = one;
  other.prompt = {"who is the king of the river", false};
  other.temperature = 0;
  other.samples = 1;
  const GenerateRequest both[] = {other, one};
  const std::vector<GenerateAnswer> together = model.generate(both);
  const GenerateAnswer alone = model.generate({&one, 1})[0];
  EXPECT_EQ(together[1].texts, alone.texts);
  ASSERT_EQ(alone.texts.size(), 3U);
  EXPECT_NE(alone.texts[0], alone.texts[1]);

  // A stop string cuts the sample that holds it, and no other.
  const auto longest = std::max_element(alone.texts.begin(), alone.texts.end(),
                                        [](const auto& a, const auto& b) { return a.size() < b.size(); });
  ASSERT_GT(longest->size(), 6U);
  one.stop = {longest->substr(3, 3)};
  const GenerateAnswer stopped = model.generate({&one, 1})[0];
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(stopped.texts[i], alone.texts[i].substr(0, alone.texts[i].find(one.stop[0]))) << i;
  EXPECT_FALSE(stopped.hit_limit[static_cast<size_t>(longest - alone.texts.begin())]);
}

}  // namespace
}  // namespace ockham
