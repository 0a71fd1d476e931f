// Means over cells and groups of cells.
#include "ockham/eval/scorers/combine.h"

#include <cmath>
#include <limits>

namespace ockham {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

template <typename Body>
void for_each(const ItemTable& table, std::span<const int32_t> picked, Body body) {
  if (picked.empty()) {
    for (const ItemValue& item : table.items) body(item);
  } else {
    for (const int32_t index : picked) body(table.items[static_cast<size_t>(index)]);
  }
}

}  // namespace

std::string_view first_segment(std::string_view cell) {
  return cell.substr(0, cell.find('/'));
}

bool has_prefix_segment(std::string_view cell, std::string_view prefix) {
  return cell.starts_with(prefix) && (cell.size() == prefix.size() || cell[prefix.size()] == '/');
}

double plain_mean(const ItemTable& table, std::span<const int32_t> picked, ItemNumber number) {
  std::vector<char> is_scored(table.cells.size());
  for (size_t i = 0; i < is_scored.size(); ++i) is_scored[i] = first_segment(table.cells[i]) != "control";
  double sum = 0, count = 0;
  for_each(table, picked, [&](const ItemValue& item) {
    const double used = is_scored[static_cast<size_t>(item.cell)];
    sum += used * number(item);
    count += used;
  });
  return count > 0 ? sum / count : 0;
}

CellSums cell_sums(const ItemTable& table, std::span<const int32_t> picked, ItemNumber number, ItemNumber weight) {
  CellSums sums{std::vector<double>(table.cells.size()), std::vector<double>(table.cells.size())};
  for_each(table, picked, [&](const ItemValue& item) {
    const double share = weight != nullptr ? weight(item) : 1;
    sums.sum[static_cast<size_t>(item.cell)] += share * number(item);
    sums.weight[static_cast<size_t>(item.cell)] += share;
  });
  return sums;
}

std::vector<double> ratios(const CellSums& sums) {
  std::vector<double> values(sums.sum.size(), kNothing);
  for (size_t i = 0; i < values.size(); ++i)
    if (sums.weight[i] > 0) values[i] = sums.sum[i] / sums.weight[i];
  return values;
}

double nested_mean(const std::vector<std::string>& cells, const std::vector<double>& values,
                   const CellTransform& transform, const GroupWeight& weight) {
  struct Group {
    std::string_view name;
    double sum = 0, count = 0;
  };
  std::vector<Group> groups;
  for (size_t i = 0; i < cells.size(); ++i) {
    const std::string_view name = first_segment(cells[i]);
    const double value = transform ? transform(cells[i], values[i]) : values[i];
    if (name == "control" || std::isnan(value)) continue;
    auto group = groups.begin();
    while (group != groups.end() && group->name != name) ++group;
    if (group == groups.end()) group = groups.insert(group, Group{name});
    group->sum += value;
    group->count += 1;
  }
  double sum = 0, total = 0;
  for (const Group& group : groups) {
    const double share = weight ? weight(group.name) : 1;
    sum += share * group.sum / group.count;
    total += share;
  }
  return total > 0 ? sum / total : 0;
}

}  // namespace ockham
