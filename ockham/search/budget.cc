#include "ockham/search/budget.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <numeric>

#include "ockham/core/error.h"
#include "ockham/core/params.h"
#include "ockham/io/families/families.h"

namespace ockham {
namespace {

constexpr double kNanoseconds = 1e9;

double parse_number(const std::string& option, const std::string& text, const std::string& expected) {
  double value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    throw_error(ErrorKind::kUsage, "{}: found '{}', expected {}", option, text, expected);
  return value;
}

int64_t cost_of(BudgetKind kind, const LevelFacts& facts, double seconds, int64_t memory) {
  switch (kind) {
    case BudgetKind::kSparsity:
      return facts.kept;
    case BudgetKind::kBits:
      return facts.code_bits;
    case BudgetKind::kStoredBits:
      return 8 * facts.bytes;
    case BudgetKind::kBytes:
      return facts.bytes;
    case BudgetKind::kTime:
      return std::llround(seconds * kNanoseconds);
    case BudgetKind::kMemory:
      return memory;
  }
  return 0;
}

// What is left for the units, in units of cost_of().
int64_t limit_of(const Budget& budget, const FixedCosts& fixed) {
  const auto weights = static_cast<double>(fixed.weights);
  const int64_t ignored_bits = fixed.ignored_weights * fixed.weight_bits;
  // So that 0.7 of a number of weights does not lose one to rounding.
  const auto whole = [](double value) { return static_cast<int64_t>(std::floor(value * (1 + 1e-12) + 1e-6)); };
  switch (budget.kind) {
    case BudgetKind::kSparsity:
      return whole((1 - budget.value) * weights) - fixed.ignored_weights;
    case BudgetKind::kBits:
    case BudgetKind::kStoredBits:
      return whole(budget.value * weights) - ignored_bits;
    case BudgetKind::kBytes:
      return whole(budget.value) - fixed.other_bytes;
    case BudgetKind::kTime:
      return whole((budget.value - fixed.other_seconds) * kNanoseconds);
    case BudgetKind::kMemory:
      return whole(budget.value) - fixed.other_memory;
  }
  return 0;
}

}  // namespace

double parse_size(const std::string& option, const std::string& text) {
  const size_t letters = text.find_first_not_of("0123456789.+-");
  const std::string unit = letters == std::string::npos ? "" : text.substr(letters);
  const std::map<std::string, double> units = {{"", 1},     {"B", 1},      {"kB", 1e3},      {"KB", 1e3},
                                               {"MB", 1e6}, {"GB", 1e9},   {"K", 1e3},       {"M", 1e6},
                                               {"G", 1e9},  {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}};
  const auto factor = units.find(unit);
  const std::string expected = "a size such as 1500000, 900kB or 1.5MB";
  if (factor == units.end()) throw_error(ErrorKind::kUsage, "{}: found '{}', expected {}", option, text, expected);
  const double value = parse_number(option, text.substr(0, letters), expected) * factor->second;
  if (!(value > 0)) throw_error(ErrorKind::kUsage, "{}: found '{}', expected {}", option, text, expected);
  return value;
}

Budget parse_budget(const std::string& text) {
  const size_t equals = text.find('=');
  const std::string key = text.substr(0, equals);
  const std::vector<std::string> keys = {"sparsity", "bits", "stored-bits", "bytes", "ms", "memory"};
  const auto found = std::find(keys.begin(), keys.end(), key);
  if (equals == std::string::npos || found == keys.end()) {
    const std::string near = closest_name(key, keys);
    throw_error(ErrorKind::kUsage,
                "--budget: found '{}', expected sparsity=0.6, bits=3.0, stored-bits=3.2, bytes=1.2MB, ms=0.4 or "
                "memory=50MB{}",
                text, near.empty() ? "" : "; did you mean '" + near + "'?");
  }
  std::string value = text.substr(equals + 1);
  const std::string option = "--budget " + key;
  Budget budget{static_cast<BudgetKind>(found - keys.begin()), 0, text};
  if (budget.kind == BudgetKind::kBytes || budget.kind == BudgetKind::kMemory) {
    budget.value = parse_size(option, value);
    return budget;
  }
  const bool is_percent = budget.kind == BudgetKind::kSparsity && value.ends_with('%');
  if (is_percent) value.pop_back();
  const char* expected =
      budget.kind == BudgetKind::kSparsity ? "a share of zeros in [0, 1), as in 0.6 or 60%" : "a positive number";
  budget.value = parse_number(option, value, expected) / (is_percent ? 100 : 1);
  const bool is_good = budget.kind == BudgetKind::kSparsity ? budget.value >= 0 && budget.value < 1 : budget.value > 0;
  if (!is_good) throw_error(ErrorKind::kUsage, "{}: found '{}', expected {}", option, value, expected);
  if (budget.kind == BudgetKind::kTime) budget.value /= 1e3;
  return budget;
}

FixedCosts fixed_costs(const Checkpoint& checkpoint, const std::vector<LevelUnit>& units) {
  const ModelConfig& config = checkpoint.config();
  if (checkpoint.layout() != "dense")
    throw_error(ErrorKind::kUnsupported,
                "{}: the weights are stored as {}, expected a dense model; name the one that it was made from",
                checkpoint.directory(), checkpoint.layout());
  FixedCosts fixed;
  fixed.weight_bits = 8 * dtype_size(config.dtype);
  for (int64_t block = 0; block < config.blocks; ++block)
    for (const LinearSpec& spec : block_linears(config, block)) fixed.weights += spec.rows * spec.columns;
  int64_t chosen = 0;
  for (const LevelUnit& unit : units) chosen += unit.weights;
  fixed.ignored_weights = fixed.weights - chosen;
  fixed.other_bytes = checkpoint.bytes() - chosen * dtype_size(config.dtype);
  return fixed;
}

BuiltProblem build_problem(const LevelDatabase& database, const std::vector<Budget>& budgets, const FixedCosts& fixed,
                           const MeasuredCosts& measured) {
  const auto& [latency, memory] = measured;
  BuiltProblem built;
  std::string where = "--budget";
  for (const Budget& budget : budgets) {
    built.problem.budgets.push_back({budget.text, limit_of(budget, fixed)});
    where += " " + budget.text;
  }
  for (size_t u = 0; u < database.units().size(); ++u) {
    const LevelUnit& unit = database.units()[u];
    SearchUnit search{unit.name, unit.weights, {}};
    const std::vector<LevelFacts>& levels = database.levels(u);
    std::vector<UnitLevel> choices;
    for (size_t l = 0; l < levels.size(); ++l) {
      UnitLevel choice{levels[l].level.name, {}, levels[l].error};
      for (const Budget& budget : budgets)
        choice.costs.push_back(
            cost_of(budget.kind, levels[l], latency.empty() ? 0 : latency[u][l], memory.empty() ? 0 : memory[u][l]));
      choices.push_back(std::move(choice));
    }
    std::vector<size_t> order(levels.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return choices[a].costs < choices[b].costs; });
    for (const size_t l : order) search.levels.push_back(choices[l]);
    built.order.push_back(std::move(order));
    built.problem.units.push_back(std::move(search));
  }
  built.problem.prepare(where);
  return built;
}

AssignmentFacts facts_of(const LevelDatabase& database, const BuiltProblem& built, const FixedCosts& fixed,
                         const MeasuredCosts& measured, const Assignment& assignment) {
  const auto& [latency, memory] = measured;
  AssignmentFacts facts;
  int64_t kept = fixed.ignored_weights, code_bits = fixed.ignored_weights * fixed.weight_bits, bytes = code_bits / 8;
  facts.bytes = fixed.other_bytes;
  facts.seconds = latency.empty() ? 0 : fixed.other_seconds;
  facts.memory = memory.empty() ? 0 : fixed.other_memory;
  for (size_t u = 0; u < assignment.size(); ++u) {
    const size_t level = built.order[u][static_cast<size_t>(assignment[u])];
    const LevelFacts& of = database.levels(u)[level];
    kept += of.kept;
    code_bits += of.code_bits;
    bytes += of.bytes;
    facts.bytes += of.bytes;
    if (!latency.empty()) facts.seconds += latency[u][level];
    if (!memory.empty()) facts.memory += memory[u][level];
  }
  const auto weights = static_cast<double>(fixed.weights);
  facts.sparsity = 1 - static_cast<double>(kept) / weights;
  facts.bits = static_cast<double>(code_bits) / weights;
  facts.stored_bits = 8 * static_cast<double>(bytes) / weights;
  return facts;
}

}  // namespace ockham
