// The table of searchers.
#include <fmt/ranges.h>

#include "ockham/core/error.h"
#include "ockham/core/params.h"
#include "ockham/search/searcher.h"

namespace ockham {

const std::vector<SearcherEntry>& searchers() {
  static const std::vector<SearcherEntry> kTable = {
      {"dp", "Least sum of errors under one budget, exactly", "Hubara et al. 2021; Markov et al. 2023, L-GreCo",
       make_dp},
      {"evopress", "Evolution on the loss of the whole model", "Sieberling et al. 2025, EvoPress", make_evopress},
      {"greedy", "Step by step, always the one that costs least error for what it frees", "", make_greedy},
      {"milp", "Least sum of errors under several budgets, exactly (HiGHS)", "Huangfu & Hall 2018, HiGHS", make_milp},
      {"lp", "The same with fractions of levels, rounded (HiGHS)", "Huangfu & Hall 2018, HiGHS", make_lp},
      {"random", "The best of a number of random choices: what others must beat", "", make_random},
      {"uniform", "The same level everywhere", "", make_uniform}};
  return kTable;
}

void use_paper_settings(SearchSettings& settings, bool has_bits) {
  settings.generations = has_bits ? 150 : 400;
  settings.offspring = has_bits ? 128 : 64;
  settings.stages = has_bits ? std::vector<SearchStage>{{2048, 16}, {16384, 4}, {131072, 1}}
                             : std::vector<SearchStage>{{2048, 8}, {16384, 2}, {65536, 1}};
}

const SearcherEntry& find_searcher(const std::string& name) {
  std::vector<std::string> names;
  for (const SearcherEntry& entry : searchers()) {
    if (name == entry.name) return entry;
    names.emplace_back(entry.name);
  }
  const std::string near = closest_name(name, names);
  throw_error(ErrorKind::kUsage, "--searcher: found '{}', expected one of {}{}", name, fmt::join(names, ", "),
              near.empty() ? "" : "; did you mean '" + near + "'?");
}

}  // namespace ockham
