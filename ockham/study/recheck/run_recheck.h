// Runs the versions that a claim needs on the study engine and rules on it.
#pragma once

#include <string>
#include <vector>

#include "ockham/study/recheck/claim.h"
#include "ockham/study/study.h"

namespace ockham {

struct RecheckRequest {
  std::string model, rival;  // paths; rival "" where there is none
  std::string calibration = "factworld";
  std::string refusal_text = "factworld:refusal", utility_text = "factworld:utility";  // of brittleness
  std::vector<std::string> tasks;                                                      // replace the claim's own
  int64_t draws = 0;  // replace the claim's; 0: the claim's
  RecheckSettings settings;
};

// The study behind a claim, as YAML; also left in the folder, so that it can be run and reported by itself.
std::string recheck_study(const Claim& claim, const RecheckRequest& request);
// Measures what is missing in options.directory (shared by all claims about one model). Error(kUsage) where the claim
// needs a rival and has none.
Comparison measure_claim(const Claim& claim, const RecheckRequest& request, const StudyOptions& options,
                         StudyBackend& backend);
// The same, and the ruling.
Recheck run_recheck(const Claim& claim, const RecheckRequest& request, const StudyOptions& options,
                    StudyBackend& backend);

}  // namespace ockham
