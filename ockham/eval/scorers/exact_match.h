// Filters that cut an answer out of a reply, and the comparison with known answers, as in lm-evaluation-harness.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ockham {

struct FilterStep {
  std::string function;      // regex, take_first, remove_whitespace, lowercase, uppercase
  std::string pattern;       // of regex: Python's syntax
  int64_t group_select = 0;  // which match; negative counts from the end
  std::string fallback = "[invalid]";
};
struct FilterPipeline {
  std::string name;
  std::vector<FilterStep> steps;
};
// From a JSON list of pipelines; "" gives one that leaves the reply as it is. Error(kInput) names an unknown filter.
std::vector<FilterPipeline> read_filters(const std::string& text, const std::string& where);
std::string apply_filters(const FilterPipeline& pipeline, std::string text);

struct MatchRule {
  std::vector<std::string> ignored;  // patterns
  bool ignores_case = false, ignores_punctuation = false, ignores_numbers = false;
  std::string normalize(std::string text) const;
};

}  // namespace ockham
