// Drawing a token from probabilities, the same way in both engines.
#pragma once

#include <cstdint>

namespace ockham {

// The first id at which the running sum of `probabilities` [count] exceeds `uniform`, from 0 to below 1; the last
// possible id where rounding leaves the sum just below 1; -1 where none is above 0, as with NaN.
int32_t draw_index(const float* probabilities, int64_t count, double uniform);

}  // namespace ockham
