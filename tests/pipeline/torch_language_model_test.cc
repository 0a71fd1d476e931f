// The libtorch language model against plain forward passes, and a real model against its published text and perplexity.
#include "ockham/pipeline/torch_language_model.h"

#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/io/npy.h"
#include "ockham/model/checkpoint.h"
#include "ockham/pipeline/prefill.h"
#include "ockham/pipeline/sampling.h"
#include "ockham/tensor/device.h"
#include "ockham/tensor/ops.h"
#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

class Stories : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::is_directory(test_data() + "/models/stories260K"))
      GTEST_SKIP() << "no model at " << test_data() << "/models/stories260K; set OCKHAM_TEST_DATA";
    static TorchLanguageModel shared(test_data() + "/models/stories260K");
    model_ = &shared;
  }
  static GenerateRequest greedy(const std::string& text, int64_t tokens) {
    GenerateRequest request;
    request.prompt.text = text;
    request.max_tokens = tokens;
    return request;
  }
  TorchLanguageModel* model_ = nullptr;
};

TEST_F(Stories, BeginsAsItsAuthorPublished) {
  const std::vector<GenerateAnswer> answers = model_->generate(std::vector{greedy("", 200)});
  const std::string expected =
      "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a "
      "big, red ball.";
  EXPECT_EQ(answers[0].texts[0].substr(0, expected.size()), expected);
  EXPECT_TRUE(answers[0].hit_limit[0]);
}

TEST_F(Stories, PerplexityOfTheDenseModel) {
  const auto ids = read_token_ids_npy(test_data() + "/golden/stories260K/test_ids.npy");
  const std::vector<SequenceScore> scores = model_->score_sequences(ids);
  double nats = 0, count = 0;
  for (const SequenceScore& score : scores) {
    ASSERT_EQ(score.logprobs.size(), 511U);
    for (const float value : score.logprobs) nats -= value;
    count += static_cast<double>(score.logprobs.size());
  }
  EXPECT_NEAR(std::exp(nats / count), 3.63786767, 3.63786767e-3);
}

// What one row alone gives, without cache, padding, prefix or branches.
double plain_logprob(const Decoder& decoder, const TokenIds& context, const TokenIds& continuation) {
  const at::NoGradGuard no_grad;
  TokenIds all = context;
  all.insert(all.end(), continuation.begin(), continuation.end());
  const Tensor ids = at::tensor(all).to(at::kLong).unsqueeze(0);
  const Tensor logs = at::log_softmax(decoder.logits(decoder.forward(ids)).to(at::kFloat), -1)[0];
  double sum = 0;
  for (size_t j = 0; j < continuation.size(); ++j)
    sum += logs[static_cast<int64_t>(context.size() + j) - 1][continuation[j]].item<double>();
  return sum;
}

TEST_F(Stories, ScoresEqualSinglePasses) {
  const auto decoder = Checkpoint(test_data() + "/models/stories260K").read_all(DType::kF32);
  // Common prefixes, equal and different lengths, one and many tokens, a trailing blank that moves.
  const std::vector<std::string> contexts = {"Once upon a time, there was a little girl named",
                                             "Once upon a time, there was a little boy named ",
                                             "Once upon a time, there was a big dog. The dog said", "Lily",
                                             "Once upon a time, there was a little girl named Lily. She"};
  const std::vector<std::string> options = {" Lily", " Tom and Ben went to the park", ".", " a"};
  std::vector<ScoreRequest> requests;
  for (const std::string& context : contexts) requests.push_back({{context, false}, options});
  requests.push_back({{contexts[0], false}, {" Lily"}});
  const std::vector<ScoreAnswer> answers = model_->score(requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    for (size_t c = 0; c < requests[i].continuations.size(); ++c) {
      std::string context = requests[i].context.text, continuation = requests[i].continuations[c];
      while (context.ends_with(' ')) {
        context.pop_back();
        continuation = " " + continuation;
      }
      const TokenIds head = model_->tokenize(context, true), whole = model_->tokenize(context + continuation, true);
      const TokenIds tail(whole.begin() + static_cast<int64_t>(head.size()), whole.end());
      EXPECT_NEAR(answers[i].scores[c].logprob, plain_logprob(*decoder, head, tail), 2e-4)
          << context << "|" << continuation;
      EXPECT_EQ(answers[i].scores[c].tokens, static_cast<int64_t>(tail.size()));
    }
  }
}

TEST_F(Stories, GreedyTextDoesNotDependOnCompany) {
  std::vector<GenerateRequest> requests;
  for (const char* text : {"Once upon a time, there was a", "Once upon a time, there was a little dog named", "Tom",
                           "One day, a cat", "Once upon a time, there was a", "The sun was hot and the"})
    requests.push_back(greedy(text, 24));
  const std::vector<GenerateAnswer> together = model_->generate(requests);
  for (size_t i = 0; i < requests.size(); ++i)
    EXPECT_EQ(model_->generate(std::span(&requests[i], 1))[0].texts[0], together[i].texts[0])
        << requests[i].prompt.text;
  EXPECT_EQ(together[0].texts[0], together[4].texts[0]);
  EXPECT_NE(together[0].texts[0], together[2].texts[0]);
  // The blank before the first word is part of the text.
  EXPECT_EQ(together[0].texts[0][0], ' ');
}

TEST_F(Stories, GreedyFlagMarksWhatGenerationSays) {
  const std::string said = model_->generate(std::vector{greedy("Once upon a time, there was", 6)})[0].texts[0];
  const std::vector<ScoreRequest> requests = {{{"Once upon a time, there was", false}, {said, " zebra"}}};
  const std::vector<ScoreAnswer> answers = model_->score(requests);
  EXPECT_TRUE(answers[0].scores[0].is_greedy);
  EXPECT_FALSE(answers[0].scores[1].is_greedy);
}

TEST_F(Stories, SeededSamplesRepeat) {
  GenerateRequest request = greedy("One day", 12);
  request.temperature = 1;
  request.samples = 4;
  request.seed = 7;
  GenerateRequest other = greedy("Tom saw a big red", 20);
  other.temperature = 0.7;
  other.top_p = 0.9;
  const std::vector<GenerateAnswer> alone = model_->generate(std::vector{request}),
                                    both = model_->generate(std::vector{other, request});
  EXPECT_EQ(alone[0].texts, both[1].texts);
  EXPECT_EQ(alone[0].texts.size(), 4U);
  EXPECT_NE(alone[0].texts[0], alone[0].texts[1]);
  request.seed = 8;
  EXPECT_NE(model_->generate(std::vector{request})[0].texts, alone[0].texts);
}

TEST_F(Stories, StopsBeforeAStopString) {
  GenerateRequest request = greedy("", 60);
  request.stop = {" named", "park"};
  const GenerateAnswer answer = model_->generate(std::vector{request})[0];
  EXPECT_EQ(answer.texts[0], "Once upon a time, there was a little girl");
  EXPECT_FALSE(answer.hit_limit[0]);
}

TEST_F(Stories, LongContextsAreCutOnTheLeft) {
  std::string text = "Once upon a time";
  for (int i = 0; i < 200; ++i) text += " the dog and the cat";
  const std::vector<GenerateAnswer> answers = model_->generate(std::vector{greedy(text, 5)});
  EXPECT_EQ(answers[0].truncated_tokens, static_cast<int64_t>(model_->tokenize(text, true).size()) - (512 - 5));
  const std::vector<ScoreRequest> requests = {{{text, false}, {" ran", " sat down"}}};
  EXPECT_GT(model_->score(requests)[0].truncated_tokens, 0);
  EXPECT_THROW(model_->generate(std::vector{greedy("x", 512)}), Error);
}

TEST_F(Stories, RefusesForeignIds) {
  const std::vector<std::vector<int32_t>> sequences = {{1, 5, 512}};
  EXPECT_THROW(model_->score_sequences(sequences), Error);
}

TEST_F(Stories, DecoderInMemoryAnswersAlike) {
  const auto decoder = Checkpoint(test_data() + "/models/stories260K").read_all(DType::kF32);
  TorchLanguageModel copy(*decoder, std::make_shared<const Tokenizer>(test_data() + "/models/stories260K"), {});
  EXPECT_EQ(copy.info().context_length, 512);
  EXPECT_EQ(copy.generate(std::vector{greedy("Tom", 20)})[0].texts,
            model_->generate(std::vector{greedy("Tom", 20)})[0].texts);
}

TEST_F(Stories, CudaAgreesWithTheCpu) {
  if (!has_cuda()) GTEST_SKIP() << "no CUDA device, or a libtorch without CUDA";
  TorchLanguageModel::Options options;
  options.device = "cuda";
  TorchLanguageModel gpu(test_data() + "/models/stories260K", options);
  const std::vector<ScoreRequest> requests = {{{"Once upon a time", false}, {", there was", " a dog ran"}},
                                              {{"Tom", false}, {" was", " saw a"}}};
  const std::vector<ScoreAnswer> here = model_->score(requests), there = gpu.score(requests);
  for (size_t i = 0; i < requests.size(); ++i)
    for (size_t c = 0; c < 2; ++c) EXPECT_NEAR(here[i].scores[c].logprob, there[i].scores[c].logprob, 5e-3);
  EXPECT_EQ(gpu.generate(std::vector{greedy("", 30)})[0].texts, model_->generate(std::vector{greedy("", 30)})[0].texts);
}

TEST(Sampling, FollowsTheProbabilities) {
  const Tensor logits = at::log(at::tensor({0.5F, 0.3F, 0.2F})).unsqueeze(0);
  Rng rng(3);
  std::vector<int> counts(3), nucleus(3);
  for (int i = 0; i < 20000; ++i) {
    ++counts[static_cast<size_t>(sample_tokens(logits, {{1, 1, &rng}})[0])];
    ++nucleus[static_cast<size_t>(sample_tokens(logits, {{1, 0.7, &rng}})[0])];
  }
  EXPECT_NEAR(counts[0] / 20000.0, 0.5, 0.015);
  EXPECT_NEAR(counts[2] / 20000.0, 0.2, 0.015);
  EXPECT_EQ(nucleus[2], 0);
  EXPECT_NEAR(nucleus[0] / 20000.0, 0.625, 0.015);
  EXPECT_EQ(sample_tokens(at::tensor({1.0F, 2.0F, 2.0F}).unsqueeze(0), {{0, 1, nullptr}})[0], 1);
}

TEST(Sampling, RefusesWhatIsNoNumber) {
  const Tensor nothing = at::full({1, 40}, std::nan(""));
  Rng rng(1);
  EXPECT_THROW(sample_tokens(nothing, {{0, 1, nullptr}}), Error);
  EXPECT_THROW(sample_tokens(nothing, {{1, 1, &rng}}), Error);
  EXPECT_THROW(sample_tokens(nothing, {{1, 0.5, &rng}}), Error);
  // The highest of 40 values, past the last full lane.
  Tensor many = at::zeros({1, 40});
  many[0][37] = 3;
  many[0][39] = 3;
  EXPECT_EQ(sample_tokens(many, {{0, 1, nullptr}})[0], 37);
}

TEST(Grouping, DealsFurtherWhereLittleIsComputedTwice) {
  std::vector<TokenIds> rows;
  for (int32_t i = 0; i < 10; ++i) {
    TokenIds row(60, 1);
    row.resize(460, 2 + i);
    rows.push_back(row);
  }
  const auto groups = group_by_prefix(rows, 512, 4);  // 60 + 10 * 400 tokens, 180 more in four parts
  ASSERT_EQ(groups.size(), 4U);
  std::vector<size_t> all;
  for (const auto& group : groups) all.insert(all.end(), group.begin(), group.end());
  std::sort(all.begin(), all.end());
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(all.at(i), i);
  for (TokenIds& row : rows) row.insert(row.begin(), 900, 1);  // now a part costs 960
  EXPECT_EQ(group_by_prefix(rows, 512, 4).size(), 2U);
  EXPECT_EQ(group_by_prefix(std::span(rows).first(1), 512, 4).size(), 1U);
}

TEST(Branches, OfUnevenLengthFollowTheirOwnRows) {
  ModelConfig config = test::tiny_config();
  config.head_dim = 16;  // what the attention kernel takes
  const auto decoder = Decoder::random(config, 7, DType::kF32);
  const auto tokens_from = [](size_t seed, size_t count) {
    TokenIds ids;
    for (size_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>((seed * 37 + i * i * 11 + i * 5) % 40));
    return ids;
  };
  for (const bool is_even : {false, true}) {
    // Long branches stand among short ones, so that rows that go together are not neighbours; one row has none.
    const std::vector<size_t> long_branch = {900, 2, 0, 880, 3, 1, 870};
    std::vector<TokenIds> rows;
    std::vector<std::vector<TokenIds>> branches;
    for (size_t r = 0; r < long_branch.size(); ++r) {
      rows.push_back(tokens_from(r, is_even ? 12 : 9 + 3 * r));
      branches.emplace_back();
      if (long_branch[r] > 0) branches.back() = {tokens_from(100 + r, long_branch[r]), tokens_from(200 + r, 2)};
    }
    std::vector<const TokenIds*> pointers;
    for (const TokenIds& row : rows) pointers.push_back(&row);
    PrefilledRows prefilled = prefill(*decoder, pointers, 902);
    const Tensor hidden = forward_branches(*decoder, prefilled, branches);
    const at::NoGradGuard no_grad;
    for (size_t r = 0; r < rows.size(); ++r) {
      int64_t at = 0;
      for (const TokenIds& branch : branches[r]) {
        TokenIds whole = rows[r];
        whole.insert(whole.end(), branch.begin(), branch.end());
        const auto own = static_cast<int64_t>(branch.size());
        const Tensor alone = decoder->forward(at::tensor(whole).to(at::kLong).unsqueeze(0))[0];
        const Tensor expected = alone.narrow(0, static_cast<int64_t>(rows[r].size()), own);
        const Tensor found = hidden[static_cast<int64_t>(r)].narrow(0, at, own);
        EXPECT_LT((expected - found).abs().max().item<double>(), 1e-4) << "row " << r << ", even " << is_even;
        EXPECT_GT(expected.abs().max().item<double>(), 0.1);
        at += own;
      }
    }
  }
}

TEST(Grouping, SplitsWherePrefixesAreWorthIt) {
  std::vector<TokenIds> rows;
  for (int32_t i = 0; i < 40; ++i) {
    TokenIds row(100, i < 20 ? 1 : 2);  // two long prefixes
    row.push_back(100 + i);
    rows.push_back(row);
  }
  const auto groups = group_by_prefix(rows, 512, 1);
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups[0].size(), 20U);
  EXPECT_EQ(group_by_prefix(rows, 8, 1).size(), 6U);  // two of 20, each dealt in three
  // Rows without anything in common stay together: another group would save nothing.
  std::vector<TokenIds> plain;
  for (int32_t i = 0; i < 40; ++i) plain.push_back({i, i, i});
  EXPECT_EQ(group_by_prefix(plain, 512, 1).size(), 1U);
  EXPECT_EQ(group_by_prefix(plain, 512, 4).size(), 1U);  // too few tokens to share out
}

}  // namespace
}  // namespace ockham
