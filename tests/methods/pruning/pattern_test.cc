// The ladder of patterns: each satisfies its own verifier, a stricter one costs more, and none passes for another.
#include "ockham/methods/pruning/pattern.h"

#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

SparsityPattern pattern_of(const std::string& text) {
  std::map<std::string, ParamValue> given = {{"pattern", text}};
  return read_sparsity(Params("test", sparsity_parameters(true), given), true);
}

// From the most to the least freedom; 8 rows stand for a head.
const std::vector<std::string> kLadder = {"unstructured", "4:8", "2:4", "1:2", "1x4", "4x4", "row", "8x*"};

TEST(Pattern, EveryStepOfTheLadderPassesItsVerifierAndCostsMore) {
  const Tensor weights = test::lcg(5, 32, 64).to(at::kFloat), inputs = test::lcg(2, 64, 200);
  for (const std::string method : {"magnitude", "wanda"}) {
    double last = 0;
    for (const std::string& text : kLadder) {
      const Tensor after = test::run_method(method, {{"pattern", text}}, weights, test::stats_of(inputs));
      EXPECT_TRUE(satisfies(after, pattern_of(text))) << method << " " << text;
      EXPECT_NEAR((after == 0).to(at::kDouble).mean().item<double>(), 0.5, 0.001) << text;
      const double error = test::output_error(after, weights, inputs);
      EXPECT_GT(error, text == "1x4" ? 0 : 0.97 * last) << method << " " << text;
      last = error;
    }
  }
}

TEST(Pattern, VerifiersTellPatternsApart) {
  const Tensor weights = test::lcg(5, 32, 64).to(at::kFloat);
  const auto pruned = [&](const char* text) {
    return test::run_method("magnitude", {{"pattern", std::string(text)}}, weights);
  };
  EXPECT_FALSE(satisfies(pruned("unstructured"), pattern_of("4:8")));
  EXPECT_FALSE(satisfies(pruned("4:8"), pattern_of("2:4")));
  EXPECT_FALSE(satisfies(pruned("1x4"), pattern_of("4x4")));
  EXPECT_FALSE(satisfies(pruned("4x4"), pattern_of("row")));
  EXPECT_FALSE(satisfies(weights, pattern_of("unstructured")));
  EXPECT_TRUE(satisfies(pruned("2:4"), pattern_of("4:8")));
  EXPECT_TRUE(satisfies(pruned("8x*"), pattern_of("row")));
  EXPECT_FALSE(satisfies(at::zeros({2, 6}), pattern_of("2:4")));
}

TEST(Pattern, MalformedOnesAreRefused) {
  for (const char* text : {"4x", "x4", "0x4", "4x65537", "*", "4x4x4", "4:2", "rows", ""})
    EXPECT_THROW(pattern_of(text), Error) << text;
  // A method that walks the columns cannot choose tiles.
  EXPECT_THROW(test::run_method("sparsegpt", {{"pattern", std::string("4x4")}}, test::example_weights()), Error);
}

TEST(Pattern, KthLowestIsThatOfTheSortedScores) {
  Tensor scores = test::lcg(6, 40, 50).to(at::kFloat);
  scores.narrow(0, 0, 4).fill_(-1);
  scores.narrow(0, 4, 4).fill_(0.25);
  const Tensor sorted = std::get<0>(scores.flatten().sort());
  for (const int64_t place : {0, 1, 199, 200, 201, 1000, 1500, 1999})
    EXPECT_EQ(kth_lowest(scores, place), sorted[place].item<float>()) << place;
}

}  // namespace
}  // namespace ockham
