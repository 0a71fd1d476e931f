// Scripted comparisons.
#include "tests/study/recheck_fixture.h"

#include <cmath>

namespace ockham {

ComparisonCell make_cell(double change, double error) {
  ComparisonCell cell;
  cell.done = cell.planned = 1;
  cell.score = 60 + change;
  cell.has_change = true;
  cell.change.value = change;
  cell.change.interval = {change - 1.96 * error, change + 1.96 * error};
  cell.change.interval90 = {change - 1.645 * error, change + 1.645 * error};
  cell.change.smallest_effect = 2.8 * error;
  cell.change.n = 200;
  cell.interval90 = cell.change.interval90;
  cell.p_adjusted = std::abs(change) > 3 * error ? 0.001 : 1;
  cell.refusal = 0.5;
  return cell;
}

namespace {

void describe(ComparisonRow& row, const VersionSpec& version) {
  row.recipe = version.name;
  row.method = version.use.substr(0, version.use.find('-'));
  row.pattern = "unstructured";
  const std::string name = version.name;
  const bool is_quantized = row.method == "rtn" || row.method == "gptq";
  row.family = is_quantized ? MethodFamily::kQuantization : MethodFamily::kPruning;
  const std::string tail = name.substr(name.find('-') + 1);
  if (is_quantized)
    row.nominal_bits = std::stoll(tail);
  else if (tail == "2-4" || tail == "4-8") {
    row.pattern = tail == "2-4" ? "2:4" : "4:8";
    row.nominal_sparsity = 0.5;
  } else
    row.nominal_sparsity = std::stod(tail) / 100;
}

}  // namespace

Comparison make_comparison(const Claim& claim, const Script& script) {
  Comparison comparison;
  comparison.primary = "model";
  comparison.study.margin = 5;
  for (const std::string& id : kTrust) comparison.columns.push_back({id, id, id, ColumnGroup::kTrust, {id}, {}, -1});
  for (const std::string& id : kKnowledge)
    comparison.columns.push_back({id, id, id, ColumnGroup::kKnowledge, {id}, {}, -1});
  for (const char* id : {"few_shot", "zero_shot", "refusals"})
    comparison.columns.push_back({id, id, id, ColumnGroup::kOther, {id}, {}, -1});
  const auto add = [&](ComparisonRow row, const std::function<double(const std::string&)>& change) {
    for (const Column& column : comparison.columns) {
      row.cells.push_back(make_cell(change(column.id), script.error));
      row.cells.back().refusal_change = script.refusal_change(row);
      if (script.parts && column.group == ColumnGroup::kKnowledge) row.cells.back().parts = script.parts(row);
      if (script.draws) row.cells.back().draws = script.draws(row, column.id);
    }
    row.knowledge_mean = row.cells[kTrust.size() + kKnowledge.size() - 1].score;
    comparison.rows.push_back(std::move(row));
  };
  ComparisonRow dense;
  dense.model = "model";
  dense.recipe = "dense";
  dense.is_baseline = true;
  dense.family = MethodFamily::kDense;
  dense.perplexity = 10;
  add(dense, [](const std::string&) { return 0.0; });
  ComparisonRow rival = dense;
  rival.model = "rival";
  rival.is_rival = true;
  add(rival, [&](const std::string&) { return script.rival_change; });
  for (const VersionSpec& version : claim.versions({})) {
    ComparisonRow row;
    row.model = "model";
    describe(row, version);
    row.perplexity_ratio = script.perplexity_ratio(row);
    row.perplexity = 10 * row.perplexity_ratio;
    row.perplexity_low = row.perplexity * 0.999;
    row.perplexity_high = row.perplexity * 1.001;
    if (script.layers) script.layers(row);
    row.bits = row.family == MethodFamily::kQuantization ? 8.2 : 9;
    add(row, [&](const std::string& column) { return script.change(row, column); });
  }
  return comparison;
}

}  // namespace ockham
