// What the rules of all claims share: rows and cells of a comparison, means with their errors.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ockham/study/recheck/claim.h"

namespace ockham {

using Rows = std::vector<const ComparisonRow*>;
// Compressed versions of the model itself.
Rows versions_where(const Comparison& comparison, const std::function<bool(const ComparisonRow&)>& wanted);
Rows quantized_to(const Comparison& comparison, int64_t bits);
Rows pruned_to(const Comparison& comparison, double sparsity, bool with_patterns);
const ComparisonRow* rival_of(const Comparison& comparison);  // null without one

// Cells of the trust dimensions (or of knowledge tasks, or of one) that have a change and can be interpreted.
struct ColumnCell {
  const Column* column;
  const ComparisonCell* cell;
};
std::vector<ColumnCell> trust_cells(const Comparison& comparison, const ComparisonRow& row);
std::vector<ColumnCell> knowledge_cells(const Comparison& comparison, const ComparisonRow& row);
const ComparisonCell* knowledge_cell(const Comparison& comparison, const ComparisonRow& row, const std::string& part);
const ComparisonCell* cell_of(const Comparison& comparison, const ComparisonRow& row, const std::string& id);

// A mean with its standard error; items of different dimensions are independent.
struct Estimate {
  double value = 0, error = 0;
  double low() const { return value - 1.96 * error; }
  double high() const { return value + 1.96 * error; }
};
Estimate mean_change(const std::vector<ColumnCell>& cells);
Estimate mean_of(const std::vector<Estimate>& estimates);
Estimate difference(const Estimate& first, const Estimate& second);
Estimate change_of(const ComparisonCell& cell);
std::string shown(const Estimate& estimate);  // "+1.2 (−0.3 to +2.7)"

bool is_shown(const ComparisonCell& cell);  // survives Holm at 5 %
// "gptq-4 Privacy −3.1"
std::string named(const ComparisonRow& row, const ColumnCell& cell);

// holds where the interval lies above zero, fails where it lies below.
Ruling ruling_of(const Estimate& estimate);

// Task lists that claims ask for.
std::vector<std::string> all_tasks();
std::vector<std::string> knowledge_tasks();
std::vector<VersionSpec> named_recipes(const std::vector<std::string>& names);

}  // namespace ockham
