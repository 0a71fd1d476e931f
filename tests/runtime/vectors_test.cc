// Norms and activations of every target against double precision.
#include "ockham/runtime/vectors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "ockham/kernels/target.h"

namespace ockham {
namespace {

double activated(Activation kind, double x) {
  switch (kind) {
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kGelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kRelu:
      return std::fmax(x, 0);
    case Activation::kSquaredRelu:
      return std::fmax(x, 0) * std::fmax(x, 0);
  }
  return x;
}

std::vector<float> numbers(size_t count) {
  std::vector<float> result;
  for (size_t i = 0; i < count; ++i) result.push_back(10 * std::sin(0.7F * static_cast<float>(i) + 0.1F));
  return result;
}

class Vectors : public testing::TestWithParam<Target> {
 protected:
  Vectors() : before_(current_target()) { set_target(GetParam()); }
  ~Vectors() override { set_target(before_); }
  Target before_;
};

TEST_P(Vectors, Activations) {
  for (const Activation kind :
       {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh, Activation::kRelu, Activation::kSquaredRelu}) {
    for (const size_t count : {1U, 7U, 16U, 33U, 200U}) {
      const std::vector<float> x = numbers(count);
      std::vector<float> plain = x, times = x;
      vector_kernels().activate(kind, plain.data(), nullptr, static_cast<int64_t>(count));
      vector_kernels().activate(kind, times.data(), x.data(), static_cast<int64_t>(count));
      for (size_t i = 0; i < count; ++i) {
        const double wanted = activated(kind, x[i]);
        EXPECT_NEAR(plain[i], wanted, 1e-6 + 3e-7 * std::fabs(wanted)) << static_cast<int>(kind) << " at " << x[i];
        EXPECT_EQ(times[i], plain[i] * x[i]);
      }
    }
  }
}

TEST_P(Vectors, Norms) {
  for (const size_t count : {2U, 15U, 64U, 100U, 2048U}) {
    const std::vector<float> x = numbers(count);
    std::vector<float> gain(count, 1.5F), bias(count, -0.25F), rms(count), layer(count);
    const auto n = static_cast<double>(count);
    double mean = 0, squares = 0, variance = 0;
    for (const float value : x) mean += value / n;
    for (const float value : x) {
      squares += static_cast<double>(value) * value / n;
      variance += (value - mean) * (value - mean) / n;
    }
    vector_kernels().rms_norm(x.data(), gain.data(), 1e-5F, static_cast<int64_t>(count), rms.data());
    vector_kernels().layer_norm(x.data(), gain.data(), bias.data(), 1e-5F, static_cast<int64_t>(count), layer.data());
    for (size_t i = 0; i < count; ++i) {
      EXPECT_NEAR(rms[i], x[i] / std::sqrt(squares + 1e-5) * 1.5, 2e-6);
      EXPECT_NEAR(layer[i], (x[i] - mean) / std::sqrt(variance + 1e-5) * 1.5 - 0.25, 4e-6);
    }
  }
}

TEST_P(Vectors, SumsOfPowersAndCaps) {
  std::vector<float> x = numbers(5000);
  double sum = 0;
  for (const float value : x) sum += std::exp(static_cast<double>(value));
  EXPECT_NEAR(vector_kernels().log_sum_exp(x.data(), 5000), std::log(sum), 1e-6);
  x[1234] = 11;
  EXPECT_EQ(vector_kernels().maximum(x.data(), 5000), 11);
  std::vector<float> capped = x;
  vector_kernels().softcap(capped.data(), 5, 5000);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(capped[i], 5 * std::tanh(x[i] / 5.0), 2e-6);
}

INSTANTIATE_TEST_SUITE_P(Targets, Vectors, testing::ValuesIn(available_targets().begin(), available_targets().end()),
                         [](const auto& target) { return std::string(target_name(target.param)); });

}  // namespace
}  // namespace ockham
