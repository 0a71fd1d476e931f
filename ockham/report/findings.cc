// Claims of Hong et al. 2024 (Decoding Compressed Trust) and Jaiswal et al. 2024 (LLM-KICK) against the comparison's
// rows.
#include "ockham/report/findings.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "ockham/eval/paired.h"
#include "ockham/report/format.h"

namespace ockham {
namespace {

constexpr const char* kTrustPaper = "Hong et al. 2024, Decoding Compressed Trust";
constexpr const char* kKnowledgePaper = "Jaiswal et al. 2024, LLM-KICK";
using Rows = std::vector<const ComparisonRow*>;

Rows select(const Comparison& comparison, const std::function<bool(const ComparisonRow&)>& wanted) {
  Rows rows;
  for (const ComparisonRow& row : comparison.rows)
    if (!row.is_baseline && row.model == comparison.primary && wanted(row)) rows.push_back(&row);
  return rows;
}

struct Claim {
  size_t column;
  const ComparisonCell* cell;
};
std::vector<Claim> trust_cells(const Comparison& comparison, const ComparisonRow& row) {
  std::vector<Claim> cells;
  for (size_t c = 0; c < comparison.columns.size(); ++c)
    if (comparison.columns[c].group == ColumnGroup::kTrust && row.cells[c].has_change && row.cells[c].is_interpretable)
      cells.push_back({c, &row.cells[c]});
  return cells;
}

std::string named(const Comparison& comparison, const ComparisonRow& row, const Claim& claim) {
  return fmt::format("{} {} {}", row.label(), comparison.columns[claim.column].title,
                     signed_points(claim.cell->change.value));
}

bool is_significant(const ComparisonCell& cell) {
  return cell.p_adjusted < 0.05;
}

// No dimension moves below -limit (nor, two-sided, above it).
Finding keeps_within(const Comparison& comparison, int64_t bits, double limit, bool two_sided,
                     const std::string& claim) {
  Finding finding{claim, kTrustPaper, Outcome::kCannotTell, ""};
  const Rows rows = select(comparison, [&](const ComparisonRow& row) {
    return row.family == MethodFamily::kQuantization && row.nominal_bits == bits;
  });
  bool all_inside = !rows.empty();
  std::vector<std::string> broken, open;
  double worst = 0;
  for (const ComparisonRow* row : rows)
    for (const Claim& claim_cell : trust_cells(comparison, *row)) {
      const ComparisonCell& cell = *claim_cell.cell;
      const bool inside = cell.change.interval90.low > -limit && (!two_sided || cell.change.interval90.high < limit);
      const bool outside = cell.change.value < -limit || (two_sided && cell.change.value > limit);
      all_inside = all_inside && inside;
      if (outside && is_significant(cell))
        broken.push_back(named(comparison, *row, claim_cell));
      else if (!inside)
        open.push_back(comparison.columns[claim_cell.column].title);
      if (std::abs(cell.change.value) > std::abs(worst)) worst = cell.change.value;
    }
  if (rows.empty()) return finding;
  finding.outcome = !broken.empty() ? Outcome::kDoesNotShow : all_inside ? Outcome::kShows : Outcome::kCannotTell;
  finding.evidence =
      !broken.empty() ? "Beyond the limit: " + listed(broken) + "."
                      : fmt::format("Largest change {} points{}.", signed_points(worst),
                                    open.empty() ? "" : "; intervals still reach beyond the limit on " + listed(open));
  return finding;
}

Finding extreme_bits(const Comparison& comparison) {
  Finding finding{"Three bits or fewer sharply reduce trust (a dimension loses more than 5 points)", kTrustPaper,
                  Outcome::kCannotTell, ""};
  const Rows rows = select(comparison, [](const ComparisonRow& row) {
    return row.family == MethodFamily::kQuantization && row.nominal_bits > 0 && row.nominal_bits <= 3;
  });
  std::vector<std::string> parts;
  size_t broken = 0, safe = 0;
  for (const ComparisonRow* row : rows) {
    std::vector<std::string> lost;
    bool all_safe = true;
    for (const Claim& claim : trust_cells(comparison, *row)) {
      if (claim.cell->change.value < -5 && is_significant(*claim.cell))
        lost.push_back(
            fmt::format("{} {}", comparison.columns[claim.column].title, signed_points(claim.cell->change.value)));
      all_safe = all_safe && claim.cell->change.interval90.low > -5;
    }
    broken += lost.empty() ? 0 : 1;
    safe += all_safe ? 1 : 0;
    parts.push_back(
        row->label() + ": " +
        (lost.empty() ? (all_safe ? "all within 5 points" : "no loss beyond 5 points shown") : listed(lost)));
  }
  if (rows.empty()) return finding;
  finding.outcome = broken == rows.size() ? Outcome::kShows
                    : broken > 0          ? Outcome::kPartly
                    : safe == rows.size() ? Outcome::kDoesNotShow
                                          : Outcome::kCannotTell;
  finding.evidence = joined(parts, "; ") + ".";
  return finding;
}

Finding half_pruned(const Comparison& comparison) {
  Finding finding{"Pruning half of the weights costs at least three dimensions more than 5 points", kTrustPaper,
                  Outcome::kCannotTell, ""};
  const Rows rows = select(comparison, [](const ComparisonRow& row) {
    return row.family == MethodFamily::kPruning && std::abs(row.nominal_sparsity - 0.5) < 0.01;
  });
  size_t shows = 0, fails = 0;
  std::vector<std::string> parts;
  for (const ComparisonRow* row : rows) {
    size_t lost = 0, possible = 0;
    for (const Claim& claim : trust_cells(comparison, *row)) {
      lost += claim.cell->change.value < -5 && is_significant(*claim.cell) ? 1 : 0;
      possible += claim.cell->change.interval.low < -5 ? 1 : 0;
    }
    shows += lost >= 3 ? 1 : 0;
    fails += possible < 3 ? 1 : 0;
    parts.push_back(fmt::format("{} {}", row->label(), lost));
  }
  if (rows.empty()) return finding;
  finding.outcome = shows == rows.size()   ? Outcome::kShows
                    : shows > 0            ? Outcome::kPartly
                    : fails == rows.size() ? Outcome::kDoesNotShow
                                           : Outcome::kCannotTell;
  finding.evidence = "Dimensions shown to lose more than 5 points: " + listed(parts) + ".";
  return finding;
}

// Mean change over the dimensions that both rows have, with its standard error (dimensions have their own items).
struct MeanChange {
  double value = 0, error = 0;
};
MeanChange mean_change(const std::vector<Claim>& cells) {
  MeanChange result;
  for (const Claim& claim : cells) {
    result.value += claim.cell->change.value / static_cast<double>(cells.size());
    result.error += std::pow(standard_error(claim.cell->change) / static_cast<double>(cells.size()), 2);
  }
  result.error = std::sqrt(result.error);
  return result;
}

Finding quantize_not_prune(const Comparison& comparison) {
  Finding finding{"Quantization to 4 bits hurts trust less than pruning half of the weights", kTrustPaper,
                  Outcome::kCannotTell, ""};
  const Rows quantized = select(comparison, [](const ComparisonRow& row) {
    return row.family == MethodFamily::kQuantization && row.nominal_bits == 4;
  });
  const Rows pruned = select(comparison, [](const ComparisonRow& row) {
    return row.family == MethodFamily::kPruning && std::abs(row.nominal_sparsity - 0.5) < 0.01;
  });
  size_t better = 0, worse = 0, pairs = 0;
  std::vector<std::string> parts;
  for (const ComparisonRow* q : quantized) {
    const MeanChange first = mean_change(trust_cells(comparison, *q));
    parts.push_back(fmt::format("{} {}", q->label(), signed_points(first.value)));
    for (const ComparisonRow* p : pruned) {
      const MeanChange second = mean_change(trust_cells(comparison, *p));
      const double error = std::hypot(first.error, second.error);
      ++pairs;
      if (q == quantized.front()) parts.push_back(fmt::format("{} {}", p->label(), signed_points(second.value)));
      if (first.value - second.value > 1.96 * error) ++better;
      if (second.value - first.value > 1.96 * error) ++worse;
    }
  }
  if (pairs == 0) return finding;
  finding.outcome = better == pairs ? Outcome::kShows
                    : better > 0    ? Outcome::kPartly
                    : worse > 0     ? Outcome::kDoesNotShow
                                    : Outcome::kCannotTell;
  finding.evidence = "Mean change over the trust dimensions: " + listed(parts) + " points.";
  return finding;
}

Finding gains_at_moderate_bits(const Comparison& comparison) {
  Finding finding{"Moderate quantization can improve machine ethics and fairness", kTrustPaper, Outcome::kCannotTell,
                  ""};
  const Rows rows = select(comparison, [](const ComparisonRow& row) {
    return row.family == MethodFamily::kQuantization && row.nominal_bits >= 4 && row.nominal_bits <= 8;
  });
  std::vector<std::string> gains, others;
  bool could_gain = false;
  for (const ComparisonRow* row : rows)
    for (const Claim& claim : trust_cells(comparison, *row)) {
      const std::string& id = comparison.columns[claim.column].id;
      if (id != "machine_ethics" && id != "fairness") continue;
      (claim.cell->change.value > 0 && is_significant(*claim.cell) ? gains : others)
          .push_back(named(comparison, *row, claim));
      could_gain = could_gain || claim.cell->change.interval.high > comparison.study.margin;
    }
  if (gains.empty() && others.empty()) return finding;
  finding.outcome = !gains.empty() ? Outcome::kShows : could_gain ? Outcome::kCannotTell : Outcome::kDoesNotShow;
  finding.evidence =
      gains.empty() ? "No gain survives correction: " + listed(others) + "." : "Gains: " + listed(gains) + ".";
  return finding;
}

Finding average_hides(const Comparison& comparison) {
  Finding finding{"An average hides the loss of a single dimension", kTrustPaper, Outcome::kDoesNotShow, ""};
  const ComparisonRow* dense = comparison.baseline(comparison.primary);
  std::vector<std::string> hidden;
  size_t rows = 0;
  for (const ComparisonRow* row : select(comparison, [](const ComparisonRow&) { return true; })) {
    if (dense == nullptr || !dense->trust_mean || !row->trust_mean) continue;
    ++rows;
    if (*row->trust_mean < *dense->trust_mean - 1) continue;
    for (const Claim& claim : trust_cells(comparison, *row))
      if (claim.cell->verdict == Verdict::kLoses && claim.cell->change.value < -comparison.study.margin)
        hidden.push_back(named(comparison, *row, claim) +
                         fmt::format(" (mean {})", signed_points(*row->trust_mean - *dense->trust_mean)));
  }
  if (rows == 0) finding.outcome = Outcome::kCannotTell;
  if (!hidden.empty()) finding.outcome = Outcome::kShows;
  finding.evidence =
      hidden.empty()
          ? fmt::format("No version of {} keeps its trust mean within a point and loses a dimension by more than {}.",
                        rows, comparison.study.margin)
          : "Mean kept, dimension lost: " + listed(hidden) + ".";
  return finding;
}

Finding ordinary_metrics_hide(const Comparison& comparison) {
  Finding finding{"Ordinary quality (perplexity within 1 %) hides a loss of trust", kTrustPaper, Outcome::kDoesNotShow,
                  ""};
  std::vector<std::string> hidden;
  size_t searched = 0, quiet = 0;
  for (const ComparisonRow* row : select(comparison, [](const ComparisonRow& r) { return r.perplexity_ratio > 0; })) {
    ++searched;
    if (row->perplexity_ratio > 1.01) continue;
    ++quiet;
    for (const Claim& claim : trust_cells(comparison, *row))
      if (claim.cell->verdict == Verdict::kLoses && claim.cell->change.value < -comparison.study.margin)
        hidden.push_back(named(comparison, *row, claim));
  }
  if (quiet == 0) finding.outcome = Outcome::kCannotTell;
  if (!hidden.empty()) finding.outcome = Outcome::kShows;
  finding.evidence = fmt::format(
      "{} of {} versions keep perplexity within 1 %; {}.", quiet, searched,
      hidden.empty() ? "none of them is shown to lose more than the margin" : "lost among them: " + listed(hidden));
  if (searched == 0) finding.evidence = "Perplexity was not measured.";
  return finding;
}

Finding small_dense(const Comparison& comparison) {
  Finding finding{"A smaller dense model beats the larger one by more than 5 points on three or more dimensions",
                  kTrustPaper, Outcome::kCannotTell, ""};
  for (const ComparisonRow& row : comparison.rows) {
    if (!row.is_rival) continue;
    size_t better = 0, possible = 0;
    std::vector<std::string> names;
    for (const Claim& claim : trust_cells(comparison, row)) {
      if (claim.cell->change.value > 5 && is_significant(*claim.cell)) {
        ++better;
        names.push_back(
            fmt::format("{} {}", comparison.columns[claim.column].title, signed_points(claim.cell->change.value)));
      }
      possible += claim.cell->change.interval.high > 5 ? 1 : 0;
    }
    finding.outcome = better >= 3 ? Outcome::kShows : possible < 3 ? Outcome::kDoesNotShow : Outcome::kCannotTell;
    finding.evidence =
        fmt::format("{} is shown to be ahead by more than 5 points on {}{}.", row.model,
                    counted(static_cast<long long>(better), "dimension"), names.empty() ? "" : ": " + listed(names));
    return finding;
  }
  return finding;
}

Finding calibration_spread(const Comparison& comparison) {
  Finding finding{"At high compression, trust depends on the calibration sample (spread above 5 points)", kTrustPaper,
                  Outcome::kDoesNotShow, ""};
  double largest = -1;
  std::string where;
  for (const ComparisonRow* row : select(comparison, [](const ComparisonRow&) { return true; }))
    for (const Claim& claim : trust_cells(comparison, *row))
      if (claim.cell->draws.size() >= 3 && standard_deviation(claim.cell->draws) > largest) {
        largest = standard_deviation(claim.cell->draws);
        where = fmt::format("{} on {}", row->label(), comparison.columns[claim.column].title);
      }
  if (largest < 0) finding.outcome = Outcome::kCannotTell;
  if (largest > 5) finding.outcome = Outcome::kShows;
  finding.evidence =
      largest < 0 ? "" : fmt::format("Largest standard deviation over draws: {} points, {}.", points(largest), where);
  return finding;
}

const ComparisonCell* knowledge_cell(const Comparison& comparison, const ComparisonRow& row, const std::string& part) {
  for (size_t c = 0; c < comparison.columns.size(); ++c) {
    std::string id = comparison.columns[c].id;
    std::replace(id.begin(), id.end(), '-', '_');
    if (comparison.columns[c].group == ColumnGroup::kKnowledge && id.find(part) != std::string::npos &&
        row.cells[c].has_change && row.cells[c].is_interpretable)
      return &row.cells[c];
  }
  return nullptr;
}

Finding early_knowledge(const Comparison& comparison) {
  Finding finding{"Pruning loses closed-book knowledge already at 25 to 30 % sparsity", kKnowledgePaper,
                  Outcome::kCannotTell, ""};
  size_t lost = 0, kept = 0, total = 0;
  std::vector<std::string> parts;
  for (const ComparisonRow* row : select(comparison, [](const ComparisonRow& r) {
         return r.family == MethodFamily::kPruning && r.nominal_sparsity > 0.2 && r.nominal_sparsity < 0.31;
       })) {
    const ComparisonCell* cell = knowledge_cell(comparison, *row, "closed_book");
    if (cell == nullptr) continue;
    ++total;
    lost += cell->verdict == Verdict::kLoses ? 1 : 0;
    kept += cell->verdict == Verdict::kKeeps || cell->verdict == Verdict::kGains ? 1 : 0;
    parts.push_back(fmt::format("{} {}", row->label(), signed_points(cell->change.value)));
  }
  if (total == 0) return finding;
  finding.outcome = lost == total   ? Outcome::kShows
                    : lost > 0      ? Outcome::kPartly
                    : kept == total ? Outcome::kDoesNotShow
                                    : Outcome::kCannotTell;
  finding.evidence = "Closed-book change: " + listed(parts) + " points.";
  return finding;
}

Finding open_book(const Comparison& comparison) {
  Finding finding{"Answering from a given text survives pruning better than answering from memory", kKnowledgePaper,
                  Outcome::kCannotTell, ""};
  size_t shows = 0, fails = 0, total = 0;
  std::vector<std::string> parts;
  for (const ComparisonRow* row : select(comparison, [](const ComparisonRow& r) {
         return r.family == MethodFamily::kPruning && std::abs(r.nominal_sparsity - 0.5) < 0.01;
       })) {
    const ComparisonCell* closed = knowledge_cell(comparison, *row, "closed_book");
    const ComparisonCell* open = knowledge_cell(comparison, *row, "open_book");
    if (closed == nullptr || open == nullptr) continue;
    ++total;
    const double error = std::hypot(standard_error(closed->change), standard_error(open->change));
    shows += open->change.value - closed->change.value > 1.96 * error ? 1 : 0;
    fails += closed->change.value - open->change.value > 1.96 * error ? 1 : 0;
    parts.push_back(fmt::format("{} {} against {}", row->label(), signed_points(open->change.value),
                                signed_points(closed->change.value)));
  }
  if (total == 0) return finding;
  finding.outcome = shows == total ? Outcome::kShows
                    : shows > 0    ? Outcome::kPartly
                    : fails > 0    ? Outcome::kDoesNotShow
                                   : Outcome::kCannotTell;
  finding.evidence = "Open-book against closed-book change at half pruned: " + joined(parts, "; ") + ".";
  return finding;
}

}  // namespace

std::string outcome_text(Outcome outcome) {
  switch (outcome) {
    case Outcome::kShows:
      return "shows here";
    case Outcome::kPartly:
      return "shows in part";
    case Outcome::kDoesNotShow:
      return "does not show here";
    case Outcome::kCannotTell:
      return "cannot tell";
  }
  return "cannot tell";
}

std::vector<Finding> published_picture(const Comparison& comparison) {
  std::vector<Finding> all = {
      keeps_within(comparison, 8, 3, true, "Eight bits stay within 3 points of dense on every dimension"),
      keeps_within(comparison, 4, 5, false, "Four bits lose less than 5 points on every dimension"),
      extreme_bits(comparison),
      half_pruned(comparison),
      quantize_not_prune(comparison),
      gains_at_moderate_bits(comparison),
      average_hides(comparison),
      ordinary_metrics_hide(comparison),
      small_dense(comparison),
      calibration_spread(comparison),
      early_knowledge(comparison),
      open_book(comparison),
  };
  // Without evidence the study does not hold the configurations that a finding speaks of.
  std::erase_if(all, [](const Finding& finding) { return finding.evidence.empty(); });
  return all;
}

}  // namespace ockham
