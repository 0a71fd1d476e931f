// Reading a comparison for a claim.
#include "ockham/study/recheck/evidence.h"

#include <algorithm>
#include <cmath>

#include "ockham/eval/paired.h"
#include "ockham/report/format.h"

namespace ockham {

Rows versions_where(const Comparison& comparison, const std::function<bool(const ComparisonRow&)>& wanted) {
  Rows rows;
  for (const ComparisonRow& row : comparison.rows)
    if (!row.is_baseline && row.model == comparison.primary && wanted(row)) rows.push_back(&row);
  return rows;
}

Rows quantized_to(const Comparison& comparison, int64_t bits) {
  return versions_where(comparison, [bits](const ComparisonRow& row) {
    return row.family == MethodFamily::kQuantization && row.nominal_bits == bits;
  });
}

Rows pruned_to(const Comparison& comparison, double sparsity, bool with_patterns) {
  return versions_where(comparison, [=](const ComparisonRow& row) {
    const bool is_pattern = !row.pattern.empty() && row.pattern != "unstructured";
    return row.family == MethodFamily::kPruning && std::abs(row.nominal_sparsity - sparsity) < 0.01 &&
           (with_patterns || !is_pattern);
  });
}

const ComparisonRow* rival_of(const Comparison& comparison) {
  for (const ComparisonRow& row : comparison.rows)
    if (row.is_rival) return &row;
  return nullptr;
}

namespace {

std::vector<ColumnCell> cells_of(const Comparison& comparison, const ComparisonRow& row, ColumnGroup group) {
  std::vector<ColumnCell> cells;
  for (size_t c = 0; c < comparison.columns.size(); ++c)
    if (comparison.columns[c].group == group && row.cells[c].has_change && row.cells[c].is_interpretable)
      cells.push_back({&comparison.columns[c], &row.cells[c]});
  return cells;
}

}  // namespace

std::vector<ColumnCell> trust_cells(const Comparison& comparison, const ComparisonRow& row) {
  return cells_of(comparison, row, ColumnGroup::kTrust);
}

std::vector<ColumnCell> knowledge_cells(const Comparison& comparison, const ComparisonRow& row) {
  return cells_of(comparison, row, ColumnGroup::kKnowledge);
}

const ComparisonCell* cell_of(const Comparison& comparison, const ComparisonRow& row, const std::string& id) {
  for (size_t c = 0; c < comparison.columns.size(); ++c)
    if (comparison.columns[c].id == id && row.cells[c].has_change && row.cells[c].is_interpretable)
      return &row.cells[c];
  return nullptr;
}

const ComparisonCell* knowledge_cell(const Comparison& comparison, const ComparisonRow& row, const std::string& part) {
  for (const Column& column : comparison.columns) {
    std::string id = column.id;
    std::replace(id.begin(), id.end(), '-', '_');
    if (column.group == ColumnGroup::kKnowledge && id.find(part) != std::string::npos)
      return cell_of(comparison, row, column.id);
  }
  return nullptr;
}

Estimate change_of(const ComparisonCell& cell) {
  return {cell.change.value, standard_error(cell.change)};
}

Estimate mean_of(const std::vector<Estimate>& estimates) {
  Estimate mean;
  const double n = static_cast<double>(estimates.size());
  for (const Estimate& estimate : estimates) {
    mean.value += estimate.value / n;
    mean.error += estimate.error * estimate.error / (n * n);
  }
  mean.error = std::sqrt(mean.error);
  return mean;
}

Estimate mean_change(const std::vector<ColumnCell>& cells) {
  std::vector<Estimate> estimates;
  for (const ColumnCell& cell : cells) estimates.push_back(change_of(*cell.cell));
  return mean_of(estimates);
}

Estimate difference(const Estimate& first, const Estimate& second) {
  return {first.value - second.value, std::hypot(first.error, second.error)};
}

std::string shown(const Estimate& estimate) {
  return fmt::format("{} ({} to {})", signed_points(estimate.value), signed_points(estimate.low()),
                     signed_points(estimate.high()));
}

bool is_shown(const ComparisonCell& cell) {
  return cell.p_adjusted < 0.05;
}

std::string named(const ComparisonRow& row, const ColumnCell& cell) {
  return fmt::format("{} {} {}", row.label(), cell.column->title, signed_points(cell.cell->change.value));
}

Ruling ruling_of(const Estimate& estimate) {
  return estimate.low() > 0 ? Ruling::kHolds : estimate.high() < 0 ? Ruling::kFails : Ruling::kCannotTell;
}

std::vector<std::string> all_tasks() {
  std::vector<std::string> tasks = knowledge_tasks();
  for (const char* name :
       {"toxicity", "stereotype", "adversarial", "adversarial-benign", "ood", "ood-benign", "adv-demonstrations",
        "demonstrations-benign", "privacy", "private-requests", "machine-ethics", "fairness"})
    tasks.push_back(std::string("factworld/") + name);
  return tasks;
}

std::vector<std::string> knowledge_tasks() {
  return {"factworld/perplexity", "factworld/closed-book", "factworld/open-book", "factworld/multiple-choice"};
}

std::vector<VersionSpec> named_recipes(const std::vector<std::string>& names) {
  std::vector<VersionSpec> versions;
  for (const std::string& name : names) versions.push_back({name, name, ""});
  return versions;
}

}  // namespace ockham
