// The elementwise kernels against their formulas in double precision, gradients against finite differences.
#include "ockham/train/kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "ockham/core/rng.h"

namespace ockham {
namespace {

using Values = std::vector<float>;

Values random_values(size_t n, uint64_t seed, double deviation = 1) {
  Rng rng(seed);
  Values values(n);
  for (float& value : values) value = static_cast<float>(rng.normal() * deviation);
  return values;
}

// d(sum of f * weights) / d x[i] by central differences, for a function computed in double.
void expect_gradient(const std::function<std::vector<double>(const std::vector<double>&)>& f, const Values& at,
                     const Values& weights, const Values& gradient) {
  std::vector<double> x(at.begin(), at.end());
  const auto total = [&] {
    const std::vector<double> y = f(x);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * weights[i];
    return sum;
  };
  for (size_t i = 0; i < x.size(); i += 3) {
    const double kept = x[i], step = 1e-5;
    x[i] = kept + step;
    const double high = total();
    x[i] = kept - step;
    const double low = total();
    x[i] = kept;
    EXPECT_NEAR(gradient[i], (high - low) / (2 * step), 2e-4) << "element " << i;
  }
}

float from_bf16(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

constexpr int64_t kRows = 3, kWidth = 48;

std::vector<double> norm_in_double(const std::vector<double>& x, const std::vector<double>& weight, double eps) {
  std::vector<double> y(x.size());
  for (size_t row = 0; row < x.size() / kWidth; ++row) {
    double squares = 0;
    for (size_t i = 0; i < kWidth; ++i) squares += x[row * kWidth + i] * x[row * kWidth + i];
    const double scale = 1 / std::sqrt(squares / kWidth + eps);
    for (size_t i = 0; i < kWidth; ++i) y[row * kWidth + i] = x[row * kWidth + i] * scale * weight[i];
  }
  return y;
}

TEST(TrainKernels, NormAddsAndNormalises) {
  const Values x = random_values(kRows * kWidth, 1), y = random_values(kRows * kWidth, 2),
               weight = random_values(kWidth, 3);
  Values sum(x.size()), out(x.size()), scale(kRows);
  add_norm(x.data(), y.data(), sum.data(), weight.data(), out.data(), scale.data(), kRows, kWidth, 1e-5f);
  std::vector<double> both(x.size());
  for (size_t i = 0; i < both.size(); ++i) both[i] = static_cast<double>(x[i]) + y[i];
  const std::vector<double> expected = norm_in_double(both, {weight.begin(), weight.end()}, 1e-5);
  for (size_t i = 0; i < both.size(); ++i) {
    EXPECT_NEAR(sum[i], both[i], 1e-6);
    EXPECT_NEAR(out[i], expected[i], 1e-5);
  }
}

TEST(TrainKernels, NormGradientMatchesFiniteDifferences) {
  const Values x = random_values(kRows * kWidth, 4), weight = random_values(kWidth, 5),
               out_grad = random_values(kRows * kWidth, 6);
  Values out(x.size()), scale(kRows), grad(x.size(), 0.5f), copy(x.size()), grad_weight(kWidth, 0.0f);
  add_norm(x.data(), static_cast<const float*>(nullptr), nullptr, weight.data(), out.data(), scale.data(), kRows,
           kWidth, 1e-5f);
  norm_backward(x.data(), weight.data(), scale.data(), out_grad.data(), grad.data(), copy.data(), grad_weight.data(),
                kRows, kWidth);
  EXPECT_EQ(grad, copy);
  for (float& value : grad) value -= 0.5f;  // it was added to
  const std::vector<double> x_double(x.begin(), x.end()), weight_double(weight.begin(), weight.end());
  expect_gradient([&](const std::vector<double>& at) { return norm_in_double(at, weight_double, 1e-5); }, x, out_grad,
                  grad);
  expect_gradient([&](const std::vector<double>& at) { return norm_in_double(x_double, at, 1e-5); }, weight, out_grad,
                  grad_weight);
}

TEST(TrainKernels, SwigluAndItsGradient) {
  const Values gate_up = random_values(kRows * 2 * kWidth, 7, 2), out_grad = random_values(kRows * kWidth, 8);
  const auto formula = [](const std::vector<double>& at) {
    std::vector<double> y(kRows * kWidth);
    for (size_t row = 0; row < kRows; ++row) {
      for (size_t i = 0; i < kWidth; ++i) {
        const double gate = at[row * 2 * kWidth + i], up = at[row * 2 * kWidth + kWidth + i];
        y[row * kWidth + i] = gate / (1 + std::exp(-gate)) * up;
      }
    }
    return y;
  };
  Values out(out_grad.size()), grad(gate_up.size());
  swiglu(gate_up.data(), out.data(), kRows, kWidth);
  const std::vector<double> expected = formula({gate_up.begin(), gate_up.end()});
  for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], expected[i], 1e-5);
  swiglu_backward(gate_up.data(), out_grad.data(), grad.data(), kRows, kWidth);
  expect_gradient(formula, gate_up, out_grad, grad);
}

TEST(TrainKernels, SwigluSurvivesLargeGates) {
  Values gate_up(2 * 16, 1.0f), out(16);
  for (size_t i = 0; i < 16; ++i) gate_up[i] = i % 2 ? 500.0f : -500.0f;
  swiglu(gate_up.data(), out.data(), 1, 16);
  for (size_t i = 0; i < 16; ++i) EXPECT_NEAR(out[i], i % 2 ? 500.0f : 0.0f, 1e-3);
}

TEST(TrainKernels, RotationIsUndoneByTheOtherDirection) {
  const int64_t heads = 2, dim = 32, stride = 96;
  const Values before = random_values(static_cast<size_t>(2 * stride), 9);
  Values data = before, cos(3 * 16), sin(3 * 16);
  for (size_t i = 0; i < cos.size(); ++i) {
    cos[i] = std::cos(0.1f * static_cast<float>(i));
    sin[i] = std::sin(0.1f * static_cast<float>(i));
  }
  const std::vector<int32_t> positions = {0, 2};
  rotate_heads(data.data(), positions.data(), cos.data(), sin.data(), 2, stride, heads, dim, 1.0f);
  // Row 1, head 1, pair (3, 3 + 16) turns by its angle; the last 32 columns (values) stay.
  const float *from = before.data() + stride + dim, *to = data.data() + stride + dim, angle = 0.1f * (2 * 16 + 3);
  EXPECT_NEAR(to[3], from[3] * std::cos(angle) - from[19] * std::sin(angle), 1e-5);
  EXPECT_NEAR(to[19], from[19] * std::cos(angle) + from[3] * std::sin(angle), 1e-5);
  EXPECT_EQ(data[static_cast<size_t>(stride - 1)], before[static_cast<size_t>(stride - 1)]);
  rotate_heads(data.data(), positions.data(), cos.data(), sin.data(), 2, stride, heads, dim, -1.0f);
  for (size_t i = 0; i < data.size(); ++i) EXPECT_NEAR(data[i], before[i], 1e-5);
}

TEST(TrainKernels, CrossEntropyAndItsGradient) {
  const Values logits = random_values(3 * 32, 10, 3), weights = {1.0f, 0.25f, 1.0f};
  const std::vector<int32_t> targets = {5, 31, -1};
  const auto loss_of = [&](const std::vector<double>& at) {
    double loss = 0;
    for (size_t row = 0; row < 2; ++row) {
      double sum = 0;
      for (size_t i = 0; i < 32; ++i) sum += std::exp(at[row * 32 + i]);
      loss += weights[row] * (std::log(sum) - at[row * 32 + static_cast<size_t>(targets[row])]);
    }
    return std::vector<double>{loss};
  };
  Values kept = logits;
  const double loss = cross_entropy(kept.data(), targets.data(), weights.data(), 3, 32, 0);
  EXPECT_EQ(kept, logits);
  EXPECT_NEAR(loss, loss_of({logits.begin(), logits.end()})[0], 1e-4);
  Values grad = logits;
  EXPECT_DOUBLE_EQ(cross_entropy(grad.data(), targets.data(), weights.data(), 3, 32, 1.0f), loss);
  expect_gradient(loss_of, logits, {1.0f}, grad);
  for (size_t i = 64; i < 96; ++i) EXPECT_EQ(grad[i], 0.0f);
}

TEST(TrainKernels, CastRoundsToNearestEven) {
  const Values values = {1.0f, 1.00390625f, 1.01171875f, -3.14159f, 0.0f, 1e-30f, 65504.0f, 1.0f / 3,
                         1.0f, 1.0f,        1.0f,        1.0f,      1.0f, 1.0f,   1.0f,     1.0f};
  std::vector<uint16_t> out(16);
  cast_values(values.data(), out.data(), 16);
  EXPECT_EQ(from_bf16(out[1]), 1.0f);       // halfway between 1 and 1.0078125: to even
  EXPECT_EQ(from_bf16(out[2]), 1.015625f);  // halfway: to even again
  EXPECT_NEAR(from_bf16(out[3]), -3.140625f, 1e-6);
}

TEST(TrainKernels, AdamStepFollowsTheFormula) {
  const size_t n = 21;  // a full vector and a tail
  Values value = random_values(n, 11), first = random_values(n, 12, 0.1), second(n, 0.04f);
  const Values value0 = value, first0 = first, gradient = random_values(n, 13);
  const AdamStep step{0.01f, 0.9f, 0.95f, 1e-8f, 0.1f, 2.0f, 3.0f, 0.5f};
  adam_step(value.data(), first.data(), second.data(), gradient.data(), static_cast<int64_t>(n), step);
  for (size_t i = 0; i < n; ++i) {
    const double g = 0.5 * gradient[i], m = 0.9 * first0[i] + 0.1 * g, v = 0.95 * 0.04 + 0.05 * g * g;
    EXPECT_NEAR(first[i], m, 1e-6);
    EXPECT_NEAR(second[i], v, 1e-6);
    EXPECT_NEAR(value[i], value0[i] * (1 - 0.01 * 0.1) - 0.01 * (2 * m) / (std::sqrt(3 * v) + 1e-8), 1e-5);
  }
}

TEST(TrainKernels, SumOfSquaresIsExactEnough) {
  const Values values = random_values(100003, 14);
  double expected = 0;
  for (const float value : values) expected += static_cast<double>(value) * value;
  EXPECT_NEAR(sum_of_squares(values.data(), static_cast<int64_t>(values.size())) / expected, 1, 1e-6);
}

}  // namespace
}  // namespace ockham
