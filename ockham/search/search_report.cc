#include "ockham/search/search_report.h"

#include <algorithm>
#include <cmath>

#include "ockham/core/error.h"
#include "ockham/report/format.h"
#include "ockham/tensor/ops.h"
#include "ockham/text/tokenizer.h"

namespace ockham {
namespace {

Json floor_json(const FloorResult& floor) {
  return {{"name", floor.name}, {"limit", floor.limit}, {"change", floor.change}, {"low", floor.low},
          {"high", floor.high}, {"items", floor.items}, {"holds", floor.holds}};
}

// The answer to the limits in one sentence.
std::string verdict_of(const Constrained& constrained, bool is_met, double confidence) {
  const std::vector<Attempt>& attempts = constrained.attempts;
  const auto first = static_cast<double>(attempts.front().bytes);
  const auto bytes_beyond = [&](size_t place) {
    return bytes_text(static_cast<double>(attempts[place].bytes) - first);
  };
  if (is_met)
    return constrained.chosen == 0
               ? fmt::format(
                     "The best choice within the budgets keeps all limits on unseen items ({:.0f} % confidence).",
                     100 * confidence)
               : fmt::format("All limits hold on unseen items ({:.0f} % confidence), for {} more.", 100 * confidence,
                             bytes_beyond(constrained.chosen));
  if (constrained.is_met)
    return fmt::format("Kept on the search's items, not shown on the unseen ones at {:.0f} % confidence.",
                       100 * confidence);
  if (constrained.feasible < attempts.size())
    return fmt::format(
        "Not within the budgets: the nearest choice that keeps all limits takes {}, {} more; pass "
        "--spend {:.0f}% or loosen a limit.",
        bytes_text(static_cast<double>(attempts[constrained.feasible].bytes)), bytes_beyond(constrained.feasible),
        100 * attempts[constrained.feasible].extra);
  return "No choice among these levels keeps all limits, however large; add levels or loosen a limit.";
}

}  // namespace

Json settings_json(const SearchRequest& request) {
  const SearchSettings& settings = request.settings;
  Json stages = Json::array();
  for (const SearchStage& stage : settings.stages) stages.push_back({stage.tokens, stage.survivors});
  return {{"searcher", request.searcher},
          {"seed", settings.seed},
          {"generations", settings.generations},
          {"offspring", settings.offspring},
          {"stages", stages},
          {"restarts", settings.restarts},
          {"patience", settings.patience},
          {"siblings", settings.siblings},
          {"samples", settings.samples},
          {"fitness", request.fitness == FitnessKind::kKl ? "kl" : "perplexity"},
          {"errors", request.errors == LevelErrors::kLoss ? "loss" : "layer"},
          {"tokens", request.tokens},
          {"sequence", request.sequence}};
}

Json compared_json(const std::vector<ComparedAssignment>& compared) {
  Json list = Json::array();
  for (const ComparedAssignment& one : compared) {
    list.push_back({{"name", one.name},
                    {"bytes", one.facts.bytes},
                    {"sparsity", one.facts.sparsity},
                    {"bits", one.facts.bits},
                    {"stored_bits", one.facts.stored_bits},
                    {"kl", one.value.kl},
                    {"perplexity", one.value.perplexity}});
    if (one.facts.seconds > 0) list.back()["ms_per_token"] = 1e3 * one.facts.seconds;
    if (one.facts.memory > 0) list.back()["engine_memory"] = one.facts.memory;
    if (one.floors.empty()) continue;
    const auto worst = std::min_element(
        one.floors.begin(), one.floors.end(),
        [](const FloorResult& a, const FloorResult& b) { return a.change - a.points < b.change - b.points; });
    list.back()["worst_change"] = worst->change;
    list.back()["worst_dimension"] = worst->name;
    list.back()["meets_limits"] = all_hold(one.floors);
  }
  return list;
}

Json layers_json(const LevelDatabase& database, const BuiltProblem& built, const Assignment& best) {
  Json layers = Json::object();
  for (size_t u = 0; u < best.size(); ++u) {
    const LevelUnit& unit = database.units()[u];
    const LevelFacts& facts = database.levels(u)[built.order[u][static_cast<size_t>(best[u])]];
    const auto weights = static_cast<double>(unit.weights);
    layers[unit.name] = {{"level", facts.level.name},
                         {"bytes", facts.bytes},
                         {"sparsity", 1 - static_cast<double>(facts.kept) / weights},
                         {"bits", static_cast<double>(facts.code_bits) / weights},
                         {"error", facts.error}};
  }
  return layers;
}

Json speed_json(const CandidateEvaluator::Speed& speed) {
  return {{"speedup", speed.speedup()},
          {"steps_run", speed.steps},
          {"steps_whole", speed.whole_steps},
          {"seconds", speed.seconds},
          {"timed_from_scratch", speed.scratch_measured}};
}

Json limits_json(const Constrained& constrained, const std::vector<FloorResult>& unseen, double confidence) {
  const bool is_met = constrained.is_met && all_hold(unseen);
  Json floors = Json::array(), path = Json::array();
  for (size_t f = 0; f < unseen.size(); ++f) {
    floors.push_back(floor_json(unseen[f]));
    floors.back()["binds"] = binds(constrained, f);
    const double price = price_of(constrained, f);
    floors.back()["price_bytes"] = std::isnan(price) ? Json() : Json(price);
  }
  for (const Attempt& attempt : constrained.attempts) {
    Json seen = Json::array();
    for (const FloorResult& floor : attempt.floors) seen.push_back(floor_json(floor));
    path.push_back(
        {{"penalty", attempt.weight}, {"extra", attempt.extra}, {"bytes", attempt.bytes}, {"floors", std::move(seen)}});
  }
  Json json = {{"met", is_met},
               {"verdict", verdict_of(constrained, is_met, confidence)},
               {"confidence", confidence},
               {"floors", std::move(floors)},
               {"path", std::move(path)},
               {"chosen", constrained.chosen}};
  if (constrained.feasible < constrained.attempts.size())
    json["feasible_bytes"] = constrained.attempts[constrained.feasible].bytes;
  return json;
}

Tensor pack_texts(const std::vector<std::string>& texts, const std::string& tokenizer_directory, int64_t length,
                  int64_t tokens) {
  const Tokenizer tokenizer(tokenizer_directory);
  std::vector<int64_t> joined;
  for (const std::string& text : texts)
    for (const int32_t id : tokenizer.encode(text, false)) joined.push_back(id);
  const int64_t rows = std::min<int64_t>(static_cast<int64_t>(joined.size()), std::max(tokens, length)) / length;
  if (rows == 0)
    throw_input("--limit: the prompts of its tasks have {} tokens, expected at least {} (--sequence); lower it",
                joined.size(), length);
  return at::tensor(at::ArrayRef<int64_t>(joined.data(), static_cast<size_t>(rows * length))).view({rows, length});
}

}  // namespace ockham
