// The comparison as Markdown, CSV (one line per configuration and dimension) and JSON.
#pragma once

#include <string>

#include "ockham/report/summary.h"

namespace ockham {

std::string markdown_report(const Comparison& comparison);
std::string csv_report(const Comparison& comparison);
Json json_report(const Comparison& comparison);

}  // namespace ockham
