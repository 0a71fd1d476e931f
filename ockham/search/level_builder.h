// Computes the units of a level database; private to ockham/search.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ockham/model/checkpoint.h"
#include "ockham/search/levels.h"

namespace ockham {

struct LevelBuild {
  const Checkpoint& checkpoint;
  const std::vector<LevelUnit>& units;
  const LevelSet& levels;
  const Tensor& ids;  // int64 [samples, tokens]
  const std::string& directory;
  const std::map<std::string, std::string>& done;  // units that are there, by name
  int64_t share = 0, shares = 1;
};
// One pass of the dense model over the calibration sequences; writes a file and a line of the journal for each unit.
void build_levels(const LevelBuild& build);
// Names of a weight's tensors in a unit's file begin so.
std::string level_prefix(size_t level, size_t place);
// Journals of all processes that wrote some: JOURNAL, JOURNAL-1 and so on.
std::string journal_path(const std::string& directory, int64_t share);

}  // namespace ockham
