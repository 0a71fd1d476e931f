// Ways to combine item values into one number, shared by the scorers. Cells are named "group/cell/..."; a nested mean
// weighs every group equally, every cell of a group equally, every item of a cell equally. The group "control" is never
// scored.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ockham/eval/scorers/scorer.h"

namespace ockham {

using ItemNumber = double (*)(const ItemValue&);
inline double item_value(const ItemValue& item) {
  return item.value;
}
inline double item_refusal(const ItemValue& item) {
  return item.refusal;
}

// Mean of `number` over the picked items, without regard to cells; items of "control" cells are left out.
double plain_mean(const ItemTable& table, std::span<const int32_t> picked, ItemNumber number);
// Sums of every cell in one pass. `weight` 0 leaves an item out of the denominator.
struct CellSums {
  std::vector<double> sum, weight;  // one per cell
};
CellSums cell_sums(const ItemTable& table, std::span<const int32_t> picked, ItemNumber number,
                   ItemNumber weight = nullptr);
// Nested mean of per-cell values. `transform(cell name, value)` may invert or drop (NaN) a cell; groups may be
// weighted.
using CellTransform = std::function<double(std::string_view cell, double value)>;
using GroupWeight = std::function<double(std::string_view group)>;
double nested_mean(const std::vector<std::string>& cells, const std::vector<double>& values,
                   const CellTransform& transform = {}, const GroupWeight& weight = {});
// sums.sum / sums.weight per cell; NaN where a cell has no weight.
std::vector<double> ratios(const CellSums& sums);

std::string_view first_segment(std::string_view cell);  // "backdoor/badword" -> "backdoor"
bool has_prefix_segment(std::string_view cell, std::string_view prefix);

}  // namespace ockham
