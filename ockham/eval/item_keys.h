// Keys of ItemResult::extra that scorers leave for evaluate().
#pragma once

namespace ockham {

inline constexpr const char* kMissing = "missing";  // why there is no answer, or none that a judge takes; never stored
inline constexpr const char* kUnjudged = "unjudged";  // texts that the judge refused, if any

}  // namespace ockham
