// Pooling comparisons, and rulings over models.
#include "ockham/study/recheck/over_models.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "ockham/core/error.h"
#include "ockham/eval/random_effects.h"
#include "ockham/report/format.h"
#include "ockham/study/recheck/evidence.h"

namespace ockham {
namespace {

using Cells = std::vector<const ComparisonCell*>;

const ComparisonRow* row_like(const Comparison& comparison, const ComparisonRow& wanted) {
  for (const ComparisonRow& row : comparison.rows)
    if (row.recipe == wanted.recipe && row.is_baseline == wanted.is_baseline && row.is_rival == wanted.is_rival &&
        (row.is_rival || row.model == comparison.primary))
      return &row;
  return nullptr;
}

double geometric_mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) {
    if (!(value > 0)) return 0;
    sum += std::log(value);
  }
  return values.empty() ? 0 : std::exp(sum / static_cast<double>(values.size()));
}

// A number of all rows or cells at once.
template <typename Thing, typename Number>
std::vector<double> each(const std::vector<const Thing*>& things, Number Thing::*member) {
  std::vector<double> values;
  for (const Thing* thing : things) values.push_back(static_cast<double>(thing->*member));
  return values;
}

std::vector<PartChange> pool_parts(const Cells& cells) {
  std::map<std::string, std::vector<const PartChange*>> by_name;
  for (const ComparisonCell* cell : cells)
    for (const PartChange& part : cell->parts) by_name[part.part].push_back(&part);
  std::vector<PartChange> parts;
  for (const auto& [name, found] : by_name) {
    if (found.size() < cells.size()) continue;
    const PooledEffect effect = random_effects(each(found, &PartChange::value), each(found, &PartChange::error));
    int64_t n = 0;
    for (const PartChange* part : found) n += part->n;
    parts.push_back({name, effect.value, effect.error, n});
  }
  return parts;
}

ComparisonCell pool_cells(const Cells& all) {
  ComparisonCell result = *all.front();
  Cells usable;
  for (const ComparisonCell* cell : all)
    if (cell->has_change && cell->is_interpretable) usable.push_back(cell);
  result.done = result.planned;
  for (const ComparisonCell* cell : all) result.done = std::min(result.done, cell->done);
  result.score = mean(each(all, &ComparisonCell::score));
  result.refusal = mean(each(all, &ComparisonCell::refusal));
  result.refusal_change = mean(each(all, &ComparisonCell::refusal_change));
  result.noise_floor = mean(each(all, &ComparisonCell::noise_floor));
  result.draws.clear();
  result.parts.clear();
  result.has_change = usable.size() >= 2 || (usable.size() == 1 && all.size() == 1);
  result.is_interpretable = result.has_change && 2 * usable.size() >= all.size();
  if (!result.has_change) return result;
  std::vector<double> values, errors;
  int64_t n = 0;
  for (const ComparisonCell* cell : usable) {
    const Estimate change = change_of(*cell);
    values.push_back(change.value);
    errors.push_back(change.error);
    n += cell->change.n;
  }
  const PooledEffect effect = random_effects(values, errors);
  result.change = {};
  result.change.value = effect.value;
  result.change.interval = effect.interval;
  result.change.interval90 = result.interval90 = effect.interval90;
  result.change.p_value = effect.p_value;
  result.change.smallest_effect = 2.8 * effect.error;
  result.change.n = n;
  result.parts = pool_parts(usable);
  return result;
}

ComparisonRow pool_rows(const std::vector<const ComparisonRow*>& rows) {
  ComparisonRow result = *rows.front();
  result.bytes = mean(each(rows, &ComparisonRow::bytes));
  result.bits = mean(each(rows, &ComparisonRow::bits));
  result.sparsity = mean(each(rows, &ComparisonRow::sparsity));
  result.layer_error = mean(each(rows, &ComparisonRow::layer_error));
  result.perplexity = geometric_mean(each(rows, &ComparisonRow::perplexity));
  result.perplexity_low = geometric_mean(each(rows, &ComparisonRow::perplexity_low));
  result.perplexity_high = geometric_mean(each(rows, &ComparisonRow::perplexity_high));
  result.perplexity_ratio = geometric_mean(each(rows, &ComparisonRow::perplexity_ratio));
  result.perplexity_items.clear();
  const auto optional_mean = [&](std::optional<double> ComparisonRow::*member) -> std::optional<double> {
    std::vector<double> values;
    for (const ComparisonRow* row : rows)
      if (row->*member) values.push_back(*(row->*member));
    return values.size() == rows.size() ? std::optional<double>(mean(values)) : std::nullopt;
  };
  result.trust_mean = optional_mean(&ComparisonRow::trust_mean);
  result.knowledge_mean = optional_mean(&ComparisonRow::knowledge_mean);
  result.cells.clear();
  return result;
}

int64_t parameters_of(const Comparison& comparison) {
  for (const StoredModel& model : comparison.models)
    if (model.name == comparison.primary) return model.parameters;
  return 0;
}

std::string model_name(const Comparison& comparison) {
  for (const StoredModel& model : comparison.models)
    if (model.name == comparison.primary && !model.path.empty()) return model.path;
  return comparison.primary;
}

GroupRuling rule_group(const Claim& claim, const std::string& name, const std::vector<const Comparison*>& comparisons,
                       const std::vector<const ModelRuling*>& models, const RecheckSettings& settings) {
  GroupRuling group;
  group.name = name;
  group.models = static_cast<int64_t>(models.size());
  for (const ModelRuling* model : models) {
    group.holding += model->recheck.ruling == Ruling::kHolds;
    group.failing += model->recheck.ruling == Ruling::kFails;
  }
  group.sign_p = sign_test(group.holding, group.failing);
  const Ruling majority = group.sign_p >= 0.05            ? Ruling::kCannotTell
                          : group.holding > group.failing ? Ruling::kHolds
                                                          : Ruling::kFails;
  Recheck& recheck = group.recheck;
  if (claim.pools) {
    std::vector<Comparison> own;
    for (const Comparison* comparison : comparisons) own.push_back(*comparison);
    recheck = claim.judge(pool_models(own), settings);
    if (majority != Ruling::kCannotTell && recheck.ruling != Ruling::kCannotTell && majority != recheck.ruling) {
      recheck.evidence += " But the models themselves are shown to go the other way.";
      recheck.ruling = Ruling::kCannotTell;
    }
  } else {
    recheck.ruling = majority;
  }
  recheck.evidence = fmt::format("{}{}Of {} the claim holds on {} and fails on {} (sign test p {}).", recheck.evidence,
                                 recheck.evidence.empty() ? "" : " ", counted(group.models, "model"), group.holding,
                                 group.failing, p_text(group.sign_p));
  return group;
}

}  // namespace

Comparison pool_models(const std::vector<Comparison>& comparisons) {
  OCKHAM_CHECK(!comparisons.empty());
  const Comparison& first = comparisons.front();
  Comparison pooled = first;
  pooled.rows.clear();
  pooled.columns.clear();
  pooled.rivals.clear();
  for (const Column& column : first.columns)
    if (std::all_of(comparisons.begin(), comparisons.end(),
                    [&](const Comparison& one) { return one.column(column.id) != nullptr; }))
      pooled.columns.push_back(column);
  for (const ComparisonRow& row : first.rows) {
    if (!row.is_rival && row.model != first.primary) continue;
    std::vector<const ComparisonRow*> rows;
    for (const Comparison& one : comparisons)
      if (const ComparisonRow* same = row_like(one, row)) rows.push_back(same);
    if (rows.size() < comparisons.size()) continue;
    ComparisonRow result = pool_rows(rows);
    for (const Column& column : pooled.columns) {
      Cells cells;
      for (size_t i = 0; i < rows.size(); ++i) cells.push_back(&rows[i]->cells[comparisons[i].column_index(column.id)]);
      result.cells.push_back(pool_cells(cells));
    }
    pooled.rows.push_back(std::move(result));
  }
  std::vector<double> p_values;
  std::vector<ComparisonCell*> tested;
  for (ComparisonRow& row : pooled.rows)
    for (ComparisonCell& cell : row.cells) {
      if (!cell.has_change || !cell.is_interpretable || (row.is_baseline && !row.is_rival)) continue;
      p_values.push_back(cell.change.p_value);
      tested.push_back(&cell);
    }
  const std::vector<double> adjusted = holm(p_values);
  for (size_t i = 0; i < tested.size(); ++i) {
    tested[i]->p_adjusted = adjusted[i];
    tested[i]->verdict = equivalence(tested[i]->change, tested[i]->change.interval90, pooled.study.margin, adjusted[i]);
  }
  pooled.comparisons = static_cast<int64_t>(tested.size());
  return pooled;
}

OverModels judge_over_models(const Claim& claim, const std::vector<Comparison>& comparisons,
                             const RecheckSettings& settings) {
  OverModels result;
  for (const Comparison& comparison : comparisons)
    result.models.push_back({model_name(comparison), parameters_of(comparison), claim.judge(comparison, settings)});
  std::map<int64_t, std::pair<std::vector<const Comparison*>, std::vector<const ModelRuling*>>> sizes;
  std::vector<const Comparison*> all;
  std::vector<const ModelRuling*> rulings;
  for (size_t i = 0; i < comparisons.size(); ++i) {
    all.push_back(&comparisons[i]);
    rulings.push_back(&result.models[i]);
    auto& [own, their] = sizes[result.models[i].parameters];
    own.push_back(&comparisons[i]);
    their.push_back(&result.models[i]);
  }
  result.groups.push_back(rule_group(claim, "all", all, rulings, settings));
  if (sizes.size() > 1)
    for (const auto& [parameters, group] : sizes)
      if (group.first.size() > 1)
        result.groups.push_back(
            rule_group(claim, fmt::format("{} parameters", parameters), group.first, group.second, settings));
  return result;
}

}  // namespace ockham
