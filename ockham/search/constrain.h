// From the best choice within the budgets to one that keeps the limits too: first at the same size, with a penalty that
// grows, then with more bytes. What every limit costs comes out on the way.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ockham/search/budget.h"
#include "ockham/search/limits.h"
#include "ockham/search/search_state.h"

namespace ockham {

// fitness = text + weight * tasks: divergence on the calibration text, and on the prompts and answers that the limits
// are about. The second stands for the floors themselves, which cannot be measured for every candidate.
class PenalizedObjective final : public Objective {
 public:
  PenalizedObjective(Objective& text, Objective& tasks, double weight) : text_(text), tasks_(tasks), weight_(weight) {}
  int64_t tokens() const override { return text_.tokens(); }
  std::vector<double> evaluate(std::span<const Assignment> candidates, int64_t tokens, uint64_t draw) override;
  void set_parent(const Assignment& parent) override;
  int64_t spent() const override { return text_.spent() + tasks_.spent(); }

 private:
  Objective &text_, &tasks_;
  double weight_;
};

// A choice on the way, with what the items of the search say of it.
struct Attempt {
  Assignment assignment;
  double weight = 0;  // of the penalty
  double extra = 0;   // share of the first budget that it may take beyond the budget
  int64_t bytes = 0;
  std::vector<FloorResult> floors;
};

struct ConstrainRequest {
  const SearchProblem& problem;
  Objective& text;
  // Divergence on what the floors that are `wanted` are about.
  std::function<std::unique_ptr<Objective>(const std::vector<bool>& wanted)> make_tasks;
  std::function<std::vector<FloorResult>(const Assignment&)> judge;  // on the items of the search
  std::function<int64_t(const Assignment&)> bytes_of;
  SearchSettings settings;
  double spend = 0;  // share of the first budget that may be spent beyond it
};

struct Constrained {
  std::vector<Attempt> attempts;  // in the order of the path; the first is the unconstrained choice
  size_t chosen = 0;              // the first that keeps all floors within `spend`, or the one nearest to them
  bool is_met = false;            // on the items of the search, within `spend`
  size_t feasible = 0;            // the first that keeps all floors at any size; attempts.size(): none
};
// Goes on from what `state` holds.
Constrained constrain(const ConstrainRequest& request, const Assignment& best, SearchState& state);

// Floors as a text between ranks and in states.
std::string text_of_floors(const std::vector<FloorResult>& floors);
std::vector<FloorResult> floors_from_text(const std::string& text);

// Bytes that the limit costs: those of the first attempt that keeps all floors less those of the first that keeps all
// but this one. NaN where no attempt keeps all.
double price_of(const Constrained& constrained, size_t floor);
// The limit is violated by the unconstrained choice, or by one on the way at which the others hold.
bool binds(const Constrained& constrained, size_t floor);

}  // namespace ockham
