// `ockham search`: levels, budgets and limits in; a compressed model, its recipe and a report out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ockham/search/budget.h"
#include "ockham/search/engine_memory.h"
#include "ockham/search/levels.h"
#include "ockham/search/limits.h"
#include "ockham/search/searcher.h"

namespace ockham {

// Where the errors of levels come from that additive searchers add up.
enum class LevelErrors { kLoss, kLayer };

struct SearchRequest {
  std::string model, out;
  std::string database;  // "": OUT.levels
  std::vector<std::string> budgets;
  LevelRequest levels;
  UnitKind units = UnitKind::kLinear;
  std::vector<std::string> ignore;
  std::string searcher = "evopress";
  SearchSettings settings;
  FitnessKind fitness = FitnessKind::kKl;
  LevelErrors errors = LevelErrors::kLoss;
  CalibrationSpec calibration;      // of the levels
  int64_t tokens = 16384;           // for the search, drawn from the same text
  int64_t sequence = 256;           // their length
  int64_t held_out_tokens = 16384;  // for the numbers of the report
  MemoryLoad load;                  // of --budget memory
  LimitRequest limits;
  double spend = 0;       // share of the first budget that limits may add to it
  bool has_front = true;  // other sizes by the errors of layers, for the report
  double owl_lambda = 0.08;
  bool overwrite = false, restart = false;
  TextSource text_source;
};

// One of the allocations that are compared, on the held-out tokens.
struct ComparedAssignment {
  std::string name;  // "evopress", "uniform", "owl"
  Assignment assignment;
  AssignmentFacts facts;
  CandidateValue value;
  std::vector<FloorResult> floors;  // of the limits, on the search's items; empty without limits
};

// NOLINTNEXTLINE(bugprone-exception-escape): Json's move asserts its invariants.
struct SearchOutcome {
  Json report;  // search.json
  std::vector<ComparedAssignment> compared, front;
  bool is_met = true;  // the limits
};

// Goes on where an interrupted call with the same request stopped (OUT.search). The directory OUT appears whole or not
// at all; in it are the model, recipe.yaml, search.json and search.html.
SearchOutcome run_search(const SearchRequest& request);

}  // namespace ockham
