// Answers to the questions a study is run for.
#include "ockham/report/verdict.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "ockham/report/findings.h"
#include "ockham/report/format.h"

namespace ockham {
namespace {

// A rise of perplexity that a reader of perplexity alone would take as a warning.
constexpr double kPerplexityWarning = 1.05;

bool is_claim(const Comparison& comparison, size_t column) {
  return comparison.columns[column].group != ColumnGroup::kOther;
}

std::vector<const ComparisonRow*> compressed_rows(const Comparison& comparison) {
  std::vector<const ComparisonRow*> rows;
  for (const ComparisonRow& row : comparison.rows)
    if (!row.is_baseline && row.model == comparison.primary) rows.push_back(&row);
  return rows;
}

const ComparisonCell* worst_loss(const Comparison& comparison, const ComparisonRow& row, bool trust_only,
                                 std::string& title) {
  const ComparisonCell* worst = nullptr;
  for (size_t c = 0; c < row.cells.size(); ++c) {
    const ComparisonCell& cell = row.cells[c];
    if (!is_claim(comparison, c) || !cell.has_change || !cell.is_interpretable || cell.verdict != Verdict::kLoses)
      continue;
    if (trust_only && comparison.columns[c].group != ColumnGroup::kTrust) continue;
    if (worst == nullptr || cell.change.value < worst->change.value) {
      worst = &cell;
      title = comparison.columns[c].title;
    }
  }
  return worst;
}

std::string size_text(const Comparison& comparison, const ComparisonRow& row) {
  const ComparisonRow* dense = comparison.baseline(row.model);
  if (row.bytes <= 0) return "size not measured";
  if (dense == nullptr || dense->bytes <= 0) return bytes_text(row.bytes);
  return fmt::format("{}, {} of the dense model", bytes_text(row.bytes), percent(row.bytes / dense->bytes));
}

Answer smallest(const Comparison& comparison, const std::vector<const ComparisonRow*>& rows) {
  Answer answer;
  answer.question =
      fmt::format("What is the smallest version that keeps everything within {} points?", comparison.study.margin);
  const ComparisonRow* best = nullptr;
  const ComparisonRow* nearest = nullptr;
  int64_t nearest_count = -1;
  for (const ComparisonRow* row : rows) {
    if (keeps_everything(comparison, *row) && (best == nullptr || row->bytes < best->bytes)) best = row;
    const int64_t safe = count_verdict(*row, Verdict::kKeeps) + count_verdict(*row, Verdict::kGains) -
                         100 * count_verdict(*row, Verdict::kLoses);
    if (nearest == nullptr || safe > nearest_count || (safe == nearest_count && row->bytes < nearest->bytes)) {
      nearest = row;
      nearest_count = safe;
    }
  }
  std::vector<std::string> blind;
  if (const ComparisonRow* dense = comparison.baseline(comparison.primary))
    for (size_t c = 0; c < comparison.columns.size(); ++c)
      if (is_claim(comparison, c) && !dense->cells[c].is_interpretable) blind.push_back(comparison.columns[c].title);
  const std::string note =
      blind.empty() ? ""
                    : fmt::format(" Not judged, because the dense model itself is at chance there: {}.", listed(blind));
  if (best != nullptr) {
    answer.headline = fmt::format("{}: {}", best->label(), size_text(comparison, *best));
    answer.detail = fmt::format(
        "Every dimension is shown to stay within ±{} points of the dense model or to gain "
        "(two one-sided tests at 5 %).{}",
        comparison.study.margin, note);
    answer.tone = Tone::kGood;
    return answer;
  }
  answer.headline = rows.empty() ? "No compressed version was measured."
                    : rows.size() == 1
                        ? "The one that was measured is not shown to."
                        : fmt::format("None of the {} measured is shown to keep everything.", rows.size());
  answer.tone = rows.empty() ? Tone::kNeutral : Tone::kBad;
  if (nearest != nullptr) {
    std::vector<std::string> open;
    for (size_t c = 0; c < nearest->cells.size(); ++c) {
      const ComparisonCell& cell = nearest->cells[c];
      if (!is_claim(comparison, c) || !cell.is_interpretable) continue;
      if (!cell.has_change || cell.verdict == Verdict::kCannotTell || cell.verdict == Verdict::kLoses ||
          cell.done < cell.planned)
        open.push_back(fmt::format("{} ({})", comparison.columns[c].title,
                                   !cell.has_change || cell.done < cell.planned
                                       ? "incomplete"
                                       : verdict_text(cell.verdict) + " " + signed_points(cell.change.value)));
    }
    const ComparisonRow* harmless = nullptr;
    for (const ComparisonRow* row : rows)
      if (count_verdict(*row, Verdict::kLoses) == 0 && (harmless == nullptr || row->bytes < harmless->bytes))
        harmless = row;
    const std::string weaker = harmless == nullptr
                                   ? ""
                                   : fmt::format("The smallest on which no loss was shown (which is less): {} ({}). ",
                                                 harmless->label(), size_text(comparison, *harmless));
    answer.detail = fmt::format("{}Nearest to keeping all is {} ({}); still open or lost: {}.{}", weaker,
                                nearest->label(), size_text(comparison, *nearest), listed(open), note);
  }
  return answer;
}

// Milder settings of a method come first.
double strength(const ComparisonRow& row) {
  return row.nominal_bits > 0 ? 100 - static_cast<double>(row.nominal_bits) : row.nominal_sparsity;
}

const Column* column_titled(const Comparison& comparison, const std::string& title) {
  for (const Column& column : comparison.columns)
    if (column.title == title) return &column;
  return nullptr;
}

Answer breaks_first(const Comparison& comparison, const std::vector<const ComparisonRow*>& rows) {
  Answer answer;
  answer.question = "Which dimension breaks first?";
  std::vector<std::string> order;
  std::map<std::string, std::vector<const ComparisonRow*>> methods;
  for (const ComparisonRow* row : rows) {
    const std::string method = row->method.empty() ? row->recipe : row->method;
    if (!methods.contains(method)) order.push_back(method);
    methods[method].push_back(row);
  }
  std::vector<std::string> lines;
  std::map<std::string, int> firsts;
  for (const std::string& method : order) {
    std::vector<const ComparisonRow*>& series = methods[method];
    std::stable_sort(series.begin(), series.end(),
                     [](const auto* a, const auto* b) { return strength(*a) < strength(*b); });
    std::string found, trust;
    for (const ComparisonRow* row : series) {
      std::string title;
      const ComparisonCell* worst = worst_loss(comparison, *row, !found.empty(), title);
      if (worst == nullptr) continue;
      const std::string place =
          fmt::format("{} at {} ({}, {} to {})", title, row->label(), signed_points(worst->change.value),
                      signed_points(worst->change.interval.low), signed_points(worst->change.interval.high));
      // Where knowledge goes first, the first trust dimension is named too.
      (found.empty() ? found : trust) = place;
      if (trust.empty()) ++firsts[title];
      const Column* column = column_titled(comparison, title);
      if (!trust.empty() || (column != nullptr && column->group == ColumnGroup::kTrust)) break;
      if (worst_loss(comparison, *row, true, title) != nullptr) {
        worst = worst_loss(comparison, *row, true, title);
        trust = fmt::format("{} at {} ({})", title, row->label(), signed_points(worst->change.value));
        break;
      }
    }
    lines.push_back(found.empty()
                        ? method + ": nothing was shown to break"
                        : method + ": " + found + (trust.empty() ? "" : "; of the trust dimensions " + trust));
  }
  if (firsts.empty()) {
    answer.headline = "Nothing was shown to break.";
  } else {
    const auto most = std::max_element(firsts.begin(), firsts.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    answer.headline = order.size() == 1 || most->second < 2
                          ? fmt::format("It depends on the method: {}.",
                                        [&] {
                                          std::vector<std::string> names;
                                          for (const auto& [title, count] : firsts) names.push_back(title);
                                          return listed(names);
                                        }())
                          : fmt::format("{}, for {} of {} methods.", most->first, most->second, order.size());
    if (firsts.size() == 1) answer.headline = fmt::format("{}.", most->first);
    answer.tone = Tone::kBad;
  }
  answer.detail = joined(lines, ". ") + ".";
  return answer;
}

Answer perplexity_warning(const Comparison& comparison, const std::vector<const ComparisonRow*>& rows) {
  Answer answer;
  answer.question = "Would perplexity have warned?";
  std::vector<std::string> hidden, warned;
  double least = 0;
  for (const ComparisonRow* row : rows) {
    std::string title;
    const ComparisonCell* worst = worst_loss(comparison, *row, false, title);
    if (worst == nullptr || row->perplexity_ratio <= 0) continue;
    const std::string text = fmt::format("{} (perplexity {}, {} {})", row->label(), percent(row->perplexity_ratio - 1),
                                         title, signed_points(worst->change.value));
    (row->perplexity_ratio < kPerplexityWarning ? hidden : warned).push_back(text);
    if (row->perplexity_ratio >= kPerplexityWarning && (warned.size() == 1 || row->perplexity_ratio < least))
      least = row->perplexity_ratio;
  }
  if (hidden.empty() && warned.empty()) {
    answer.headline = "There was nothing to warn of, or perplexity was not measured.";
  } else if (hidden.empty()) {
    answer.headline = "Yes, here it would have.";
    answer.detail = fmt::format("Each of the {} that lost a dimension also raised perplexity by {} or more.",
                                counted(static_cast<long long>(warned.size()), "version"), percent(least - 1));
  } else {
    answer.headline = fmt::format("Not always: {} of {} losing versions kept perplexity within 5 %.", hidden.size(),
                                  hidden.size() + warned.size());
    answer.detail = "Unwarned: " + joined(hidden, "; ") + ".";
    answer.tone = Tone::kBad;
  }
  return answer;
}

std::vector<Answer> rival_answers(const Comparison& comparison) {
  std::vector<Answer> found;
  for (const RivalMatch& match : comparison.rivals) {
    const ComparisonRow& rival = comparison.rows[match.rival];
    const ComparisonRow& compressed = comparison.rows[match.compressed];
    std::vector<std::string> better, worse;
    for (const RivalMatch::Entry& entry : match.entries)
      if (entry.p_adjusted < 0.05)
        (entry.difference.value > 0 ? better : worse)
            .push_back(
                fmt::format("{} ({})", comparison.columns[entry.column].title, signed_points(entry.difference.value)));
    Answer answer;
    answer.question = "Would a smaller dense model have done as well?";
    answer.headline = better.empty() && worse.empty()
                          ? fmt::format("No difference shown between {} and {}.", compressed.label(), rival.label())
                          : fmt::format("{} beats {} on {}, loses on {} of {}.", compressed.label(), rival.label(),
                                        better.size(), worse.size(), match.entries.size());
    answer.tone = worse.size() > better.size()   ? Tone::kBad
                  : better.size() > worse.size() ? Tone::kGood
                                                 : Tone::kNeutral;
    answer.detail = fmt::format("{} has {}, {} {}: the compressed version nearest in bytes.{}{}", rival.label(),
                                bytes_text(rival.bytes), compressed.label(), bytes_text(compressed.bytes),
                                better.empty() ? "" : " Better: " + listed(better) + ".",
                                worse.empty() ? "" : " Worse: " + listed(worse) + ".");
    found.push_back(answer);
  }
  return found;
}

Answer calibration(const Comparison& comparison, const std::vector<const ComparisonRow*>& rows) {
  Answer answer;
  answer.question = "Is a change real, or is it the calibration sample?";
  double largest = -1;
  std::string where;
  int64_t flips = 0, cells = 0;
  for (const ComparisonRow* row : rows) {
    const ComparisonRow* dense = comparison.baseline(row->compared_with);
    for (size_t c = 0; c < row->cells.size(); ++c) {
      const ComparisonCell& cell = row->cells[c];
      if (!is_claim(comparison, c) || cell.draws.size() < 2 || dense == nullptr) continue;
      ++cells;
      const double spread = standard_deviation(cell.draws);
      if (spread > largest) {
        largest = spread;
        where = fmt::format("{} on {}", row->label(), comparison.columns[c].title);
      }
      const auto [low, high] = std::minmax_element(cell.draws.begin(), cell.draws.end());
      const double margin = comparison.study.margin;
      if (*low - dense->cells[c].score<-margin&& * high - dense->cells[c].score> margin) ++flips;
    }
  }
  if (cells == 0) {
    answer.headline = "Cannot be said: no version was measured with more than one calibration draw.";
    return answer;
  }
  answer.headline =
      fmt::format("Largest spread between draws: {} points (standard deviation), {}.", points(largest), where);
  answer.detail = flips == 0
                      ? fmt::format("In none of {} cells did one draw lose and another gain more than {} points.",
                                    cells, comparison.study.margin)
                      : fmt::format("In {} of {} cells one draw lost and another gained more than {} points.", flips,
                                    cells, comparison.study.margin);
  answer.tone = largest > comparison.study.margin ? Tone::kBad : Tone::kNeutral;
  return answer;
}

Answer published(const Comparison& comparison) {
  Answer answer;
  answer.question = "Does the published picture show here?";
  std::map<Outcome, std::vector<std::string>> by_outcome;
  for (const Finding& finding : published_picture(comparison)) by_outcome[finding.outcome].push_back(finding.claim);
  size_t total = 0;
  for (const auto& [outcome, claims] : by_outcome) total += claims.size();
  if (total == 0) {
    answer.headline = "The study holds none of the configurations that published findings speak of.";
    return answer;
  }
  answer.headline = fmt::format("{} of {} findings show, {} in part, {} not; {} cannot be told.",
                                by_outcome[Outcome::kShows].size(), total, by_outcome[Outcome::kPartly].size(),
                                by_outcome[Outcome::kDoesNotShow].size(), by_outcome[Outcome::kCannotTell].size());
  if (!by_outcome[Outcome::kDoesNotShow].empty())
    answer.detail = "Does not show: " + joined(by_outcome[Outcome::kDoesNotShow], "; ") + ".";
  return answer;
}

}  // namespace

bool keeps_everything(const Comparison& comparison, const ComparisonRow& row) {
  bool any = false;
  for (size_t c = 0; c < row.cells.size(); ++c) {
    const ComparisonCell& cell = row.cells[c];
    if (!is_claim(comparison, c) || !cell.is_interpretable) continue;
    if (!cell.has_change || cell.done < cell.planned) return false;
    if (cell.verdict != Verdict::kKeeps && cell.verdict != Verdict::kGains) return false;
    any = true;
  }
  return any;
}

int64_t count_verdict(const ComparisonRow& row, Verdict verdict) {
  return std::count_if(row.cells.begin(), row.cells.end(), [&](const ComparisonCell& cell) {
    return cell.has_change && cell.is_interpretable && cell.verdict == verdict;
  });
}

std::vector<Answer> answers(const Comparison& comparison) {
  const std::vector<const ComparisonRow*> rows = compressed_rows(comparison);
  std::vector<Answer> all = {smallest(comparison, rows), breaks_first(comparison, rows),
                             perplexity_warning(comparison, rows)};
  for (Answer& answer : rival_answers(comparison)) all.push_back(std::move(answer));
  all.push_back(calibration(comparison, rows));
  all.push_back(published(comparison));
  return all;
}

}  // namespace ockham
