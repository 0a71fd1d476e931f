// Filters by limits, then takes the smallest; without limits on behaviour the least damaged.
#include "ockham/report/recommend.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ockham/core/error.h"
#include "ockham/core/params.h"
#include "ockham/report/format.h"

namespace ockham {
namespace {

std::string plain(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  std::replace(name.begin(), name.end(), ' ', '_');
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name;
}

std::vector<size_t> columns_named(const Comparison& comparison, const std::string& name) {
  std::vector<size_t> found;
  const std::string wanted = plain(name);
  std::vector<std::string> known = {"all", "trust", "knowledge"};
  for (size_t c = 0; c < comparison.columns.size(); ++c) {
    const Column& column = comparison.columns[c];
    const bool in_group = (wanted == "all" && column.group != ColumnGroup::kOther) ||
                          (wanted == "trust" && column.group == ColumnGroup::kTrust) ||
                          (wanted == "knowledge" && column.group == ColumnGroup::kKnowledge);
    const std::string last = column.id.substr(column.id.rfind('/') + 1);
    const bool is_task = std::find(column.tasks.begin(), column.tasks.end(), name) != column.tasks.end();
    if (in_group || is_task || wanted == plain(column.id) || wanted == plain(last) || wanted == plain(column.title) ||
        wanted == plain(dimension_title(column.id)))
      found.push_back(c);
    known.push_back(column.id);
    known.push_back(plain(column.title));
  }
  // "ethics" for "machine_ethics" and the like, where only one column is meant.
  if (found.empty())
    for (size_t c = 0; c < comparison.columns.size(); ++c)
      if (plain(comparison.columns[c].title).find(wanted) != std::string::npos) found.push_back(c);
  if (found.size() > 1 && wanted != "all" && wanted != "trust" && wanted != "knowledge") found.clear();
  if (found.empty()) {
    const std::string near = closest_name(wanted, known);
    std::vector<std::string> ids;
    for (const Column& column : comparison.columns) ids.push_back(column.id);
    throw_error(ErrorKind::kUsage,
                "--limit: '{}' is no dimension of these results; {}expected all, trust, knowledge or one of: {}", name,
                near.empty() ? "" : "did you mean '" + near + "'? ", joined(ids));
  }
  return found;
}

LimitCheck check_change(const ComparisonCell& cell, const Column& column, double limit, bool by_estimate) {
  LimitCheck check;
  check.limit = fmt::format("{} may fall by at most {}", column.title, points(-limit));
  if (!cell.has_change || cell.done < cell.planned) {
    check.measured = "not measured completely";
    check.excess = 100;
    return check;
  }
  if (!cell.is_interpretable) {
    check.measured = "dense is at chance, so nothing can be said";
    check.excess = 100;
    return check;
  }
  const double value = by_estimate ? cell.change.value : cell.change.interval90.low;
  check.measured = fmt::format("{} (90 %: {} to {})", signed_points(cell.change.value),
                               signed_points(cell.change.interval90.low), signed_points(cell.change.interval90.high));
  check.is_met = value >= limit;
  check.excess = std::max(0.0, limit - value);
  return check;
}

LimitCheck check_score(const ComparisonCell& cell, const Column& column, double limit, bool by_estimate) {
  LimitCheck check;
  check.limit = fmt::format("{} at least {}", column.title, points(limit));
  if (cell.done == 0 || cell.done < cell.planned) {
    check.measured = "not measured completely";
    check.excess = 100;
    return check;
  }
  const double value = by_estimate ? cell.score : cell.interval.low;
  check.measured =
      fmt::format("{} (95 %: {} to {})", points(cell.score), points(cell.interval.low), points(cell.interval.high));
  check.is_met = value >= limit;
  check.excess = std::max(0.0, limit - value);
  return check;
}

Candidate judge(const Comparison& comparison, size_t index, const Limits& limits) {
  const ComparisonRow& row = comparison.rows[index];
  Candidate candidate;
  candidate.row = index;
  if (limits.max_bytes > 0) {
    LimitCheck check;
    check.limit = "at most " + bytes_text(limits.max_bytes);
    check.measured = row.bytes > 0 ? bytes_text(row.bytes) : "not measured";
    check.is_met = row.bytes > 0 && row.bytes <= limits.max_bytes;
    check.excess = check.is_met ? 0 : row.bytes > 0 ? 100 * (row.bytes / limits.max_bytes - 1) : 100;
    candidate.checks.push_back(check);
  }
  for (const auto& [name, limit] : limits.changes)
    for (size_t c : columns_named(comparison, name))
      candidate.checks.push_back(check_change(row.cells[c], comparison.columns[c], limit, limits.by_estimate));
  for (const auto& [name, limit] : limits.scores)
    for (size_t c : columns_named(comparison, name))
      candidate.checks.push_back(check_score(row.cells[c], comparison.columns[c], limit, limits.by_estimate));
  for (const auto& [name, limit] : limits.refusals)
    for (size_t c : columns_named(comparison, name)) {
      const double refusal = row.cells[c].refusal;
      candidate.checks.push_back(
          {fmt::format("refusals in {} at least {}", comparison.columns[c].title, percent(limit)),
           refusal < 0 ? "not measured" : percent(refusal), refusal >= limit,
           refusal >= limit ? 0 : 100 * (limit - std::max(0.0, refusal))});
    }
  if (limits.max_perplexity_ratio > 0) {
    const bool is_met = row.perplexity_ratio > 0 && row.perplexity_ratio <= limits.max_perplexity_ratio;
    candidate.checks.push_back(
        {fmt::format("perplexity at most ×{:.3g}", limits.max_perplexity_ratio),
         row.perplexity_ratio > 0 ? fmt::format("×{:.3f}", row.perplexity_ratio) : "not measured", is_met,
         is_met ? 0 : 100 * std::max(0.0, row.perplexity_ratio - limits.max_perplexity_ratio)});
  }
  for (const LimitCheck& check : candidate.checks) candidate.excess += check.is_met ? 0 : std::max(check.excess, 1e-6);
  return candidate;
}

}  // namespace

bool Candidate::is_met() const {
  return std::all_of(checks.begin(), checks.end(), [](const LimitCheck& check) { return check.is_met; });
}

Recommendation recommend(const Comparison& comparison, const Limits& limits) {
  Recommendation result;
  for (size_t i = 0; i < comparison.rows.size(); ++i)
    if (!comparison.rows[i].is_baseline || comparison.rows[i].is_rival)
      result.all.push_back(judge(comparison, i, limits));
  const bool has_behaviour =
      !limits.changes.empty() || !limits.scores.empty() || !limits.refusals.empty() || limits.max_perplexity_ratio > 0;
  // Ties go to the row that stands first in the study, so that the same input gives the same answer.
  const auto is_better = [&](const Candidate& a, const Candidate& b) {
    const ComparisonRow& first = comparison.rows[a.row];
    const ComparisonRow& second = comparison.rows[b.row];
    if (!has_behaviour) return first.worst_change.value_or(-1000) > second.worst_change.value_or(-1000);
    return first.bytes > 0 && (second.bytes <= 0 || first.bytes < second.bytes);
  };
  size_t meeting = 0;
  for (const Candidate& candidate : result.all) {
    if (candidate.is_met()) {
      ++meeting;
      if (!result.choice || is_better(candidate, *result.choice)) result.choice = candidate;
    } else if (!result.nearest || candidate.excess < result.nearest->excess) {
      result.nearest = candidate;
    }
  }
  const std::string evidence = limits.by_estimate ? "by the estimates" : "by the worse end of the intervals";
  if (!result.choice) {
    result.rule = fmt::format("none of {} configurations meets all limits, {}", result.all.size(), evidence);
  } else if (has_behaviour) {
    result.rule = fmt::format("the smallest of {} that meet all limits, {}",
                              counted(static_cast<long long>(meeting), "configuration"), evidence);
  } else {
    result.rule = fmt::format(
        "no limit on behaviour was given: the least worst change of a trust dimension among {} within the size",
        counted(static_cast<long long>(meeting), "configuration"));
  }
  return result;
}

size_t median_draw(const Comparison& comparison, const ComparisonRow& row) {
  std::vector<double> sums(row.seeds.size(), 0);
  for (size_t c = 0; c < comparison.columns.size(); ++c)
    if (comparison.columns[c].group == ColumnGroup::kTrust && row.cells[c].draws.size() == sums.size())
      for (size_t s = 0; s < sums.size(); ++s) sums[s] += row.cells[c].draws[s];
  std::vector<size_t> order(sums.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return sums[a] < sums[b]; });
  return order.empty() ? 0 : order[(order.size() - 1) / 2];
}

}  // namespace ockham
