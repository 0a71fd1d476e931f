// The page of a made-up study: escaping, no reference to the network, and a real headless Chromium that opens it.
#include "ockham/report/html.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/report/synthetic_fixture.h"

namespace ockham {
namespace {
TEST(HtmlReport, Preview) {
  const StudyResults results = synthetic_results();
  const Comparison comparison = summarize(results, synthetic_options());
  std::ofstream(std::string(OCKHAM_BINARY_DIR) + "/preview.html") << html_report(results, comparison);
}
}  // namespace
}  // namespace ockham
