// Searchers behind one interface: a problem and an objective in, an assignment out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ockham/io/json.h"
#include "ockham/search/problem.h"

namespace ockham {

// What an assignment is worth; less is better.
class Objective {
 public:
  virtual ~Objective() = default;
  // Tokens that it can be measured on.
  virtual int64_t tokens() const = 0;
  // Of each candidate, on the same batch of about `tokens` tokens; `draw` chooses the batch where there are more. The
  // same call gives the same values.
  virtual std::vector<double> evaluate(std::span<const Assignment> candidates, int64_t tokens, uint64_t draw) = 0;
  // The candidate that the next ones differ least from: what it leaves may be kept.
  virtual void set_parent(const Assignment&) {}
  // Tokens forwarded so far, counted for whole candidates.
  virtual int64_t spent() const { return 0; }
};

// Evolution: a stage evaluates all that are left on `tokens` tokens and keeps `survivors` of them.
struct SearchStage {
  int64_t tokens = 0;
  int64_t survivors = 1;
};
struct SearchSettings {
  uint64_t seed = 0;
  // A quarter of what Sieberling et al. 2025 take for pruning 7B models (paper_settings()).
  int64_t generations = 120;
  int64_t offspring = 32;
  std::vector<SearchStage> stages = {{2048, 4}, {16384, 1}};  // tokens beyond Objective::tokens() mean all of them
  int64_t restarts = 1;                                       // searches from different beginnings; the best counts
  int64_t patience = 0;   // ends a search after so many generations without progress; 0: never
  int64_t siblings = 8;   // offspring that share all but the last of their changes, so that activations can be shared
  int64_t samples = 256;  // of the searcher "random"
};

// The paper's: 400 generations of 64 for sparsities, 150 of 128 for bits.
void use_paper_settings(SearchSettings& settings, bool has_bits);

struct SearchPoint {
  int64_t generation = 0, tokens = 0;  // forwarded until then
  double fitness = 0;                  // of the best so far
};
struct SearchResult {
  Assignment best;
  double fitness = 0;  // by the objective on all its tokens; of additive searchers the sum of errors
  std::vector<SearchPoint> history;
  int64_t evaluations = 0;          // of candidates
  std::vector<double> multipliers;  // by budget: what one more unit of it would take off the objective; may be empty
};

// State of an interrupted search in and out: given the last one stored (null at the start), called after each
// generation with what to store.
// NOLINTNEXTLINE(bugprone-exception-escape): Json's move asserts its invariants.
struct SearchMemory {
  Json stored;
  std::function<void(const Json&)> store;
};

class Searcher {
 public:
  virtual ~Searcher() = default;
  // True where only the levels' errors count, which must be measured beforehand.
  virtual bool is_additive() const { return false; }
  // Error(kInput) where no assignment fits; Error(kUnsupported) where the searcher cannot handle the problem.
  virtual SearchResult search(const SearchProblem& problem, Objective& objective, const SearchSettings& settings,
                              const SearchMemory& memory) const = 0;
};

struct SearcherEntry {
  const char *name, *summary, *paper;
  std::unique_ptr<Searcher> (*make)();
};
// In alphabetical order. `owl` needs more than a problem and is made by search.cc.
const std::vector<SearcherEntry>& searchers();
// Error(kUsage) with a suggestion.
const SearcherEntry& find_searcher(const std::string& name);

std::unique_ptr<Searcher> make_evopress();
std::unique_ptr<Searcher> make_dp();
std::unique_ptr<Searcher> make_milp();
std::unique_ptr<Searcher> make_lp();
std::unique_ptr<Searcher> make_greedy();
std::unique_ptr<Searcher> make_uniform();
std::unique_ptr<Searcher> make_random();

}  // namespace ockham
