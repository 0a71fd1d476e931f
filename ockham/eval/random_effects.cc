// Pooling over models.
#include "ockham/eval/random_effects.h"

#include <algorithm>
#include <cmath>

#include "ockham/core/error.h"

namespace ockham {
namespace {

constexpr double kZ95 = 1.959964, kZ90 = 1.644854;
constexpr double kLeastError = 1e-3;  // points: an error of 0 would weigh without bound

}  // namespace

double student_quantile(double tail, double degrees) {
  double low = 0, high = 1;
  while (student_tail(high, degrees) > tail && high < 1e9) high *= 2;
  for (int step = 0; step < 200; ++step) {
    const double middle = (low + high) / 2;
    (student_tail(middle, degrees) > tail ? low : high) = middle;
  }
  return (low + high) / 2;
}

double sign_test(int64_t first, int64_t second) {
  return mcnemar_exact(first, second);
}

PooledEffect random_effects(const std::vector<double>& values, const std::vector<double>& errors) {
  OCKHAM_CHECK(!values.empty() && values.size() == errors.size());
  const size_t n = values.size();
  std::vector<double> squares;
  double weights = 0, weights_squared = 0, fixed = 0;
  for (size_t i = 0; i < n; ++i) {
    squares.push_back(std::pow(std::max(kLeastError, errors[i]), 2));
    weights += 1 / squares[i];
    weights_squared += 1 / (squares[i] * squares[i]);
    fixed += values[i] / squares[i];
  }
  fixed /= weights;
  PooledEffect result;
  result.models = static_cast<int64_t>(n);
  const double fixed_error = std::sqrt(1 / weights), degrees = static_cast<double>(n) - 1;
  double t95 = kZ95, t90 = kZ90, error = fixed_error;
  result.value = fixed;
  if (n > 1) {
    double q = 0;
    for (size_t i = 0; i < n; ++i) q += std::pow(values[i] - fixed, 2) / squares[i];
    const double between = std::max(0.0, (q - degrees) / (weights - weights_squared / weights));
    double sum = 0, total = 0, spread = 0;
    for (size_t i = 0; i < n; ++i) {
      total += 1 / (squares[i] + between);
      sum += values[i] / (squares[i] + between);
    }
    result.value = sum / total;
    for (size_t i = 0; i < n; ++i) spread += std::pow(values[i] - result.value, 2) / (squares[i] + between);
    error = std::sqrt(spread / degrees / total);
    result.between = std::sqrt(between);
    result.q_p = chi_square_tail(q, degrees);
    t95 = student_quantile(0.05, degrees);
    t90 = student_quantile(0.10, degrees);
  }
  const double half95 = std::max(t95 * error, kZ95 * fixed_error), half90 = std::max(t90 * error, kZ90 * fixed_error);
  result.interval = {result.value - half95, result.value + half95};
  result.interval90 = {result.value - half90, result.value + half90};
  result.error = half95 / kZ95;
  // The larger of both tests' p-values, as the wider of both intervals.
  result.p_value = std::erfc(std::abs(result.value) / fixed_error / std::sqrt(2.0));
  if (n > 1 && error > 0) result.p_value = std::max(result.p_value, student_tail(result.value / error, degrees));
  return result;
}

}  // namespace ockham
