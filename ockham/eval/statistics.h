// Statistics that stand behind every difference in a report: paired, with intervals, corrected for many comparisons.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace ockham {

struct Interval {
  double low = 0, high = 0;
};
struct Difference {
  double value = 0;  // compressed minus dense, points
  Interval
      interval;  // 95 %, paired bootstrap over items: percentiles, widened a little for few items (Hesterberg 2015)
  double p_value = 1;          // two-sided, from the bootstrap distribution of the difference (add-one rule)
  double smallest_effect = 0;  // minimum detectable effect at 80 % power, 5 % level, points: 2.8 * standard error
  int64_t n = 0;
  Interval interval90;    // of the two one-sided tests, for equivalence()
  double mcnemar_p = -1;  // exact McNemar over items that are right or wrong; -1: does not apply
};
// A statistic of the items picked by index (with repetition).
using Statistic = std::function<double(const std::vector<int32_t>& picked)>;

// Resamples behind the intervals of results files.
constexpr int64_t kIntervalResamples = 1000;
Interval bootstrap_interval(const Statistic& statistic, int64_t n, int64_t resamples, uint64_t seed);
// Both statistics get the same picks, so the pairing of items is kept.
Difference paired_difference(const Statistic& dense, const Statistic& compressed, int64_t n, int64_t resamples,
                             uint64_t seed);
// Exact two-sided McNemar test on discordant counts.
double mcnemar_exact(int64_t only_first, int64_t only_second);
// Holm's step-down adjustment; the order of the result is that of the input.
std::vector<double> holm(const std::vector<double>& p_values);
// "keeps": the 90 % interval (two one-sided tests at 5 %) lies inside (-margin, +margin).
enum class Verdict { kKeeps, kLoses, kGains, kCannotTell };
Verdict equivalence(const Difference& difference, const Interval& interval90, double margin, double adjusted_p);
std::string verdict_text(Verdict verdict);
// Tail probabilities: two-sided of Student's t, upper of chi-square. Positive degrees of freedom, chi_square >= 0.
double student_tail(double t, double degrees);
double chi_square_tail(double chi_square, double degrees);
double mean(const std::vector<double>& values);
double standard_deviation(const std::vector<double>& values);  // n - 1; 0 for fewer than two

}  // namespace ockham
