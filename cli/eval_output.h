// What `ockham eval` shows and writes about finished measurements.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ockham/eval/fidelity.h"
#include "ockham/eval/paired.h"

namespace ockham {

struct TaskComparison {
  Difference difference;
  double adjusted_p = 1;
  Verdict verdict = Verdict::kCannotTell;
  bool is_interpretable = true;  // false: the baseline itself is at chance, and nothing can be said

  std::string verdict_shown() const { return is_interpretable ? verdict_text(verdict) : "not interpretable"; }
};

// What changed between the two models besides the score.
struct TaskChanges {
  std::optional<Flips> flips;
  std::optional<Fidelity> fidelity;
};

// A task that a server could not be asked.
struct SkippedTask {
  std::string task, reason;
};

// Lists are parallel to `tasks`; empty without a baseline.
struct EvalOutcome {
  std::vector<Task> tasks;
  std::vector<TaskResult> results, baseline;
  std::vector<TaskComparison> compared;
  std::vector<TaskChanges> changes;
  std::vector<SkippedTask> skipped;  // taken out of `tasks`
  int64_t noise_copies = 0;
  std::vector<std::map<std::string, double>> floors;  // of the dense model, by metric; empty without copies
};

// Fills `compared` from results and baseline; several tasks are corrected together. `margin` in points, of a perplexity
// in percent.
void compare_with_baseline(EvalOutcome& outcome, double margin);
// One entry per task for the results file.
Json tasks_json(const EvalOutcome& outcome, bool with_items);
Json skipped_json(const EvalOutcome& outcome);
// Items that servers did not answer, of both models.
int64_t missing_items(const EvalOutcome& outcome);
void print_outcome(const EvalOutcome& outcome);

}  // namespace ockham
