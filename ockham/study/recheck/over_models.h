// A claim over several trained models instead of over one: what holds for models of this kind, not for this model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/study/recheck/claim.h"

namespace ockham {

// The comparisons of the same versions of several models as one: every change is the random-effects mean over the
// models (eval/random_effects.h) with its interval, p-values corrected by Holm over all changes, verdicts by
// equivalence with the first comparison's margin. Scores, refusals, bytes are means, perplexities geometric means.
// A cell counts the models in which it can be interpreted, and can be so itself where those are at least half and two.
// Rows or columns that one of the models lacks are left out. `comparisons` is not empty.
Comparison pool_models(const std::vector<Comparison>& comparisons);

struct ModelRuling {
  std::string model;
  int64_t parameters = 0;
  Recheck recheck;  // of this model alone
};
struct GroupRuling {
  std::string name;  // "all", or the size: "64 thousand parameters"
  int64_t models = 0, holding = 0, failing = 0;
  double sign_p = 1;  // of as many holding and failing by chance; models that cannot tell do not count
  Recheck recheck;    // over the models
};
struct OverModels {
  std::vector<ModelRuling> models;
  std::vector<GroupRuling> groups;  // all models first, then sizes with at least two models where there are several
  const Recheck& recheck() const { return groups.front().recheck; }
};
// The claim's own rule on the pooled comparison, where its evidence pools (Claim::pools); it is taken back to "cannot
// tell" where the models' own rulings are shown to go the other way (sign test, 5 %). Elsewhere the models' rulings are
// the evidence: one is given where the sign test shows it, which takes six models that agree.
OverModels judge_over_models(const Claim& claim, const std::vector<Comparison>& comparisons,
                             const RecheckSettings& settings);

}  // namespace ockham
