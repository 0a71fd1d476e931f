// evopress: evolution by level switches that keep the budget, with selection in stages.
// Paper: Sieberling et al., "EvoPress: Accurate Dynamic Model Compression via Evolutionary Search" (ICML 2025): one
// parent, offspring that each apply min(U{1..3}, U{1..3}) switches (one unit a level down, another one up), selection
// on growing numbers of tokens, the parent among the candidates of the last stage. Beyond the paper: steps of different
// size are made up for by further steps (repair and fill), offspring come in families that share all but their last
// change, and there are restarts, since elitist search stays where several switches at once would be needed.
#include <algorithm>
#include <numeric>
#include <optional>
#include <set>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/search/searcher.h"

namespace ockham {
namespace {

constexpr int kMaximumSwitches = 3;

// One switch: a unit goes down and another one up. False where that is impossible.
bool apply_switch(const SearchProblem& problem, Assignment& assignment, Rng& rng) {
  std::vector<size_t> down, up;
  for (size_t u = 0; u < assignment.size(); ++u) {
    if (assignment[u] > 0) down.push_back(u);
    if (static_cast<size_t>(assignment[u]) + 1 < problem.units[u].levels.size()) up.push_back(u);
  }
  if (down.empty() || up.empty()) return false;
  const size_t lowered = rng.pick(down), raised = rng.pick(up);
  if (lowered == raised) return false;
  --assignment[lowered];
  ++assignment[raised];
  return true;
}

std::optional<Assignment> mutate(const SearchProblem& problem, const Assignment& parent, Rng& rng) {
  Assignment child = parent;
  const uint64_t count = 1 + std::min(rng.below(kMaximumSwitches), rng.below(kMaximumSwitches));
  for (uint64_t i = 0; i < count; ++i) apply_switch(problem, child, rng);
  std::vector<bool> is_changed(child.size());
  for (size_t u = 0; u < child.size(); ++u) is_changed[u] = child[u] != parent[u];
  if (!problem.repair(child, rng, is_changed)) return std::nullopt;
  problem.fill(child, rng);
  if (child == parent) return std::nullopt;
  return child;
}

int64_t step_cost(const SearchProblem& problem, size_t unit, int from, int to) {
  const std::vector<UnitLevel>& levels = problem.units[unit].levels;
  return levels[static_cast<size_t>(to)].costs[0] - levels[static_cast<size_t>(from)].costs[0];
}

// The same child with another last change: the last unit that changed goes back, and one behind the others takes a
// change of the same cost. Drawn from a child of mutate(), it has that child's distribution given all other changes.
std::optional<Assignment> sibling(const SearchProblem& problem, const Assignment& parent, const Assignment& child,
                                  Rng& rng) {
  std::vector<size_t> changed;
  for (size_t u = 0; u < child.size(); ++u)
    if (child[u] != parent[u]) changed.push_back(u);
  if (changed.size() < 2) return std::nullopt;
  const size_t last = changed.back(), before = changed[changed.size() - 2];
  const int direction = child[last] > parent[last] ? 1 : -1;
  const int64_t cost = step_cost(problem, last, parent[last], child[last]);
  std::vector<size_t> others;
  for (size_t u = before + 1; u < child.size(); ++u) {
    const int to = parent[u] + direction;
    if (u == last || to < 0 || static_cast<size_t>(to) >= problem.units[u].levels.size()) continue;
    if (std::abs(step_cost(problem, u, parent[u], to) - cost) * 64 <= std::abs(cost)) others.push_back(u);
  }
  if (others.empty()) return std::nullopt;
  Assignment result = child;
  result[last] = parent[last];
  result[rng.pick(others)] += direction;
  if (!problem.fits(result)) return std::nullopt;
  return result;
}

std::vector<Assignment> make_offspring(const SearchProblem& problem, const Assignment& parent,
                                       const SearchSettings& settings, Rng& rng) {
  std::vector<Assignment> offspring;
  std::set<Assignment> known = {parent};
  const auto add = [&](const std::optional<Assignment>& child) {
    if (child && known.insert(*child).second) offspring.push_back(*child);
  };
  const auto wanted = static_cast<size_t>(settings.offspring);
  // A small problem may have fewer neighbours than offspring are wanted.
  for (size_t attempt = 0; attempt < 16 * wanted && offspring.size() < wanted; ++attempt) {
    const std::optional<Assignment> first = mutate(problem, parent, rng);
    if (!first) continue;
    add(first);
    for (int64_t i = 1; i < settings.siblings && offspring.size() < wanted; ++i)
      add(sibling(problem, parent, *first, rng));
  }
  return offspring;
}

std::vector<Assignment> best_of(const std::vector<Assignment>& candidates, const std::vector<double>& fitness,
                                size_t count) {
  std::vector<size_t> order(candidates.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return fitness[a] < fitness[b]; });
  std::vector<Assignment> best;
  for (size_t i = 0; i < std::min(count, order.size()); ++i) best.push_back(candidates[order[i]]);
  return best;
}

struct Evolution {
  int64_t restart = 0, generation = 0, quiet = 0, evaluations = 0;
  int64_t spent = 0;  // tokens, of earlier processes too
  Assignment parent;
  double fitness = 0;
  SearchResult best;  // over the restarts before this one

  Json to_json() const {
    Json history = Json::array();
    for (const SearchPoint& point : best.history) history.push_back({point.generation, point.tokens, point.fitness});
    return {{"restart", restart},          {"generation", generation}, {"quiet", quiet},
            {"evaluations", evaluations},  {"spent", spent},           {"parent", parent},
            {"fitness", fitness},          {"best", best.best},        {"history", history},
            {"best_fitness", best.fitness}};
  }
  static Evolution from_json(const Json& json) {
    Evolution state;
    state.restart = json.at("restart");
    state.generation = json.at("generation");
    state.quiet = json.at("quiet");
    state.evaluations = json.at("evaluations");
    state.spent = json.at("spent");
    state.parent = json.at("parent").get<Assignment>();
    state.fitness = json.at("fitness");
    state.best.best = json.at("best").get<Assignment>();
    state.best.fitness = json.at("best_fitness");
    for (const Json& point : json.at("history")) state.best.history.push_back({point.at(0), point.at(1), point.at(2)});
    return state;
  }
};

class EvoPress final : public Searcher {
 public:
  SearchResult search(const SearchProblem& problem, Objective& objective, const SearchSettings& settings,
                      const SearchMemory& memory) const override {
    OCKHAM_CHECK(!settings.stages.empty() && settings.restarts > 0);
    Evolution state;
    if (!memory.stored.is_null()) state = Evolution::from_json(memory.stored);
    const int64_t before = state.spent;
    while (state.restart < settings.restarts) {
      if (state.parent.empty()) begin(problem, objective, settings, state);
      objective.set_parent(state.parent);
      while (state.generation < settings.generations && (settings.patience == 0 || state.quiet < settings.patience)) {
        check_interrupt();
        step(problem, objective, settings, state);
        state.spent = before + objective.spent();
        note(state);
        if (memory.store) memory.store(state.to_json());
        report_progress({fmt::format("search, best {:.5g}", state.fitness),
                         state.restart * settings.generations + state.generation,
                         settings.restarts * settings.generations, "generations"});
      }
      finish(state);
      if (memory.store) memory.store(state.to_json());
    }
    SearchResult result = state.best;
    result.evaluations = state.evaluations;
    return result;
  }

 private:
  // The first restart begins at the problem's own start, the others at random points.
  static void begin(const SearchProblem& problem, Objective& objective, const SearchSettings& settings,
                    Evolution& state) {
    Rng rng(mix_seed(mix_seed(settings.seed, hash_seed("restart")), static_cast<uint64_t>(state.restart)));
    state.parent = problem.start.empty() ? uniform_assignment(problem) : problem.start;
    if (state.restart > 0) {
      const size_t moves = 2 * problem.units.size();
      for (size_t i = 0; i < moves; ++i) apply_switch(problem, state.parent, rng);
      if (!problem.repair(state.parent, rng)) state.parent = uniform_assignment(problem);
      problem.fill(state.parent, rng);
    }
    state.fitness = objective.evaluate({{state.parent}}, settings.stages.back().tokens, 0).front();
    ++state.evaluations;
    note(state);
  }

  static void step(const SearchProblem& problem, Objective& objective, const SearchSettings& settings,
                   Evolution& state) {
    const uint64_t seed = mix_seed(mix_seed(settings.seed, static_cast<uint64_t>(state.restart)),
                                   static_cast<uint64_t>(state.generation) + 1);
    Rng rng(seed);
    std::vector<Assignment> candidates = make_offspring(problem, state.parent, settings, rng);
    std::vector<double> fitness;
    for (size_t k = 0; k < settings.stages.size() && !candidates.empty(); ++k) {
      const bool is_last = k + 1 == settings.stages.size();
      // In front, so that it wins a tie; evaluated again, since its value holds for another batch.
      if (is_last) candidates.insert(candidates.begin(), state.parent);
      fitness = objective.evaluate(candidates, settings.stages[k].tokens, mix_seed(seed, k));
      state.evaluations += static_cast<int64_t>(candidates.size());
      const size_t best = static_cast<size_t>(std::min_element(fitness.begin(), fitness.end()) - fitness.begin());
      if (is_last) {
        state.quiet = candidates[best] == state.parent ? state.quiet + 1 : 0;
        state.parent = candidates[best];
        state.fitness = fitness[best];
      } else {
        candidates = best_of(candidates, fitness, static_cast<size_t>(settings.stages[k].survivors));
      }
    }
    if (candidates.empty()) ++state.quiet;
    objective.set_parent(state.parent);
    ++state.generation;
  }

  static void note(Evolution& state) { state.best.history.push_back({state.generation, state.spent, state.fitness}); }

  static void finish(Evolution& state) {
    if (state.best.best.empty() || state.fitness < state.best.fitness) {
      state.best.best = state.parent;
      state.best.fitness = state.fitness;
    }
    ++state.restart;
    state.generation = 0;
    state.quiet = 0;
    state.parent.clear();
  }
};

}  // namespace

std::unique_ptr<Searcher> make_evopress() {
  return std::make_unique<EvoPress>();
}

}  // namespace ockham
