// Every change with its tests, and changes in units of what noise of rounding size does.
#include <algorithm>

#include "ockham/eval/paired.h"
#include "ockham/report/format.h"
#include "ockham/report/html_parts.h"

namespace ockham {
namespace {

bool has_floor(const ComparisonCell& cell) {
  return cell.has_change && cell.noise_floor > 0;
}

std::string noise_cell(const ComparisonCell& cell) {
  if (!has_floor(cell)) return "<td><b>–</b></td>";
  const int strength = tint(cell.change.value);
  return fmt::format("<td class=\"{}{}\" style=\"--t:{}\"><b>{}{}</b><span class=\"mark\">{}</span></td>",
                     cell.change.value < 0 ? "lose" : "gain", strength > 45 ? " deep" : "", strength,
                     cell.change.value < 0 ? "−" : "", in_noise_units(cell.change.value, cell.noise_floor),
                     signed_points(cell.change.value));
}

std::string change_row(const ComparisonRow& row, const Column& column, const ComparisonCell& cell, bool has_noise) {
  const auto number = [](const std::string& text) { return "<td class=\"num\">" + text + "</td>"; };
  const Difference& change = cell.change;
  std::string html =
      fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td>", escape_html(row.label()), escape_html(column.title));
  html += number(signed_points(change.value));
  html += number(signed_points(change.interval.low) + " to " + signed_points(change.interval.high));
  if (has_noise) html += number(has_floor(cell) ? in_noise_units(change.value, cell.noise_floor) + " ×" : "–");
  html += number(p_text(change.p_value));
  html += number(cell.is_interpretable ? p_text(cell.p_adjusted) : "–");
  html += number(change.mcnemar_p >= 0 ? p_text(change.mcnemar_p) : "–");
  html += number(points(change.smallest_effect)) + number(std::to_string(change.n));
  return html +
         fmt::format("<td>{}</td></tr>", cell.is_interpretable ? verdict_text(cell.verdict) : "not interpretable");
}

}  // namespace

std::string noise_map(const Comparison& comparison) {
  std::string body;
  for (const ComparisonRow& row : comparison.rows) {
    if (std::none_of(row.cells.begin(), row.cells.end(), has_floor)) continue;
    body += fmt::format("<tr><th scope=\"row\">{}</th>", escape_html(row.label()));
    for (const ComparisonCell& cell : row.cells) body += noise_cell(cell);
    body += "</tr>";
  }
  if (body.empty()) return "";
  std::string html = fmt::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Changes in units of the noise floor\"><table "
      "class=\"heat\" style=\"min-width:{}px\"><thead><tr><th scope=\"col\">Configuration</th>",
      128 + 59 * comparison.columns.size());
  for (const Column& column : comparison.columns)
    html += fmt::format("<th scope=\"col\" title=\"{}\">{}</th>", escape_html(column.title),
                        escape_html(column.short_title));
  html += "</tr></thead><tbody>" + body;
  // The floor itself, in points, from any row that has it.
  html += "<tr class=\"first\"><th scope=\"row\">Noise floor, points</th>";
  for (size_t c = 0; c < comparison.columns.size(); ++c) {
    double floor = 0;
    for (const ComparisonRow& row : comparison.rows)
      if (row.compared_with == comparison.primary) floor = std::max(floor, row.cells[c].noise_floor);
    html += fmt::format("<td><b>{}</b></td>", floor > 0 ? fmt::format("{:.2f}", floor) : "–");
  }
  return html + "</tr></tbody></table></div>";
}

std::string change_table(const Comparison& comparison) {
  const bool has_noise = comparison.noise_copies > 0;
  std::string body;
  for (const ComparisonRow& row : comparison.rows)
    for (size_t c = 0; c < comparison.columns.size(); ++c)
      if (row.cells[c].has_change) body += change_row(row, comparison.columns[c], row.cells[c], has_noise);
  if (body.empty()) return "";
  std::vector<std::string> head = {"Change", "95 % interval"};
  if (has_noise) head.emplace_back("In noise floors");
  head.insert(head.end(), {"p", "p (Holm)", "McNemar p", "Smallest effect", "Items"});
  std::string html = fmt::format(
      "<details><summary>Every change: {} of {} dimensions × {} configurations, corrected together</summary><div "
      "class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Every change\"><table class=\"wide\"><thead><tr>"
      "<th scope=\"col\">Configuration</th><th scope=\"col\">Dimension</th>",
      counted(comparison.comparisons, "comparison"), comparison.columns.size(),
      std::count_if(comparison.rows.begin(), comparison.rows.end(),
                    [](const ComparisonRow& row) { return !row.is_baseline || row.is_rival; }));
  for (const std::string& one : head) html += "<th scope=\"col\" class=\"num\">" + one + "</th>";
  return html + "<th scope=\"col\">Verdict</th></tr></thead><tbody>" + body + "</tbody></table></div></details>";
}

}  // namespace ockham
