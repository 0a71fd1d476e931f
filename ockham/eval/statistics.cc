// Bootstrap, McNemar, Holm and equivalence. Every resample has its own generator, so results do not depend on threads.
#include "ockham/eval/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/core/rng.h"

namespace ockham {
namespace {

constexpr double kZ95 = 1.959963984540054, kZ90 = 1.6448536269514722;

double upper_tail(double z) {
  return 0.5 * std::erfc(z / std::sqrt(2.0));
}

// Inverse of upper_tail for 0 < p <= 0.5, by bisection.
double z_of_tail(double p) {
  double low = 0, high = 40;
  for (int i = 0; i < 80; ++i) {
    const double middle = 0.5 * (low + high);
    (upper_tail(middle) > p ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

// How much wider a t interval with the n-1 variance is than what percentiles of a resampled mean give (Hesterberg 2015,
// "What teachers should know about the bootstrap", section 5.3), t by its expansion around z.
double widening(double z, int64_t n) {
  if (n < 3) return 1;
  const double size = static_cast<double>(n);
  return std::sqrt(size / (size - 1)) * (1 + (z * z + 1) / (4 * (size - 1)));
}

// Quantile of sorted values by linear interpolation.
double quantile(const std::vector<double>& sorted, double level) {
  const double place = level * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  if (below + 1 >= sorted.size()) return sorted.back();
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[below + 1] - sorted[below]);
}

Interval percentile_interval(const std::vector<double>& sorted, double z, int64_t n) {
  const double tail = upper_tail(z * widening(z, n));
  return {quantile(sorted, tail), quantile(sorted, 1 - tail)};
}

// body(resample, picks); picks of a resample depend on (seed, resample) only.
template <typename Body>
void for_each_resample(int64_t n, int64_t resamples, uint64_t seed, Body body) {
  OCKHAM_CHECK(n > 0 && n < (int64_t{1} << 31) && resamples > 0);
  parallel_for(resamples, 64, [&](int64_t begin, int64_t end) {
    std::vector<int32_t> picks(static_cast<size_t>(n));
    for (int64_t resample = begin; resample < end; ++resample) {
      Rng rng(mix_seed(seed, static_cast<uint64_t>(resample)));
      // Two picks per draw; the bias of the multiplication is below n / 2^32.
      for (size_t i = 0; i < picks.size(); i += 2) {
        const uint64_t bits = rng.next();
        picks[i] = static_cast<int32_t>(((bits & 0xFFFFFFFFu) * static_cast<uint64_t>(n)) >> 32);
        if (i + 1 < picks.size()) picks[i + 1] = static_cast<int32_t>(((bits >> 32) * static_cast<uint64_t>(n)) >> 32);
      }
      body(resample, picks);
    }
  });
}

// Regularised incomplete beta function (Abramowitz and Stegun 26.5.8, evaluated from its tail).
double incomplete_beta(double a, double b, double x) {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incomplete_beta(b, a, 1 - x);
  const double front =
      std::exp(a * std::log(x) + b * std::log1p(-x) + std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b)) / a;
  double tail = 1;
  for (int k = 400; k >= 1; --k) {
    const int m = k / 2;
    const double place = a + 2.0 * m;
    const double factor =
        k % 2 == 0 ? m * (b - m) * x / ((place - 1) * place) : -(a + m) * (a + b + m) * x / (place * (place + 1));
    tail = 1 + factor / tail;
  }
  return front / tail;
}

// Regularised upper incomplete gamma function: the series below a + 1 (6.5.29), the continued fraction above (6.5.31).
double incomplete_gamma_upper(double a, double x) {
  if (x <= 0) return 1;
  const double front = std::exp(a * std::log(x) - x - std::lgamma(a));
  if (x < a + 1) {
    double term = 1 / a, sum = term;
    for (int k = 1; k < 1000 && term > 1e-17 * sum; ++k) sum += term *= x / (a + k);
    return 1 - front * sum;
  }
  double tail = 1;
  for (int k = 400; k >= 1; --k) tail = x + (k - a) / (1 + k / tail);
  return front / tail;
}

}  // namespace

double student_tail(double t, double degrees) {
  return incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t));
}

double chi_square_tail(double chi_square, double degrees) {
  return incomplete_gamma_upper(degrees / 2, chi_square / 2);
}

Interval bootstrap_interval(const Statistic& statistic, int64_t n, int64_t resamples, uint64_t seed) {
  std::vector<double> values(static_cast<size_t>(resamples));
  for_each_resample(n, resamples, seed, [&](int64_t resample, const std::vector<int32_t>& picks) {
    values[static_cast<size_t>(resample)] = statistic(picks);
  });
  std::sort(values.begin(), values.end());
  return percentile_interval(values, kZ95, n);
}

Difference paired_difference(const Statistic& dense, const Statistic& compressed, int64_t n, int64_t resamples,
                             uint64_t seed) {
  std::vector<int32_t> all(static_cast<size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  std::vector<double> values(static_cast<size_t>(resamples));
  for_each_resample(n, resamples, seed, [&](int64_t resample, const std::vector<int32_t>& picks) {
    values[static_cast<size_t>(resample)] = compressed(picks) - dense(picks);
  });
  Difference result;
  result.value = compressed(all) - dense(all);
  result.n = n;
  result.smallest_effect =
      2.8 * standard_deviation(values) * std::sqrt(static_cast<double>(n) / std::max(1.0, n - 1.0));
  std::sort(values.begin(), values.end());
  result.interval = percentile_interval(values, kZ95, n);
  result.interval90 = percentile_interval(values, kZ90, n);
  // Resamples on the other side of zero, zero counting for both sides; add-one so that p is never 0.
  const auto at_most = std::upper_bound(values.begin(), values.end(), 0.0) - values.begin();
  const auto at_least = values.end() - std::lower_bound(values.begin(), values.end(), 0.0);
  const double tail =
      (1.0 + static_cast<double>(std::min<int64_t>(at_most, at_least))) / (1.0 + static_cast<double>(resamples));
  result.p_value = 1;
  if (tail < 0.5) {
    const double z = z_of_tail(tail);
    result.p_value = std::min(1.0, 2 * upper_tail(z / widening(z, n)));
  }
  return result;
}

double mcnemar_exact(int64_t only_first, int64_t only_second) {
  const int64_t n = only_first + only_second, fewer = std::min(only_first, only_second);
  if (n == 0) return 1;
  double sum = 0;
  for (int64_t k = 0; k <= fewer; ++k)
    sum += std::exp(std::lgamma(n + 1.0) - std::lgamma(k + 1.0) - std::lgamma(static_cast<double>(n - k) + 1.0) -
                    static_cast<double>(n) * std::log(2.0));
  return std::min(1.0, 2 * sum);
}

std::vector<double> holm(const std::vector<double>& p_values) {
  std::vector<size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p_values[a] < p_values[b]; });
  std::vector<double> adjusted(p_values.size());
  double running = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    running = std::max(running, static_cast<double>(order.size() - rank) * p_values[order[rank]]);
    adjusted[order[rank]] = std::min(1.0, running);
  }
  return adjusted;
}

Verdict equivalence(const Difference& difference, const Interval& interval90, double margin, double adjusted_p) {
  if (interval90.low > -margin && interval90.high < margin) return Verdict::kKeeps;
  if (adjusted_p < 0.05 && difference.value < 0) return Verdict::kLoses;
  if (adjusted_p < 0.05 && difference.value > 0) return Verdict::kGains;
  return Verdict::kCannotTell;
}

std::string verdict_text(Verdict verdict) {
  switch (verdict) {
    case Verdict::kKeeps:
      return "keeps";
    case Verdict::kLoses:
      return "loses";
    case Verdict::kGains:
      return "gains";
    case Verdict::kCannotTell:
      return "cannot tell";
  }
  return "";
}

double mean(const std::vector<double>& values) {
  return values.empty() ? 0 : std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double standard_deviation(const std::vector<double>& values) {
  if (values.size() < 2) return 0;
  const double centre = mean(values);
  double sum = 0;
  for (const double value : values) sum += (value - centre) * (value - centre);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

}  // namespace ockham
