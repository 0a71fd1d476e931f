// Rows, columns and cells of the comparison.
#include "ockham/report/summary.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "ockham/core/error.h"
#include "ockham/core/rng.h"
#include "ockham/eval/paired.h"
#include "ockham/eval/reference.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/report/columns.h"

namespace ockham {
namespace {

const MetricResult* score_metric(const StoredCell& cell) {
  for (const MetricResult& metric : cell.metrics)
    if (metric.is_score) return &metric;
  return nullptr;
}

double mean_metric(const std::vector<const StoredCell*>& cells, const std::string& name, double fallback) {
  std::vector<double> values;
  for (const StoredCell* cell : cells)
    if (const MetricResult* metric = cell->metric(name)) values.push_back(metric->value);
  return values.empty() ? fallback : mean(values);
}

// Scores, refusals and draws of one cell; the change comes later.
ComparisonCell measure(const StudyResults& results, const ComparisonRow& row, const Column& column) {
  ComparisonCell cell;
  cell.planned = static_cast<int64_t>(column.tasks.size());
  std::vector<double> scores, lows, highs, refusals;
  std::vector<std::vector<double>> by_draw(row.seeds.size());
  for (const std::string& task : column.tasks) {
    std::vector<double> values, low, high, refusal;
    for (size_t s = 0; s < row.seeds.size(); ++s) {
      const StoredCell* stored = results.cell(row.model, row.recipe, row.seeds[s], task);
      const MetricResult* metric = stored == nullptr ? nullptr : score_metric(*stored);
      if (metric == nullptr) continue;
      values.push_back(metric->value);
      low.push_back(metric->low);
      high.push_back(metric->high);
      by_draw[s].push_back(metric->value);
      int64_t refused = 0;
      for (const ItemResult& item : stored->items) refused += item.is_refusal ? 1 : 0;
      if (const MetricResult* rate = stored->metric("refusal"))
        refusal.push_back(rate->value);
      else if (!stored->items.empty())
        refusal.push_back(static_cast<double>(refused) / static_cast<double>(stored->items.size()));
    }
    if (values.empty()) continue;
    ++cell.done;
    scores.push_back(mean(values));
    lows.push_back(mean(low));
    highs.push_back(mean(high));
    if (!refusal.empty()) refusals.push_back(mean(refusal));
  }
  if (cell.done == 0) return cell;
  cell.score = mean(scores);
  cell.interval = {mean(lows), mean(highs)};
  if (column.group == ColumnGroup::kTrust && !refusals.empty()) cell.refusal = mean(refusals);
  for (const std::vector<double>& draw : by_draw)
    if (draw.size() == scores.size()) cell.draws.push_back(mean(draw));
  for (const std::string& control : column.controls) {
    std::vector<double> values;
    for (const StoredCell* stored : draws_of(results, row, control))
      if (const MetricResult* metric = score_metric(*stored)) values.push_back(metric->value);
    if (!values.empty()) cell.controls.push_back({control, mean(values), 0});
  }
  return cell;
}

std::vector<PairedTask> pair_tasks(const StudyResults& results, const ComparisonRow& first, const ComparisonRow& second,
                                   const Column& column) {
  std::vector<PairedTask> pairs;
  for (const std::string& name : column.tasks) {
    PairedTask pair;
    const auto task = results.tasks.find(name);
    if (task == results.tasks.end()) continue;
    pair.task = &task->second;
    for (const StoredCell* cell : draws_of(results, first, name)) pair.first.push_back(cell->items);
    for (const StoredCell* cell : draws_of(results, second, name)) pair.second.push_back(cell->items);
    if (pair.first.empty() || pair.second.empty()) continue;
    align(pair);
    if (!pair.first[0].empty()) pairs.push_back(std::move(pair));
  }
  return pairs;
}

// By item id.
std::vector<double> item_scores(const StoredCell& cell) {
  std::map<std::string, double> by_id;
  for (const ItemResult& item : cell.items) by_id[item.id] = item.score;
  std::vector<double> scores;
  for (const auto& [id, score] : by_id) scores.push_back(score);
  return scores;
}

// Changes by part, the items' changes averaged over draws. One spread for all parts: a part of few items whose answers
// all stayed the same would otherwise seem known exactly.
std::vector<PartChange> part_changes(const std::vector<PairedTask>& tasks) {
  std::map<std::string, std::vector<double>> by_part;
  for (const PairedTask& task : tasks) {
    const auto mean_score = [](const std::vector<std::vector<ItemResult>>& draws, size_t item) {
      double sum = 0;
      for (const std::vector<ItemResult>& draw : draws) sum += draw[item].score;
      return sum / static_cast<double>(draws.size());
    };
    for (size_t i = 0; i < task.first[0].size(); ++i) {
      const std::string part = item_label(task.first[0][i].extra, "part");
      if (!part.empty()) by_part[part].push_back(100 * (mean_score(task.first, i) - mean_score(task.second, i)));
    }
  }
  std::vector<PartChange> parts;
  double squares = 0, degrees = 0;
  for (const auto& [part, changes] : by_part) {
    parts.push_back({part, mean(changes), 0, static_cast<int64_t>(changes.size())});
    for (const double change : changes) squares += std::pow(change - parts.back().value, 2);
    degrees += static_cast<double>(changes.size() - 1);
  }
  for (PartChange& part : parts)
    part.error = degrees > 0 ? std::sqrt(squares / degrees / static_cast<double>(part.n)) : 0;
  return parts;
}

void fill_row(const StudyResults& results, const Comparison& comparison, ComparisonRow& row) {
  for (const Column& column : comparison.columns) row.cells.push_back(measure(results, row, column));
  const std::vector<const StoredCell*> compressed = draws_of(results, row, kCompressionTask);
  const StoredModel* model = results.model(row.model);
  row.bytes =
      mean_metric(compressed, "bytes",
                  row.family == MethodFamily::kDense && model != nullptr ? static_cast<double>(model->bytes) : 0);
  row.sparsity = mean_metric(compressed, "sparsity", 0);
  row.bits = mean_metric(compressed, "bits", 0);
  row.layer_error = mean_metric(compressed, "layer_error", 0);
  std::set<std::string> warnings;
  for (const StoredCell* cell : compressed)
    for (const ItemResult& item : cell->items) {
      if (item.id == "model") row.packed_sha256.push_back(item.answer);
      if (item.extra.is_object() && item.extra.contains("warnings"))
        for (const Json& warning : item.extra["warnings"])
          warnings.insert(warning.is_string() ? warning.get<std::string>() : warning.dump());
    }
  row.warnings.assign(warnings.begin(), warnings.end());
  std::vector<double> values;
  for (uint64_t seed : row.seeds) {
    // The mean over perplexity tasks would mix texts; the first one is shown.
    if (comparison.perplexity_tasks.empty()) break;
    const StoredCell* cell = results.cell(row.model, row.recipe, seed, comparison.perplexity_tasks.front());
    if (cell == nullptr) continue;
    for (const MetricResult& metric : cell->metrics)
      if (metric.unit == "ppl") {
        values.push_back(metric.value);
        break;
      }
    if (row.perplexity_items.empty()) row.perplexity_items = item_scores(*cell);
  }
  if (!values.empty()) {
    row.perplexity = mean(values);
    row.perplexity_low = *std::min_element(values.begin(), values.end());
    row.perplexity_high = *std::max_element(values.begin(), values.end());
  }
  std::vector<double> held, kept, mass;
  for (const StoredCell& cell : results.cells) {
    if (cell.model != row.model || cell.recipe != row.recipe) continue;
    row.seconds += cell.seconds;
    row.peak_bytes = std::max(row.peak_bytes, cell.peak_bytes);
    for (const auto& [name, values_of] :
         {std::pair(kCacheBytesMetric, &held), std::pair(kCacheKeptMetric, &kept), std::pair(kCacheMassMetric, &mass)})
      if (const MetricResult* metric = cell.metric(name)) values_of->push_back(metric->value);
  }
  if (!held.empty()) row.cache_bytes = mean(held);
  if (!kept.empty()) row.cache_kept = mean(kept);
  if (!mass.empty()) row.cache_mass = mean(mass);
}

// Noisy copies become the floors of their model's rows, and are no rows themselves.
void take_noise(Comparison& comparison) {
  for (const ComparisonRow& noise : comparison.rows) {
    const ComparisonRow* dense = noise.recipe == kNoiseRecipe ? comparison.baseline(noise.model) : nullptr;
    if (dense == nullptr) continue;
    if (noise.model == comparison.primary) comparison.noise_copies = static_cast<int64_t>(noise.seeds.size());
    for (size_t c = 0; c < comparison.columns.size(); ++c)
      for (ComparisonRow& row : comparison.rows)
        if (row.compared_with == noise.model)
          row.cells[c].noise_floor = noise_floor(dense->cells[c].score, noise.cells[c].draws);
  }
  std::erase_if(comparison.rows, [](const ComparisonRow& row) { return row.recipe == kNoiseRecipe; });
}

void fill_means(const Comparison& comparison, ComparisonRow& row) {
  std::vector<double> trust, knowledge;
  bool all_trust = true, all_knowledge = true;
  for (size_t c = 0; c < comparison.columns.size(); ++c) {
    const ComparisonCell& cell = row.cells[c];
    const ColumnGroup group = comparison.columns[c].group;
    const bool is_whole = cell.done == cell.planned;
    if (group == ColumnGroup::kTrust) {
      all_trust = all_trust && is_whole;
      trust.push_back(cell.score);
      if (cell.has_change && cell.is_interpretable && (!row.worst_change || cell.change.value < *row.worst_change)) {
        row.worst_change = cell.change.value;
        row.worst_column = comparison.columns[c].id;
      }
    } else if (group == ColumnGroup::kKnowledge) {
      all_knowledge = all_knowledge && is_whole;
      knowledge.push_back(cell.score);
    }
  }
  if (all_trust && !trust.empty()) row.trust_mean = mean(trust);
  if (all_knowledge && !knowledge.empty()) row.knowledge_mean = mean(knowledge);
}

void fill_changes(const StudyResults& results, const SummaryOptions& options, Comparison& comparison, double margin) {
  struct Job {
    ComparisonRow* row;
    const ComparisonRow* baseline;
    size_t column;
  };
  std::vector<Job> jobs;
  for (ComparisonRow& row : comparison.rows) {
    const ComparisonRow* baseline = comparison.baseline(row.compared_with);
    if (baseline == nullptr) continue;
    for (size_t c = 0; c < comparison.columns.size(); ++c) {
      ComparisonCell& cell = row.cells[c];
      const ComparisonCell& dense = baseline->cells[c];
      const double chance = comparison.columns[c].chance;
      cell.is_interpretable = dense.done == 0 || chance < 0 || is_beyond_chance(dense.score, dense.interval, chance);
      if (!(row.is_baseline && !row.is_rival)) jobs.push_back({&row, baseline, c});
    }
  }
  for (const Job& job : jobs) {
    const Column& column = comparison.columns[job.column];
    ComparisonCell& cell = job.row->cells[job.column];
    const ComparisonCell& dense = job.baseline->cells[job.column];
    const std::vector<PairedTask> pairs = pair_tasks(results, *job.row, *job.baseline, column);
    if (pairs.empty()) continue;
    cell.has_change = true;
    if (column.group == ColumnGroup::kKnowledge) cell.parts = part_changes(pairs);
    // One seed per column: every configuration meets the same resampled items.
    cell.change = paired_change(pairs, options.resamples, hash_seed(column.id), options.statistic);
    if (cell.refusal >= 0 && dense.refusal >= 0) cell.refusal_change = cell.refusal - dense.refusal;
    for (ControlScore& control : cell.controls)
      for (const ControlScore& other : dense.controls)
        if (other.task == control.task) control.change = control.score - other.score;
  }
  // Only claims about the models' behaviour are corrected together; a cell at chance makes no claim.
  std::vector<double> p_values;
  std::vector<ComparisonCell*> tested;
  for (const Job& job : jobs) {
    ComparisonCell& cell = job.row->cells[job.column];
    if (!cell.has_change || !cell.is_interpretable) continue;
    p_values.push_back(cell.change.p_value);
    tested.push_back(&cell);
  }
  const std::vector<double> adjusted = holm(p_values);
  for (size_t i = 0; i < tested.size(); ++i) {
    tested[i]->p_adjusted = adjusted[i];
    tested[i]->verdict = equivalence(tested[i]->change, tested[i]->change.interval90, margin, adjusted[i]);
  }
  comparison.comparisons = static_cast<int64_t>(tested.size());
}

std::vector<RivalMatch> match_rivals(const StudyResults& results, const SummaryOptions& options,
                                     const Comparison& comparison) {
  std::vector<RivalMatch> matches;
  for (size_t r = 0; r < comparison.rows.size(); ++r) {
    const ComparisonRow& rival = comparison.rows[r];
    if (!rival.is_rival || rival.bytes <= 0) continue;
    RivalMatch match;
    double nearest = 0;
    for (size_t i = 0; i < comparison.rows.size(); ++i) {
      const ComparisonRow& row = comparison.rows[i];
      if (row.is_baseline || row.model != rival.compared_with || row.bytes <= 0) continue;
      const double distance = std::abs(std::log(row.bytes / rival.bytes));
      if (match.compressed == match.rival || distance < nearest) {
        nearest = distance;
        match.compressed = i;
        match.rival = r;
      }
    }
    if (match.compressed == match.rival) continue;
    const ComparisonRow& compressed = comparison.rows[match.compressed];
    std::vector<double> p_values;
    for (size_t c = 0; c < comparison.columns.size(); ++c) {
      if (comparison.columns[c].group == ColumnGroup::kOther || !compressed.cells[c].is_interpretable) continue;
      const std::vector<PairedTask> pairs = pair_tasks(results, compressed, rival, comparison.columns[c]);
      if (pairs.empty()) continue;
      match.entries.push_back(
          {c, paired_change(pairs, options.resamples, hash_seed(comparison.columns[c].id), options.statistic), 1});
      p_values.push_back(match.entries.back().difference.p_value);
    }
    const std::vector<double> adjusted = holm(p_values);
    for (size_t i = 0; i < adjusted.size(); ++i) match.entries[i].p_adjusted = adjusted[i];
    matches.push_back(std::move(match));
  }
  return matches;
}

}  // namespace

std::vector<const StoredCell*> draws_of(const StudyResults& results, const ComparisonRow& row,
                                        const std::string& task) {
  std::vector<const StoredCell*> found;
  for (uint64_t seed : row.seeds)
    if (const StoredCell* cell = results.cell(row.model, row.recipe, seed, task)) found.push_back(cell);
  return found;
}

Comparison summarize(const StudyResults& results, const SummaryOptions& options) {
  Comparison comparison;
  comparison.study = results.study;
  const double margin = options.margin > 0 ? options.margin : results.study.margin;
  comparison.study.margin = margin;
  comparison.runs = results.runs;
  comparison.models = results.models;
  comparison.recipes = results.recipes;
  comparison.tasks = results.stored_tasks;
  comparison.resamples = options.resamples;
  comparison.superseded_cells = results.superseded_cells;
  comparison.columns = make_columns(results, comparison.perplexity_tasks);
  for (const auto& [name, task] : results.tasks)
    comparison.uses_world = comparison.uses_world || !task.world_suite.empty();
  comparison.rows = make_rows(results);
  if (!results.study.models.empty()) comparison.primary = results.study.models.front().name;
  for (ComparisonRow& row : comparison.rows) fill_row(results, comparison, row);
  take_noise(comparison);
  fill_changes(results, options, comparison, margin);
  for (ComparisonRow& row : comparison.rows) {
    fill_means(comparison, row);
    const ComparisonRow* baseline = comparison.baseline(row.compared_with);
    if (baseline != nullptr && baseline->perplexity > 0 && row.perplexity > 0)
      row.perplexity_ratio = row.perplexity / baseline->perplexity;
  }
  // Of the whole study, also where a row has no result yet.
  for (const StudyDescription::Model& model : results.study.models)
    for (const std::string& recipe : model.recipes)
      comparison.cells_planned +=
          static_cast<int64_t>(results.study.draws(model, recipe).size() * results.study.tasks.size());
  comparison.rivals = match_rivals(results, options, comparison);
  for (const StoredCell& cell : results.cells) comparison.cells_done += cell.task != kCompressionTask ? 1 : 0;
  return comparison;
}

std::optional<double> quality_of(const ComparisonRow& row, Quality quality) {
  switch (quality) {
    case Quality::kKnowledge:
      return row.knowledge_mean;
    case Quality::kTrust:
      return row.trust_mean;
    case Quality::kWorst:
      if (row.is_baseline && !row.is_rival) return 0.0;
      return row.worst_change;
    case Quality::kPerplexity:
      if (!(row.perplexity > 0) || !std::isfinite(row.perplexity)) return std::nullopt;
      return -row.perplexity;
  }
  return std::nullopt;
}

std::vector<size_t> pareto_front(const Comparison& comparison, Quality quality) {
  std::vector<size_t> front;
  for (size_t i = 0; i < comparison.rows.size(); ++i) {
    const std::optional<double> own = quality_of(comparison.rows[i], quality);
    if (!own || comparison.rows[i].bytes <= 0) continue;
    bool is_beaten = false;
    for (size_t j = 0; j < comparison.rows.size() && !is_beaten; ++j) {
      const std::optional<double> other = quality_of(comparison.rows[j], quality);
      if (i == j || !other || comparison.rows[j].bytes <= 0) continue;
      const double bytes = comparison.rows[j].bytes - comparison.rows[i].bytes;
      is_beaten = bytes <= 0 && *other >= *own && (bytes < 0 || *other > *own || j < i);
    }
    if (!is_beaten) front.push_back(i);
  }
  std::sort(front.begin(), front.end(),
            [&](size_t a, size_t b) { return comparison.rows[a].bytes < comparison.rows[b].bytes; });
  return front;
}

const ComparisonRow* Comparison::baseline(const std::string& model) const {
  for (const ComparisonRow& row : rows)
    if (row.model == model && row.is_baseline) return &row;
  return nullptr;
}

const Column* Comparison::column(const std::string& id) const {
  for (const Column& entry : columns)
    if (entry.id == id) return &entry;
  return nullptr;
}

size_t Comparison::column_index(const std::string& id) const {
  for (size_t i = 0; i < columns.size(); ++i)
    if (columns[i].id == id) return i;
  throw_error(ErrorKind::kInternal, "no column '{}'", id);
}

std::string ComparisonRow::label() const {
  if (is_rival) return model + " (dense)";
  return shows_model ? model + " " + recipe : recipe;
}

}  // namespace ockham
