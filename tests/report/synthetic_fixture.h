// A made-up study for tests of the report: every item's answer follows from a table of shares, so that the right
// numbers are known beforehand. No model is behind it.
#pragma once

#include <map>
#include <string>

#include "ockham/report/summary.h"

namespace ockham {

struct SyntheticOptions {
  int64_t items = 200;
  bool with_rival = true;
  std::string marker = "mini";  // name of the first model, for escaping tests
};
StudyResults synthetic_results(const SyntheticOptions& options = {});
// Statistic of tests: 100 times the mean of the items' scores.
SummaryOptions synthetic_options();

}  // namespace ockham
