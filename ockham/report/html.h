// The report as one HTML file that needs nothing else: no network, no fonts, no libraries.
#pragma once

#include <string>

#include "ockham/report/summary.h"

namespace ockham {

std::string html_report(const StudyResults& results, const Comparison& comparison);

}  // namespace ockham
