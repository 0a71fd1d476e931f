// Scores that are read off a pass, for score_paths.cc and score_evicted_paths.cc.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ockham/runtime/score_paths.h"

namespace ockham {

// A score that is read off the logits behind token `row` of a path.
struct WantedScore {
  int64_t row;
  int32_t target;
  TokenScore* score;
  std::vector<LikelyToken>* likely;  // null where nobody asks
  size_t likely_count;
};
// Those of the pass's token `row`.
struct WantedRow {
  int64_t row;
  std::span<const WantedScore> wants;
};
// Of the engine's last pass.
void read_scores(Engine& engine, std::span<const WantedRow> rows);

// score_paths() under the engine's policy, which evicts; `scores`: a list for each path.
void score_evicted_paths(Engine& engine, std::span<const ScoredPath> paths,
                         std::vector<std::vector<TokenScore>>& scores);

}  // namespace ockham
