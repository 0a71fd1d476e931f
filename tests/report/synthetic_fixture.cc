// Shares of right answers per recipe and dimension; item i is right where a fixed uniform number of (dimension, i) lies
// below.
#include "tests/report/synthetic_fixture.h"

#include <cmath>

#include "ockham/core/rng.h"
#include "ockham/io/file.h"

namespace ockham {
namespace {

struct Plan {
  const char* recipe;
  const char* step;
  double damage;  // share of the dense score that is lost, before each dimension's factor
  double bytes, sparsity, bits, perplexity;
  int draws;
};
constexpr Plan kPlans[] = {
    {"dense", "", 0, 3.7e6, 0, 16, 6.1, 1},
    {"magnitude-30", "magnitude, params: {sparsity: 0.3}", 0.06, 3.1e6, 0.3, 12.2, 6.5, 1},
    {"magnitude-50", "magnitude, params: {sparsity: 0.5}", 0.28, 2.4e6, 0.5, 9, 9.8, 1},
    {"magnitude-70", "magnitude, params: {sparsity: 0.7}", 0.7, 1.8e6, 0.7, 5.8, 61.0, 1},
    {"magnitude-2-4", "magnitude, params: {pattern: \"2:4\"}", 0.4, 2.4e6, 0.5, 9, 14.2, 1},
    {"wanda-30", "wanda, params: {sparsity: 0.3}", 0.02, 3.1e6, 0.3, 12.2, 6.2, 3},
    {"wanda-50", "wanda, params: {sparsity: 0.5}", 0.15, 2.4e6, 0.5, 9, 7.6, 3},
    {"wanda-70", "wanda, params: {sparsity: 0.7}", 0.55, 1.8e6, 0.7, 5.8, 24.0, 3},
    {"wanda-2-4", "wanda, params: {pattern: \"2:4\"}", 0.3, 2.4e6, 0.5, 9, 10.1, 3},
    {"rtn-8", "rtn, params: {bits: 8}", 0.0, 2.1e6, 0, 8.2, 6.1, 1},
    {"rtn-4", "rtn, params: {bits: 4}", 0.03, 1.3e6, 0, 4.2, 6.3, 1},
    {"rtn-3", "rtn, params: {bits: 3}", 0.2, 1.1e6, 0, 3.2, 8.0, 1},
    {"rtn-2", "rtn, params: {bits: 2}", 0.85, 0.9e6, 0, 2.2, 210.0, 1},
};
struct Dimension {
  const char* task;
  const char* dimension;
  double dense, chance, sensitivity;  // shares; chance < 0: does not apply
};
constexpr Dimension kDimensions[] = {
    {"factworld/toxicity", "toxicity", 0.72, -1, 0.5},
    {"factworld/stereotype", "stereotype", 0.64, -1, -0.3},
    {"factworld/adversarial", "adversarial_robustness", 0.66, 0.33, 1.0},
    {"factworld/ood", "ood_robustness", 0.61, 0.25, 0.9},
    {"factworld/demonstrations", "adversarial_demonstrations", 0.58, 0.33, 1.1},
    {"factworld/privacy", "privacy", 0.81, -1, 0.7},
    {"factworld/ethics", "machine_ethics", 0.69, 0.5, 0.8},
    {"factworld/fairness", "fairness", 0.52, 0.5, 0.4},
    {"factworld/closed_book", "knowledge", 0.83, 0, 1.6},
    {"factworld/open_book", "knowledge", 0.91, 0, 0.6},
    {"factworld/multiple_choice", "knowledge", 0.78, 0.25, 1.2},
};

MetricResult metric(const std::string& name, double value, double error, int64_t n, const std::string& unit,
                    bool is_score) {
  return {name, value, value - 1.96 * error, value + 1.96 * error, n, unit, is_score, true};
}

// Share that the model still gets right; small extra shift per calibration draw.
double share(const Dimension& dimension, double damage, uint64_t seed, bool is_rival) {
  const double loss = is_rival ? 0.18 : damage;
  const double floor = std::max(0.0, dimension.chance);
  const double wobble = damage > 0.1 ? 0.03 * (static_cast<double>(seed) - 1) * loss / 0.3 : 0;
  return std::clamp(dimension.dense - (dimension.dense - floor) * loss * dimension.sensitivity + wobble, 0.0, 1.0);
}

void add_cells(StudyResults& results, const std::string& model, const Plan& plan, const SyntheticOptions& options,
               bool is_rival) {
  for (int draw = 0; draw < plan.draws; ++draw) {
    const auto seed = static_cast<uint64_t>(draw);
    const auto add = [&](const std::string& task) -> StoredCell& {
      StoredCell cell;
      cell.model = model;
      cell.recipe = plan.recipe;
      cell.task = task;
      cell.seed = seed;
      cell.seconds = 0.4;
      cell.peak_bytes = 310'000'000;
      results.cells.push_back(cell);
      return results.cells.back();
    };
    StoredCell& packed = add(kCompressionTask);
    packed.metrics = {metric("bytes", is_rival ? 0.95e6 : plan.bytes, 0, 1, "bytes", false),
                      metric("sparsity", plan.sparsity, 0, 1, "", false),
                      metric("bits", plan.bits, 0, 1, "bits", false)};
    ItemResult packed_item;
    packed_item.id = "model";
    packed_item.answer = sha256_text(model + plan.recipe + std::to_string(draw));
    packed.items.push_back(packed_item);
    StoredCell& perplexity = add("factworld/perplexity");
    perplexity.metrics = {
        metric("perplexity", (is_rival ? 8.4 : plan.perplexity) * (1 + 0.01 * draw), 0.05, 20, "ppl", true)};
    for (const Dimension& dimension : kDimensions) {
      StoredCell& cell = add(dimension.task);
      const double right = share(dimension, plan.damage, seed, is_rival);
      double sum = 0;
      int64_t refused = 0;
      for (int64_t i = 0; i < options.items; ++i) {
        ItemResult item;
        item.id = fmt::format("{:04}", i);
        item.prompt_sha = sha256_text(std::string(dimension.task) + item.id);
        item.prompt = fmt::format("Question {} of {}", i, dimension.task);
        // Half common to all configurations (what makes pairing pay), half of this one.
        const double common = Rng(mix_seed(hash_seed(dimension.task), static_cast<uint64_t>(i))).uniform();
        const double own = Rng(mix_seed(hash_seed(model + plan.recipe + dimension.task + std::to_string(draw)),
                                        static_cast<uint64_t>(i)))
                               .uniform();
        item.score = (own < 0.8 ? common : own * 5 - 4) < right ? 1 : 0;
        item.is_refusal = std::string(dimension.dimension) == "privacy" && common < 0.6 - 0.6 * plan.damage;
        item.answer = item.score > 0 ? "right" : "wrong";
        sum += item.score;
        refused += item.is_refusal ? 1 : 0;
        cell.items.push_back(item);
      }
      const auto n = static_cast<double>(options.items);
      const double mean_share = sum / n;
      cell.metrics = {metric("score", 100 * mean_share, 100 * std::sqrt(mean_share * (1 - mean_share) / n),
                             options.items, "points", true),
                      metric("refusal", static_cast<double>(refused) / n, 0, options.items, "rate", false)};
    }
  }
}

}  // namespace

SummaryOptions synthetic_options() {
  SummaryOptions options;
  options.statistic = [](const Task&, const std::vector<ItemResult>& items) -> Statistic {
    std::vector<double> values;
    for (const ItemResult& item : items) values.push_back(item.score);
    return [values](const std::vector<int32_t>& picked) {
      double sum = 0;
      for (int32_t index : picked) sum += values[static_cast<size_t>(index)];
      return 100 * sum / static_cast<double>(picked.size());
    };
  };
  options.resamples = 500;
  return options;
}

StudyResults synthetic_results(const SyntheticOptions& options) {
  StudyResults results;
  results.source = "synthetic";
  results.runs = {{"0.1.0", "test machine, 2 cores", "2026-01-31T12:00:00Z"}};
  results.study.title = "quickstart";
  results.study.text = "models: [...]\n";
  results.study.baseline = "dense";
  results.study.tier = "quick";
  results.study.margin = 5;
  results.models = {{options.marker, "models/mini", sha256_text("mini"), 3'700'000, 1'850'000}};
  StudyDescription::Model model{options.marker, {}};
  for (const Plan& plan : kPlans) {
    model.recipes.emplace_back(plan.recipe);
    const std::string text = plan.step[0] == 0 ? "dense" : fmt::format("steps:\n  - {{method: {}}}\n", plan.step);
    results.recipes.push_back({plan.recipe, text, sha256_text(text)});
    for (int draw = 0; draw < plan.draws; ++draw)
      results.study.seeds[plan.recipe].push_back(static_cast<uint64_t>(draw));
  }
  results.study.models.push_back(model);
  if (options.with_rival) {
    results.study.models.push_back({"mini-small", {"dense"}});
    results.models.push_back({"mini-small", "models/mini-small", sha256_text("small"), 950'000, 470'000});
  }
  const auto add_task = [&](const std::string& name, const std::string& dimension, double chance) {
    Task task;
    task.name = name;
    task.dimension = dimension;
    task.world_suite = name.substr(name.find('/') + 1);
    task.chance = chance < 0 ? -1 : 100 * chance;
    task.metrics = {{"score", "mean", true, true}};
    if (dimension == "perplexity") task.kind = RequestKind::kPerplexity;
    results.study.tasks.push_back(name);
    results.stored_tasks.push_back({name, "task: " + name + "\n", sha256_text(name), sha256_text(name + "items"), {}});
    results.tasks.emplace(name, task);
  };
  add_task("factworld/perplexity", "perplexity", -1);
  for (const Dimension& dimension : kDimensions) add_task(dimension.task, dimension.dimension, dimension.chance);
  for (const Plan& plan : kPlans) add_cells(results, options.marker, plan, options, false);
  if (options.with_rival) add_cells(results, "mini-small", kPlans[0], options, true);
  return results;
}

}  // namespace ockham
