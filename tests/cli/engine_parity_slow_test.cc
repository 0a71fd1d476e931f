// Both engines on the same model, dense and in every weight format: the same likelihoods, the same answers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "ockham/core/rng.h"
#include "ockham/io/json.h"
#include "ockham/pipeline/torch_language_model.h"
#include "ockham/runtime/native_language_model.h"
#include "tests/cli/program.h"

namespace ockham {
namespace {

std::vector<std::vector<int32_t>> random_sequences(int64_t vocabulary) {
  Rng rng(7);
  std::vector<std::vector<int32_t>> sequences(3);
  for (std::vector<int32_t>& sequence : sequences)
    for (int i = 0; i < 96; ++i) sequence.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocabulary))));
  return sequences;
}

// Largest difference of a token's log p, nats.
double largest_difference(const std::string& directory) {
  TorchLanguageModel torch(directory, {.device = "cpu", .dtype = DType::kF32, .noise_seed = {}});
  NativeLanguageModel::Options exact;
  exact.engine.precision = ReadPrecision::kExact;
  NativeLanguageModel native(directory, exact);
  const auto sequences = random_sequences(torch.info().vocabulary);
  const auto theirs = torch.score_sequences(sequences), ours = native.score_sequences(sequences);
  double largest = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    EXPECT_EQ(theirs[s].logprobs.size(), ours[s].logprobs.size());
    for (size_t i = 0; i < ours[s].logprobs.size(); ++i)
      largest = std::max(largest, std::abs(double{theirs[s].logprobs[i]} - double{ours[s].logprobs[i]}));
  }
  EXPECT_EQ(torch.info().sha256, native.info().sha256);
  EXPECT_EQ(torch.info().parameters, native.info().parameters);
  EXPECT_EQ(torch.info().bytes, native.info().bytes);
  return largest;
}

// Share of FactWorld's multiple-choice questions that are answered rightly.
double share_right(const std::string& directory, const std::string& engine) {
  const ProgramRun run = run_program("eval " + directory + " --engine " + engine +
                                     " --tasks factworld/multiple-choice --items 60 --json --quiet");
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  const Json json = Json::parse(run.output);
  return json["tasks"][0]["metrics"][0]["value"].get<double>();
}

struct Format {
  std::string recipe;
  double bound;  // of largest_difference()
};
class EngineParity : public testing::TestWithParam<Format> {};

TEST(DenseEngineParity, SameScoresAndAnswers) {
  EXPECT_LT(largest_difference(kMini), 1e-3);
  EXPECT_EQ(share_right(kMini, "native"), share_right(kMini, "libtorch"));
}

TEST_P(EngineParity, CompressedModel) {
  const ScratchDirectory scratch;
  const std::string directory = scratch / "model";
  const ProgramRun run = run_program("compress " + kMini + " --recipe " + GetParam().recipe +
                                     " --calibration factworld --samples 4 --tokens 128 -o " + directory);
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  const double largest = largest_difference(directory);
  RecordProperty("largest_difference", std::to_string(largest));
  EXPECT_LT(largest, GetParam().bound) << GetParam().recipe;
  EXPECT_EQ(share_right(directory, "native"), share_right(directory, "libtorch"));
}

// Inputs of integer weights are off by 2^-15 of their group's largest at most. The ids are random, so a difference
// weighs more than in a text. llm-int8: libtorch keeps a column from rounding where any token of a call reaches the
// threshold, the native engine token by token, so that an answer does not depend on its company. fp8: the native engine
// rounds the weights to the checkpoint's bfloat16, libtorch here to float32.
INSTANTIATE_TEST_SUITE_P(Formats, EngineParity,
                         testing::Values(Format{"rtn-3", 0.01}, Format{"gptq-4", 0.01}, Format{"wanda-50", 1e-3},
                                         Format{"W4S50", 0.01}, Format{"llm-int8", 1.0}, Format{"fp8", 0.3},
                                         Format{"eora", 0.01}, Format{"gqsa", 0.01}, Format{"matryoshka", 0.01}),
                         [](const auto& format) {
                           std::string name = format.param.recipe;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(EngineChoice, NativeRefusesWhatItDoesNotHave) {
  for (const char* flags : {"--dtype float32", "--noise-floor 2"}) {
    const ProgramRun run =
        run_program("eval " + kMini + " --engine native --tasks factworld/fairness --items 2 " + flags);
    EXPECT_EQ(run.exit_code, 2) << flags << run.errors;
    EXPECT_NE(run.errors.find("--engine native"), std::string::npos) << run.errors;
  }
  EXPECT_EQ(run_program("run " + kMini + " --engine vllm -p hello").exit_code, 2);
}

}  // namespace
}  // namespace ockham
