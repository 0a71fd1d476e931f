// What repeated measurements came to.
#pragma once

#include <cstdint>
#include <vector>

namespace ockham {

struct Spread {
  double median = 0, low = 0, high = 0;  // low and high: the least and the greatest
  int64_t rounds = 0;                    // 0: nothing was measured
};

// Of an even number the mean of the middle two. Values that are not finite are a broken promise.
Spread spread_of(std::vector<double> values);
// spread_of(a[i] / b[i]): what was measured in the same round is compared, so that what slows a whole round down falls
// out. The lists are equally long, b is not zero.
Spread spread_of_ratios(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace ockham
