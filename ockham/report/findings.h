// The published picture of compression and trust, held against the measured rows. Nothing is claimed for other models:
// each line says whether it shows here, with the numbers.
#pragma once

#include <string>
#include <vector>

#include "ockham/report/summary.h"

namespace ockham {

enum class Outcome { kShows, kPartly, kDoesNotShow, kCannotTell };

struct Finding {
  std::string claim;  // as published
  std::string source;
  Outcome outcome = Outcome::kCannotTell;
  std::string evidence;  // from this study
};

// Only findings for which the study holds the configurations.
std::vector<Finding> published_picture(const Comparison& comparison);
std::string outcome_text(Outcome outcome);

}  // namespace ockham
