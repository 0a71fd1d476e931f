#include "ockham/bench/spread.h"

#include <algorithm>
#include <cmath>

#include "ockham/core/error.h"

namespace ockham {

Spread spread_of(std::vector<double> values) {
  if (values.empty()) return {};
  OCKHAM_CHECK(std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); }));
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {median, values.front(), values.back(), static_cast<int64_t>(values.size())};
}

Spread spread_of_ratios(const std::vector<double>& a, const std::vector<double>& b) {
  OCKHAM_CHECK(a.size() == b.size());
  std::vector<double> ratios;
  for (size_t i = 0; i < a.size(); ++i) ratios.push_back(a[i] / b[i]);
  return spread_of(std::move(ratios));
}

}  // namespace ockham
