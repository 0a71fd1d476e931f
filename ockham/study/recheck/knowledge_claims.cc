// Claims about knowledge: where it breaks, what survives, and whether a smaller dense model would have done as well.
#include <algorithm>
#include <cmath>

#include "ockham/report/format.h"
#include "ockham/study/recheck/evidence.h"

namespace ockham {
namespace {

constexpr const char* kKnowledgePaper = "Jaiswal et al. 2024, LLM-KICK";

constexpr int kSparsities[] = {10, 20, 30, 40, 50, 60, 70, 80, 90};

// The first sparsity whose closed-book loss is shown to exceed the margin.
Recheck knowledge_knee(const Comparison& comparison, const RecheckSettings& settings) {
  Recheck result;
  const double margin = settings.margin > 0 ? settings.margin : comparison.study.margin;
  result.table = {{"method", "sparsity", "closed-book change", "perplexity"}};
  int early = 0, late = 0, curves = 0;
  std::vector<std::string> knees;
  for (const char* method : {"magnitude", "wanda"}) {
    int first_lost = 0, last_kept = 0;
    for (const int sparsity : kSparsities) {
      for (const ComparisonRow* row : pruned_to(comparison, sparsity / 100.0, false)) {
        const ComparisonCell* cell = row->method == method ? knowledge_cell(comparison, *row, "closed_book") : nullptr;
        if (cell == nullptr) continue;
        result.table.push_back(
            {method, fmt::format("{} %", sparsity), shown(change_of(*cell)), fmt::format("{:.4g}", row->perplexity)});
        if (first_lost == 0 && cell->change.interval.high < -margin) first_lost = sparsity;
        if (cell->change.interval90.low > -margin) last_kept = sparsity;
      }
    }
    if (result.table.size() == 1) continue;
    ++curves;
    early += first_lost > 0 && first_lost <= 30;
    late += last_kept >= 30;
    knees.push_back(
        fmt::format("{} {}", method, first_lost == 0 ? "none up to 90 %" : fmt::format("{} %", first_lost)));
  }
  if (curves == 0) return result;
  result.ruling = early == curves ? Ruling::kHolds : late == curves ? Ruling::kFails : Ruling::kCannotTell;
  result.evidence = fmt::format("First sparsity with a loss beyond {} points: {}.", points(margin), listed(knees));
  return result;
}

// N:M against unstructured at half of the weights.
Recheck nm_knowledge(const Comparison& comparison, const RecheckSettings&) {
  Recheck result;
  result.table = {{"version", "closed-book score", "share of dense lost"}};
  const ComparisonRow* dense = comparison.baseline(comparison.primary);
  size_t shows = 0, fails = 0, rows = 0;
  for (const ComparisonRow* row : pruned_to(comparison, 0.5, true)) {
    const ComparisonCell* cell = knowledge_cell(comparison, *row, "closed_book");
    if (cell == nullptr || dense == nullptr) continue;
    const double before = cell->score - cell->change.value;
    if (before <= 0) continue;
    const Estimate lost = {-cell->change.value / before, change_of(*cell).error / before};
    result.table.push_back({row->label(), points(cell->score), percent(lost.value)});
    const bool is_pattern = !row->pattern.empty() && row->pattern != "unstructured";
    if (!is_pattern) continue;
    ++rows;
    shows += lost.low() >= 0.5;
    fails += lost.high() < 0.5;
  }
  if (rows == 0) return result;
  result.ruling = shows == rows ? Ruling::kHolds : fails == rows ? Ruling::kFails : Ruling::kCannotTell;
  result.evidence = fmt::format(
      "{} of {} N:M versions are shown to lose at least half of the closed-book answers, {} to "
      "lose less.",
      shows, rows, fails);
  return result;
}

Recheck in_context(const Comparison& comparison, const RecheckSettings&) {
  Recheck result;
  result.table = {{"version", "open book", "closed book", "open minus closed"}};
  size_t shows = 0, fails = 0, rows = 0;
  for (const double sparsity : {0.5, 0.6}) {
    for (const ComparisonRow* row : pruned_to(comparison, sparsity, false)) {
      const ComparisonCell *open = knowledge_cell(comparison, *row, "open_book"),
                           *closed = knowledge_cell(comparison, *row, "closed_book");
      if (open == nullptr || closed == nullptr) continue;
      const Estimate ahead = difference(change_of(*open), change_of(*closed));
      ++rows;
      shows += ahead.low() > 0;
      fails += ahead.high() < 0;
      result.table.push_back({row->label(), shown(change_of(*open)), shown(change_of(*closed)), shown(ahead)});
    }
  }
  if (rows == 0) return result;
  result.ruling = shows == rows ? Ruling::kHolds : fails == rows ? Ruling::kFails : Ruling::kCannotTell;
  result.evidence = fmt::format(
      "In {} of {} versions reading from a text is shown to suffer less than memory, in {} more.", shows, rows, fails);
  return result;
}

// Each pruner at about the rival's size against the rival itself.
Recheck large_vs_small(const Comparison& comparison, const RecheckSettings&) {
  Recheck result;
  const ComparisonRow* rival = rival_of(comparison);
  if (rival == nullptr) return result;
  result.table = {{"version", "on disk", "knowledge", "behind the smaller dense model"}};
  std::vector<std::pair<const Column*, const ComparisonCell*>> small;
  for (size_t c = 0; c < comparison.columns.size(); ++c)
    if (comparison.columns[c].group == ColumnGroup::kKnowledge && rival->cells[c].has_change)
      small.emplace_back(&comparison.columns[c], &rival->cells[c]);
  size_t behind = 0, ahead = 0, rows = 0;
  for (const ComparisonRow* row :
       versions_where(comparison, [](const ComparisonRow& r) { return r.family == MethodFamily::kPruning; })) {
    std::vector<Estimate> gaps;
    for (const auto& [column, cell] : small)
      if (const ComparisonCell* own = cell_of(comparison, *row, column->id); own != nullptr)
        gaps.push_back(difference(change_of(*cell), change_of(*own)));
    if (gaps.empty()) continue;
    const Estimate gap = mean_of(gaps);
    ++rows;
    behind += gap.low() > 0;
    ahead += gap.high() < 0;
    result.table.push_back(
        {row->label(), bytes_text(row->bytes), row->knowledge_mean ? points(*row->knowledge_mean) : "–", shown(gap)});
  }
  if (rows == 0) return result;
  result.ruling = behind == rows ? Ruling::kHolds : ahead == rows ? Ruling::kFails : Ruling::kCannotTell;
  result.evidence =
      fmt::format("{} of {} pruned versions are shown to be behind {}, {} ahead.", behind, rows, rival->label(), ahead);
  return result;
}

std::vector<VersionSpec> sparsity_grid(const RecheckSettings&) {
  std::vector<VersionSpec> versions;
  for (const char* method : {"magnitude", "wanda"})
    for (const int sparsity : kSparsities)
      versions.push_back(
          {fmt::format("{}-{}", method, sparsity), method, fmt::format("{{sparsity: {:.1f}}}", sparsity / 100.0)});
  return versions;
}

}  // namespace

std::vector<Claim> knowledge_claims() {
  return {
      {"in-context", "Reading from a given text survives pruning better than memory", kKnowledgePaper,
       "open-book loss against closed-book loss at 50 and 60 %", "longer contexts suffer more", false, 3,
       [](const RecheckSettings&) {
         std::vector<VersionSpec> versions =
             named_recipes({"magnitude-50", "wanda-50", "sparsegpt-50", "sparsegpt-60"});
         versions.push_back({"wanda-60", "wanda", "{sparsity: 0.6}"});
         return versions;
       },
       knowledge_tasks(), in_context},
      {"knowledge-knee", "Pruning loses closed-book knowledge at trivial sparsity (25 to 30 %)", kKnowledgePaper,
       "the first sparsity whose loss is shown to exceed the margin", "frequent facts break later than rare ones",
       false, 1, sparsity_grid, knowledge_tasks(), knowledge_knee},
      {"large-vs-small", "A pruned large model loses to a small dense one of equal size", kKnowledgePaper,
       "mean knowledge against the rival's, with intervals", "before any recovery training", true, 3,
       [](const RecheckSettings&) {
         return named_recipes({"magnitude-70", "wanda-70", "sparsegpt-70"});
       },
       knowledge_tasks(), large_vs_small},
      {"nm-knowledge", "N:M pruning loses half of the knowledge or more", kKnowledgePaper,
       "share of closed-book answers lost, with intervals", "layer error of 2:4 is twice that of unstructured", false,
       3,
       [](const RecheckSettings&) {
         return named_recipes({"magnitude-50", "wanda-50", "sparsegpt-50", "magnitude-2-4", "wanda-2-4",
                               "sparsegpt-2-4", "sparsegpt-4-8"});
       },
       knowledge_tasks(), nm_knowledge},
  };
}

}  // namespace ockham
