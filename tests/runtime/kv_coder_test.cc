// Codes, outliers and corrections of a block against the worked figures of the methods' own arithmetic.
#include "ockham/runtime/kv_coder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "ockham/kernels/target.h"

namespace ockham {
namespace {

// s = (1664525 s + 1013904223) mod 2^32, s / 2^32 - 0.5.
std::vector<float> example_lcg(uint32_t seed, int64_t count) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) {
    seed = 1664525U * seed + 1013904223U;
    values.push_back(static_cast<float>(seed / 4294967296.0 - 0.5));
  }
  return values;
}

constexpr int64_t kCoderHeads = 2, kCoderTokens = 16, kCoderDim = 8;

// [heads, tokens, dim] as [tokens, heads, dim].
std::vector<float> by_token(const std::vector<float>& x) {
  std::vector<float> turned(x.size());
  for (int64_t head = 0; head < kCoderHeads; ++head)
    for (int64_t token = 0; token < kCoderTokens; ++token)
      for (int64_t d = 0; d < kCoderDim; ++d)
        turned[static_cast<size_t>((token * kCoderHeads + head) * kCoderDim + d)] =
            x[static_cast<size_t>((head * kCoderTokens + token) * kCoderDim + d)];
  return turned;
}
std::vector<float> example_keys() {
  std::vector<float> x = example_lcg(11, kCoderHeads * kCoderTokens * kCoderDim);
  for (size_t i = 3; i < x.size(); i += kCoderDim) x[i] *= 6;
  x[5 * kCoderDim + 1] = 4;
  x[(kCoderTokens + 9) * kCoderDim + 6] = -5;
  return by_token(x);
}
std::vector<float> example_values() {
  std::vector<float> x = example_lcg(12, kCoderHeads * kCoderTokens * kCoderDim);
  x[2 * kCoderDim + 2] = 3;
  return by_token(x);
}

CodeShape example_shape(bool by_channel, int bits, int64_t outliers = 0, int64_t rank = 0) {
  return {.tokens = kCoderTokens,
          .heads = kCoderHeads,
          .dim = kCoderDim,
          .bits = bits,
          .group = 8,
          .by_channel = by_channel,
          .outliers = outliers,
          .rank = rank};
}

double norm_of(const std::vector<float>& x) {
  double sum = 0;
  for (const float value : x) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}
// || x - what its codes stand for || / || x ||
double relative_error(const std::vector<float>& x, const CodeShape& shape) {
  KvCoder coder(shape);
  coder.encode(x.data(), shape.width());
  std::vector<float> decoded(x.size());
  coder.decode(decoded.data());
  for (size_t i = 0; i < x.size(); ++i) decoded[i] -= x[i];
  return norm_of(decoded) / norm_of(x);
}

// Figures were computed with exact scales; float16 ones move them by less than 2e-4.
constexpr double kScaleRounding = 2e-4;

TEST(KvCoder, CodesLoseWhatTheWorkedExampleSays) {
  EXPECT_NEAR(relative_error(example_keys(), example_shape(true, 2)), 0.2246, kScaleRounding);
  EXPECT_NEAR(relative_error(example_keys(), example_shape(false, 2)), 0.2686, kScaleRounding);
  EXPECT_NEAR(relative_error(example_values(), example_shape(false, 2)), 0.2491, kScaleRounding);
  EXPECT_NEAR(relative_error(example_keys(), example_shape(true, 4)), 0.0500, kScaleRounding);
  EXPECT_NEAR(relative_error(example_keys(), example_shape(false, 4)), 0.0522, kScaleRounding);
  EXPECT_NEAR(relative_error(example_values(), example_shape(false, 4)), 0.0462, kScaleRounding);
}

TEST(KvCoder, OutliersAndCorrectionsRepairWhatTheWorkedExampleSays) {
  EXPECT_NEAR(relative_error(example_keys(), example_shape(true, 2, 1, 0)), 0.1495, kScaleRounding);
  // Three rounds do not quite reach the best approximation, and how near they come depends on the start.
  EXPECT_NEAR(relative_error(example_keys(), example_shape(true, 2, 0, 1)), 0.1449, 6e-3);
  EXPECT_NEAR(relative_error(example_keys(), example_shape(true, 2, 0, 2)), 0.0704, 1e-3);
  EXPECT_NEAR(relative_error(example_keys(), example_shape(true, 2, 1, 1)), 0.0584, 1e-3);
  EXPECT_NEAR(relative_error(example_keys(), example_shape(true, 2, 1, 2)), 0.0489, 2e-3);
}

// || E - left right^T || over both heads, E: what codes and one outlier on each side lose.
double residual(int64_t rank, int rounds) {
  const std::vector<float> x = example_keys();
  KvCoder coder(example_shape(true, 2, 1, 0));
  coder.encode(x.data(), kCoderHeads * kCoderDim);
  std::vector<float> decoded(x.size());
  coder.decode(decoded.data());
  double sum = 0;
  for (int64_t head = 0; head < kCoderHeads; ++head) {
    std::vector<float> error;
    for (int64_t token = 0; token < kCoderTokens; ++token)
      for (int64_t d = 0; d < kCoderDim; ++d) {
        const auto at = static_cast<size_t>((token * kCoderHeads + head) * kCoderDim + d);
        error.push_back(x[at] - decoded[at]);
      }
    PowerIteration iteration(kCoderTokens, kCoderDim, rank);
    iteration.run(error.data(), rounds);
    const int64_t width = iteration.width();
    for (int64_t i = 0; i < kCoderTokens * kCoderDim; ++i) {
      double rest = error[static_cast<size_t>(i)];
      for (int64_t j = 0; j < rank; ++j)
        rest -= static_cast<double>(iteration.left()[i / kCoderDim * width + j]) *
                iteration.right()[i % kCoderDim * width + j];
      sum += rest * rest;
    }
  }
  return std::sqrt(sum);
}
TEST(KvCoder, PowerIterationComesNearTheBestApproximation) {
  EXPECT_NEAR(residual(1, 3), 0.7015, 1e-3);
  EXPECT_NEAR(residual(1, 50), 0.7015, 2e-4);
  EXPECT_GT(residual(1, 1), 1);
  EXPECT_NEAR(residual(2, 3), 0.5996, 5e-3);
  EXPECT_NEAR(residual(2, 200), 0.5875, 2e-4);
}

TEST(KvCoder, ErrorsFallWithEverythingThatIsAdded) {
  const Target best = current_target();
  for (const Target target : available_targets()) {
    set_target(target);
    for (const bool by_channel : {true, false}) {
      double last = 1;
      for (const int bits : {2, 4, 8}) {
        const double error = relative_error(example_keys(), example_shape(by_channel, bits));
        EXPECT_LT(error, last / 2);
        last = error;
      }
      last = 1;
      for (const int64_t outliers : {0, 1, 2, 4}) {
        const double error = relative_error(example_keys(), example_shape(by_channel, 2, outliers));
        EXPECT_LT(error, last);
        last = error;
      }
      last = 1;
      for (const int64_t rank : {0, 1, 2, 4, 6, 8}) {
        const double error = relative_error(example_keys(), example_shape(by_channel, 2, 0, rank));
        EXPECT_LT(error, last);
        last = error;
      }
      EXPECT_LT(last, 1e-6) << "a correction of full rank restores everything";
    }
  }
  set_target(best);
}

TEST(KvCoder, OutliersStayWhatTheyAreAndTiesGoToTheFirst) {
  const std::vector<float> x = example_keys();
  KvCoder coder(example_shape(true, 2, 1, 0));
  coder.encode(x.data(), kCoderHeads * kCoderDim);
  std::vector<float> decoded(x.size());
  coder.decode(decoded.data());
  ASSERT_EQ(coder.outliers().size(), size_t{2 * kCoderHeads * kCoderDim});
  for (const KvOutlier& one : coder.outliers()) {
    const auto at = static_cast<size_t>((one.token * kCoderHeads + one.head) * kCoderDim + one.channel);
    EXPECT_EQ(decoded[at], x[at]);
    EXPECT_EQ(one.value, x[at]);
  }
  EXPECT_EQ(decoded[(5 * kCoderHeads + 0) * kCoderDim + 1], 4.0F);
  EXPECT_EQ(decoded[(9 * kCoderHeads + 1) * kCoderDim + 6], -5.0F);

  CodeShape shape = {.tokens = 1, .heads = 1, .dim = 8, .bits = 2, .group = 8, .outliers = 2};
  const std::vector<float> equal = {1, 1, 2, 1, 2, 2, 1, 2};
  KvCoder one(shape);
  one.encode(equal.data(), 8);
  std::vector<int32_t> channels;
  for (const KvOutlier& outlier : one.outliers()) channels.push_back(outlier.channel);
  EXPECT_EQ(channels, (std::vector<int32_t>{0, 1, 2, 4}));
}

TEST(KvCoder, NothingIsDividedByZero) {
  const float infinite = std::numeric_limits<float>::infinity();
  for (const float value : {0.0F, 3.0F, -1e-30F, 1e30F, infinite, std::nanf("")}) {
    std::vector<float> x(static_cast<size_t>(kCoderTokens * kCoderHeads * kCoderDim), value), decoded(x.size());
    for (const bool by_channel : {true, false}) {
      KvCoder coder(example_shape(by_channel, 4, 1, 2));
      coder.encode(x.data(), kCoderHeads * kCoderDim);
      coder.decode(decoded.data());
      if (std::fabs(value) < 4) {
        for (const float found : decoded) EXPECT_NEAR(found, value, 1e-6);
      }
    }
  }
  const CodeScale scale = code_scale(std::vector<float>(5, 0.1F).data(), 5, 1, 2);
  EXPECT_EQ(scale.step, 0);
  EXPECT_EQ(code_of(0.1F, scale, scale.inverse(), 2), 0);
  EXPECT_EQ(code_of(std::nanf(""), {1, 0}, 1, 2), 0);
  EXPECT_EQ(code_of(100, {1, 0}, 1, 2), 3);
}

TEST(KvCoder, SharesBecomeNumbersOfEachVectorsOwnLength) {
  EXPECT_EQ(CodeShape::outliers_of(1000, 0.02), 10);
  EXPECT_EQ(CodeShape::outliers_of(4096, 0.02), 41);
  EXPECT_EQ(CodeShape::outliers_of(64, 0.02), 1);
  EXPECT_EQ(CodeShape::outliers_of(64, 0), 0);
  EXPECT_EQ(CodeShape::outliers_of(4, 1), 2);
}

}  // namespace
}  // namespace ockham
