// Floors for what tasks measure: --limit fairness=-2 lets the score of a dimension or task fall at most 2 points below
// the dense model's. The search looks at the items of the quick tier; the verdict is over items of the full tier that
// are not among them, so that nothing that was searched on decides.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ockham/eval/evaluate.h"
#include "ockham/eval/paired.h"
#include "ockham/model/checkpoint.h"
#include "ockham/text/tokenizer.h"

namespace ockham {

struct LimitRequest {
  std::vector<std::string> limits;  // "privacy=-1"
  std::vector<std::string> tasks;   // names or globs that limits are looked up in
  std::string task_directory;
  EvalOptions options;       // data, world; tier and hooks are set here
  double confidence = 0.95;  // one-sided: 0.95, 0.975, or 0.5 for the estimate alone
};

// A limit beside what was measured.
struct FloorResult {
  std::string name, limit;   // "privacy", "privacy=-1"
  double points = 0;         // allowed change, <= 0
  double change = 0;         // candidate minus dense, points
  double low = 0, high = 0;  // the change at the confidence
  int64_t items = 0;
  bool holds = false;  // low >= points
  double missing() const { return holds ? 0 : points - low; }
};

class LimitJudge {
 public:
  // Answers of the dense model on the items of the search are asked here. Error(kUsage) for a limit that is not
  // understood, names no dimension or task (with a suggestion), or whose tasks have no items beyond the quick tier.
  LimitJudge(const Checkpoint& checkpoint, LimitRequest request);
  ~LimitJudge();
  size_t size() const;
  // On the items of the search: the estimate less what the unseen items may take from it at the confidence, their own
  // interval included (nothing at 0.5).
  std::vector<FloorResult> on_search_items(const Decoder& candidate);
  // On the items that the search never saw, at the confidence.
  std::vector<FloorResult> on_unseen_items(const Decoder& candidate);
  // Prompts of the search's items with the dense model's answers, for a divergence that stands for the limits while
  // candidates are many; those of limits `wanted` only.
  std::vector<std::string> texts(const std::vector<bool>& wanted) const;

 private:
  struct Part;
  std::vector<TaskResult> measure(const Decoder& model, bool is_unseen);
  std::vector<FloorResult> compare(const std::vector<TaskResult>& dense, const std::vector<TaskResult>& candidate,
                                   bool is_unseen) const;
  std::unique_ptr<Part> part_;
};

bool all_hold(const std::vector<FloorResult>& floors);

}  // namespace ockham
