#include "ockham/search/constrain.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"

namespace ockham {
namespace {

Json floors_json(const std::vector<FloorResult>& floors) {
  Json json = Json::array();
  for (const FloorResult& floor : floors)
    json.push_back(
        {floor.name, floor.limit, floor.points, floor.change, floor.low, floor.high, floor.items, floor.holds});
  return json;
}

std::vector<FloorResult> read_floors(const Json& json) {
  std::vector<FloorResult> floors;
  for (const Json& floor : json)
    floors.push_back(
        {floor.at(0), floor.at(1), floor.at(2), floor.at(3), floor.at(4), floor.at(5), floor.at(6), floor.at(7)});
  return floors;
}

Json to_json(const Attempt& attempt) {
  return {{"assignment", attempt.assignment},
          {"weight", attempt.weight},
          {"extra", attempt.extra},
          {"bytes", attempt.bytes},
          {"floors", floors_json(attempt.floors)}};
}

Attempt from_json(const Json& json) {
  return {json.at("assignment").get<Assignment>(), json.at("weight"), json.at("extra"), json.at("bytes"),
          read_floors(json.at("floors"))};
}

double missing(const Attempt& attempt) {
  double sum = 0;
  for (const FloorResult& floor : attempt.floors) sum += floor.missing();
  return sum;
}

// Weights of the penalty at the budget itself, then sizes beyond it at the last weight.
constexpr std::array kWeights = {1.0, 4.0, 16.0};
constexpr std::array kExtras = {0.05, 0.1, 0.2, 0.35, 0.6, 1.0, 2.0, 4.0};

class Path {
 public:
  Path(const ConstrainRequest& request, SearchState& state) : request_(request), state_(state) {
    if (const Json stored = state.phase("attempts"); !stored.is_null())
      for (const Json& one : stored) result_.attempts.push_back(from_json(one));
  }

  Constrained follow(const Assignment& best) {
    if (result_.attempts.empty()) take({best, 0, 0, 0, {}});
    size_t step = 0;
    for (; !is_done() && step < kWeights.size(); ++step)
      if (step + 1 >= result_.attempts.size()) search(kWeights[step], 0, result_.attempts.back().assignment);
    for (const double extra : kExtras) {
      if (is_done() || !fills()) break;
      ++step;
      if (step >= result_.attempts.size()) search(kWeights.back(), extra, result_.attempts.back().assignment);
    }
    choose();
    return std::move(result_);
  }

 private:
  bool is_done() const { return all_hold(result_.attempts.back().floors); }

  // Whether more bytes would change anything.
  bool fills() const {
    const Assignment& last = result_.attempts.back().assignment;
    for (size_t u = 0; u < last.size(); ++u)
      if (static_cast<size_t>(last[u]) + 1 < request_.problem.units[u].levels.size()) return true;
    return false;
  }

  void take(Attempt attempt) {
    attempt.bytes = request_.bytes_of(attempt.assignment);
    attempt.floors = request_.judge(attempt.assignment);
    std::string text;
    for (const FloorResult& floor : attempt.floors)
      text += fmt::format(" {} {:+.1f}{}", floor.limit, floor.change, floor.holds ? "" : " (violated)");
    log_info(fmt::format("limits at {} bytes, penalty {}:{}", attempt.bytes, attempt.weight, text));
    result_.attempts.push_back(std::move(attempt));
    Json all = Json::array();
    for (const Attempt& one : result_.attempts) all.push_back(to_json(one));
    state_.store("attempts", all);
  }

  void search(double weight, double extra, const Assignment& from) {
    std::vector<bool> wanted;
    for (const FloorResult& floor : result_.attempts.back().floors) wanted.push_back(!floor.holds);
    const std::unique_ptr<Objective> tasks = request_.make_tasks(wanted);
    PenalizedObjective objective(request_.text, *tasks, weight);
    SearchProblem problem = request_.problem;
    SearchBudget& budget = problem.budgets[0];
    budget.limit += static_cast<int64_t>(std::floor(extra * static_cast<double>(budget.limit)));
    problem.start = from;
    Rng rng(mix_seed(request_.settings.seed, hash_seed(fmt::format("{} {}", weight, extra))));
    problem.fill(problem.start, rng);
    SearchSettings settings = request_.settings;
    settings.restarts = 1;
    settings.generations = std::max<int64_t>(1, settings.generations / 4);
    const std::string phase = fmt::format("constrained {} {}", weight, extra);
    SearchMemory memory{state_.phase(phase), [&](const Json& value) { state_.store(phase, value); }};
    take({make_evopress()->search(problem, objective, settings, memory).best, weight, extra, 0, {}});
  }

  void choose() {
    const std::vector<Attempt>& all = result_.attempts;
    result_.feasible = static_cast<size_t>(
        std::find_if(all.begin(), all.end(), [](const Attempt& one) { return all_hold(one.floors); }) - all.begin());
    result_.is_met = result_.feasible < all.size() && all[result_.feasible].extra <= request_.spend + 1e-12;
    if (result_.is_met) {
      result_.chosen = result_.feasible;
      return;
    }
    double least = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < all.size(); ++i) {
      if (all[i].extra > request_.spend + 1e-12 || missing(all[i]) >= least) continue;
      least = missing(all[i]);
      result_.chosen = i;
    }
  }

  const ConstrainRequest& request_;
  SearchState& state_;
  Constrained result_;
};

// The first attempt at which all floors hold, one of them left out; attempts.size(): none.
size_t first_without(const Constrained& constrained, size_t left_out) {
  for (size_t i = 0; i < constrained.attempts.size(); ++i) {
    const std::vector<FloorResult>& floors = constrained.attempts[i].floors;
    bool holds = true;
    for (size_t f = 0; f < floors.size(); ++f) holds = holds && (f == left_out || floors[f].holds);
    if (holds) return i;
  }
  return constrained.attempts.size();
}

}  // namespace

std::vector<double> PenalizedObjective::evaluate(std::span<const Assignment> candidates, int64_t tokens,
                                                 uint64_t draw) {
  std::vector<double> values = text_.evaluate(candidates, tokens, draw);
  const std::vector<double> penalties = tasks_.evaluate(candidates, tokens / 2, draw);
  for (size_t i = 0; i < values.size(); ++i) values[i] += weight_ * penalties[i];
  return values;
}

void PenalizedObjective::set_parent(const Assignment& parent) {
  text_.set_parent(parent);
  tasks_.set_parent(parent);
}

std::string text_of_floors(const std::vector<FloorResult>& floors) {
  return floors_json(floors).dump();
}

std::vector<FloorResult> floors_from_text(const std::string& text) {
  return read_floors(parse_json(text, "the first rank's limits"));
}

Constrained constrain(const ConstrainRequest& request, const Assignment& best, SearchState& state) {
  return Path(request, state).follow(best);
}

double price_of(const Constrained& constrained, size_t floor) {
  const size_t without = first_without(constrained, floor);
  if (constrained.feasible >= constrained.attempts.size() || without >= constrained.attempts.size())
    return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(constrained.attempts[constrained.feasible].bytes - constrained.attempts[without].bytes);
}

bool binds(const Constrained& constrained, size_t floor) {
  const size_t without = first_without(constrained, floor);
  return without < constrained.attempts.size() && without < constrained.feasible;
}

}  // namespace ockham
