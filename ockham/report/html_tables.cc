// Tables: sizes and costs, dimensions with their smallest effects, refusals.
#include <algorithm>

#include "ockham/report/format.h"
#include "ockham/report/html_parts.h"
#include "ockham/report/verdict.h"

namespace ockham {
namespace {

std::string table(const std::string& label, const std::vector<std::string>& head, const std::string& body) {
  std::string html = fmt::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\"><table class=\"wide\"><thead><tr>",
      label);
  for (size_t i = 0; i < head.size(); ++i)
    html += fmt::format("<th scope=\"col\"{}>{}</th>", i == 0 ? "" : " class=\"num\"", head[i]);
  return html + "</tr></thead><tbody>" + body + "</tbody></table></div>";
}

std::string number(const std::string& text) {
  return "<td class=\"num\">" + text + "</td>";
}

std::string optional_points(const std::optional<double>& value) {
  return value ? points(*value) : "–";
}

}  // namespace

std::string cost_table(const Comparison& comparison) {
  std::string body;
  for (const ComparisonRow& row : comparison.rows) {
    const ComparisonRow* dense = comparison.baseline(row.compared_with);
    const bool is_dense = row.is_baseline && !row.is_rival;
    body += fmt::format("<tr><th scope=\"row\">{}</th>", escape_html(row.label()));
    body += number(row.bytes > 0 ? bytes_text(row.bytes) : "–");
    body += number(row.bytes > 0 && dense != nullptr && dense->bytes > 0 ? percent(row.bytes / dense->bytes) : "–");
    body += number(row.sparsity > 0 ? percent(row.sparsity) : "–");
    body += number(row.bits > 0 ? fmt::format("{:.2f}", row.bits) : "–");
    std::string perplexity = row.perplexity > 0 ? fmt::format("{:.4g}", row.perplexity) : "–";
    if (row.perplexity_high > row.perplexity_low)
      perplexity += fmt::format("<span class=\"sub\">{:.4g}–{:.4g}</span>", row.perplexity_low, row.perplexity_high);
    body += number(perplexity);
    body += number(optional_points(row.knowledge_mean)) + number(optional_points(row.trust_mean));
    body += number(is_dense || !row.worst_change
                       ? "–"
                       : fmt::format("{}<span class=\"sub\">{}</span>", signed_points(*row.worst_change),
                                     escape_html(comparison.column(row.worst_column)->title)));
    body += number(is_dense ? "–"
                            : fmt::format("{} / {} / {} / {}", count_verdict(row, Verdict::kKeeps),
                                          count_verdict(row, Verdict::kLoses), count_verdict(row, Verdict::kGains),
                                          count_verdict(row, Verdict::kCannotTell)));
    body += number(std::to_string(row.seeds.size())) + number(seconds_text(row.seconds)) + "</tr>";
  }
  return table("Sizes and costs",
               {"Configuration", "On disk", "Of dense", "Zeros", "Bits per weight", "Perplexity", "Knowledge",
                "Trust mean", "Worst trust change", "Keeps / loses / gains / ?", "Draws", "Time, all draws"},
               body);
}

std::string cache_table(const Comparison& comparison) {
  const auto share = [](const std::optional<double>& value) { return number(value ? percent(*value) : "–"); };
  std::string body;
  for (const ComparisonRow& row : comparison.rows) {
    if (!row.cache_bytes) continue;
    body += fmt::format("<tr><th scope=\"row\">{}<span class=\"sub\">{}</span></th>", escape_html(row.label()),
                        escape_html(row.cache_policy));
    body += number(bytes_text(*row.cache_bytes)) + share(row.cache_kept) + share(row.cache_mass);
    body += number(row.perplexity > 0 ? fmt::format("{:.4g}", row.perplexity) : "–");
    body += number(optional_points(row.knowledge_mean)) + number(optional_points(row.trust_mean)) + "</tr>";
  }
  if (body.empty()) return "";
  return table("Compressed KV caches",
               {"Configuration", "Cache for each token read", "Tokens kept", "Attention on them", "Perplexity",
                "Knowledge", "Trust mean"},
               body);
}

std::string dimension_table(const Comparison& comparison) {
  const ComparisonRow* dense = comparison.baseline(comparison.primary);
  if (dense == nullptr) return "";
  std::string body;
  for (size_t c = 0; c < comparison.columns.size(); ++c) {
    const Column& column = comparison.columns[c];
    const ComparisonCell& own = dense->cells[c];
    double least = 1e300, most = 0, spread = -1;
    std::string spread_row;
    int64_t items = 0;
    for (const ComparisonRow& row : comparison.rows) {
      const ComparisonCell& cell = row.cells[c];
      if (!cell.has_change) continue;
      least = std::min(least, cell.change.smallest_effect);
      most = std::max(most, cell.change.smallest_effect);
      items = std::max(items, cell.change.n);
      if (cell.draws.size() > 1 && standard_deviation(cell.draws) > spread) {
        spread = standard_deviation(cell.draws);
        spread_row = row.label();
      }
    }
    body += fmt::format("<tr><th scope=\"row\">{}<span class=\"sub\">{}</span></th>", escape_html(column.title),
                        escape_html(joined(column.tasks)));
    body += number(own.done > 0 ? points(own.score) : "–") +
            number(own.done > 0 ? fmt::format("{}–{}", points(own.interval.low), points(own.interval.high)) : "–");
    body += number(column.chance >= 0 ? points(column.chance) : "–");
    body += number(own.done == 0 ? "–" : own.is_interpretable ? "yes" : "no: dense is at chance");
    body += number(std::to_string(items)) + number(most > 0 ? fmt::format("{}–{}", points(least), points(most)) : "–");
    body += number(
        spread < 0 ? "–" : fmt::format("{}<span class=\"sub\">{}</span>", points(spread), escape_html(spread_row)));
    std::vector<std::string> controls;
    for (const ControlScore& control : own.controls) controls.push_back(control.task + " " + points(control.score));
    body += number(controls.empty() ? "–" : escape_html(joined(controls)));
    body += number(own.done == own.planned ? std::to_string(own.planned)
                                           : fmt::format("partial {}/{}", own.done, own.planned)) +
            "</tr>";
  }
  return table("Dimensions and smallest effects",
               {"Dimension", "Dense score", "95 % interval", "Chance", "Interpretable", "Items",
                "Smallest effect, points", "Largest spread over draws", "Benign control", "Scenarios"},
               body);
}

std::string refusal_table(const Comparison& comparison) {
  std::vector<size_t> columns;
  std::vector<std::string> head = {"Configuration"};
  for (size_t c = 0; c < comparison.columns.size(); ++c) {
    const bool any = std::any_of(comparison.rows.begin(), comparison.rows.end(),
                                 [&](const ComparisonRow& row) { return row.cells[c].refusal > 0; });
    if (!any) continue;
    columns.push_back(c);
    head.push_back(escape_html(comparison.columns[c].short_title));
  }
  if (columns.empty()) return "";
  std::string body;
  for (const ComparisonRow& row : comparison.rows) {
    body += fmt::format("<tr><th scope=\"row\">{}</th>", escape_html(row.label()));
    for (size_t c : columns) {
      const ComparisonCell& cell = row.cells[c];
      body += number(cell.refusal < 0 ? "–"
                                      : percent(cell.refusal) +
                                            (cell.has_change ? fmt::format("<span class=\"sub\">{}</span>",
                                                                           signed_points(100 * cell.refusal_change))
                                                             : ""));
    }
    body += "</tr>";
  }
  return table("Refusals", head, body);
}

}  // namespace ockham
