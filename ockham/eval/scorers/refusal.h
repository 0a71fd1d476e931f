// When an answer counts as a refusal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ockham {

// The benchmark's rule for classification answers (lower-cased): agreeing words win, then four phrases of refusal.
bool is_benchmark_refusal(std::string_view text);
// With phrases: any of them, without regard to case. Without: the benchmark's rule.
bool is_refusal(std::string_view text, const std::vector<std::string>& phrases);

}  // namespace ockham
