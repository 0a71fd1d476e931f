// What a result may take: --budget, and what each level costs of it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/search/candidate.h"
#include "ockham/search/level_database.h"
#include "ockham/search/problem.h"

namespace ockham {

enum class BudgetKind { kSparsity, kBits, kStoredBits, kBytes, kTime, kMemory };

struct Budget {
  BudgetKind kind = BudgetKind::kBytes;
  double value = 0;  // sparsity and bits as given, bytes, seconds per token
  std::string text;  // as given
};
// "sparsity=0.6", "sparsity=60%", "bits=3.0", "stored-bits=3.2", "bytes=1.2MB", "ms=0.4", "memory=50MB". Error(kUsage)
// names what was found and what is expected.
Budget parse_budget(const std::string& text);
// "1500000", "1.5MB", "900kB" (powers of ten), "1.5MiB" (powers of two). Error(kUsage) names `option`.
double parse_size(const std::string& option, const std::string& text);

// Seconds that one product of a unit's linears with one token takes, by unit and level; empty where no budget asks.
using LatencyTable = std::vector<std::vector<double>>;
// Bytes that the engine takes for a unit (engine_memory.h), likewise.
using MemoryTable = std::vector<std::vector<int64_t>>;
struct MeasuredCosts {
  LatencyTable latency;
  MemoryTable memory;
};

// What is not in any unit counts too: linears that are ignored stay dense, and bytes are those of the whole model.
struct FixedCosts {
  int64_t weights = 0;          // of the blocks' linears, all of them
  int64_t ignored_weights = 0;  // of those in no unit
  int64_t weight_bits = 16;     // stored, of a dense weight
  int64_t other_bytes = 0;      // of tensors that are no unit's
  double other_seconds = 0;     // per token, of everything that is no unit's
  int64_t other_memory = 0;     // of the engine, likewise, other_bytes included; measured
};
FixedCosts fixed_costs(const Checkpoint& checkpoint, const std::vector<LevelUnit>& units);

struct BuiltProblem {
  SearchProblem problem;
  LevelOrder order;  // rank -> level of the database
};
// Error(kInput) where no choice of levels keeps a budget.
BuiltProblem build_problem(const LevelDatabase& database, const std::vector<Budget>& budgets, const FixedCosts& fixed,
                           const MeasuredCosts& measured);

// What an assignment comes to.
struct AssignmentFacts {
  int64_t bytes = 0;                               // of the whole model
  double sparsity = 0, bits = 0, stored_bits = 0;  // over the blocks' linears
  double seconds = 0;                              // per token; 0: not measured
  int64_t memory = 0;                              // of the engine; 0: not measured
};
AssignmentFacts facts_of(const LevelDatabase& database, const BuiltProblem& built, const FixedCosts& fixed,
                         const MeasuredCosts& measured, const Assignment& assignment);

}  // namespace ockham
