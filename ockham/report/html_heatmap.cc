// Methods x dimensions: the change to dense as printed number and colour, the interval on hover and focus.
#include <algorithm>
#include <cmath>

#include "ockham/eval/paired.h"
#include "ockham/report/format.h"
#include "ockham/report/html_parts.h"

namespace ockham {
namespace {

constexpr double kFullColour = 30;     // points at which the colour is saturated
constexpr double kRefusalMark = 0.10;  // the published heat map marks moves of the refusal rate beyond 10 points

std::string verdict_mark(const ComparisonCell& cell) {
  switch (cell.verdict) {
    case Verdict::kKeeps:
      return "✓";
    case Verdict::kLoses:
      return "▼";
    case Verdict::kGains:
      return "▲";
    case Verdict::kCannotTell:
      return "?";
  }
  return "?";
}

std::string refusal_mark(const ComparisonCell& cell) {
  if (cell.refusal < 0 || std::abs(cell.refusal_change) <= kRefusalMark) return "";
  return cell.refusal_change > 0 ? " R↑" : " R↓";
}

std::string cell_html(const Comparison& comparison, const ComparisonRow& row, size_t column, bool is_first) {
  const ComparisonCell& cell = row.cells[column];
  const bool is_group_start = column > 0 && comparison.columns[column].group != comparison.columns[column - 1].group;
  std::string classes = is_group_start ? "gap" : "";
  const std::string tip = escape_html(cell_facts(comparison, row, column));
  const auto td = [&](const std::string& style, const std::string& number, const std::string& mark) {
    return fmt::format(
        "<td class=\"{}\"{} tabindex=\"{}\" data-tip=\"{}\"><b>{}</b><span class=\"mark\">{}</span></td>", classes,
        style, is_first ? 0 : -1, tip, number, mark);
  };
  if (cell.done == 0) return fmt::format("<td class=\"{}\"><b>–</b></td>", classes);
  const std::string partial = cell.done < cell.planned ? fmt::format("{}/{}", cell.done, cell.planned) : "";
  if (row.is_baseline && !row.is_rival) {
    if (!cell.is_interpretable) classes += " blind";
    return td("", points(cell.score), cell.is_interpretable ? partial : "at chance");
  }
  if (!cell.is_interpretable) {
    classes += " blind";
    return td("", "n/i", "");
  }
  if (!cell.has_change) return td("", "–", partial.empty() ? "no pair" : partial);
  const int strength = tint(cell.change.value);
  classes += cell.change.value < 0 ? " lose" : " gain";
  if (strength > 45) classes += " deep";
  if (cell.verdict == Verdict::kLoses || cell.verdict == Verdict::kGains) classes += " shown";
  return td(fmt::format(" style=\"--t:{}\"", strength), signed_points(cell.change.value),
            verdict_mark(cell) + refusal_mark(cell) + (partial.empty() ? "" : " " + partial));
}

}  // namespace

int tint(double change) {
  return static_cast<int>(std::lround(82 * std::pow(std::min(1.0, std::abs(change) / kFullColour), 0.75)));
}

std::string row_detail(const Comparison& comparison, const ComparisonRow& row) {
  if (row.bytes <= 0) return "";
  const ComparisonRow* dense = comparison.baseline(row.compared_with);
  if (dense == nullptr || dense->bytes <= 0 || &row == dense) return bytes_text(row.bytes);
  return bytes_text(row.bytes) + " · " + percent(row.bytes / dense->bytes);
}

std::string cell_facts(const Comparison& comparison, const ComparisonRow& row, size_t column) {
  const ComparisonCell& cell = row.cells[column];
  std::string text = fmt::format("{} · {}", row.label(), comparison.columns[column].title);
  text +=
      fmt::format("\nScore {} ({} to {})", points(cell.score), points(cell.interval.low), points(cell.interval.high));
  if (cell.has_change) {
    text += fmt::format("\nChange {} points, 95 % interval {} to {}", signed_points(cell.change.value),
                        signed_points(cell.change.interval.low), signed_points(cell.change.interval.high));
    if (cell.is_interpretable)
      text += fmt::format("\n{}, corrected p {}", verdict_text(cell.verdict), p_text(cell.p_adjusted));
    if (cell.change.mcnemar_p >= 0) text += "\nMcNemar p " + p_text(cell.change.mcnemar_p);
    if (cell.noise_floor > 0)
      text += fmt::format("\n{} times the noise floor of {:.2f} points",
                          in_noise_units(cell.change.value, cell.noise_floor), cell.noise_floor);
    text += fmt::format("\n{} items; smallest effect that they could show: {} points", cell.change.n,
                        points(cell.change.smallest_effect));
  }
  if (!cell.is_interpretable) text += "\nNot interpretable: the dense model is within two standard errors of chance.";
  if (cell.refusal >= 0) {
    text += fmt::format("\nRefusals {}", percent(cell.refusal));
    if (cell.has_change) text += fmt::format(" ({} points)", signed_points(100 * cell.refusal_change));
  }
  if (cell.draws.size() > 1) {
    std::vector<std::string> draws;
    for (double draw : cell.draws) draws.push_back(points(draw));
    text += "\nCalibration draws: " + joined(draws);
  }
  for (const ControlScore& control : cell.controls)
    text +=
        fmt::format("\nBenign control {}: {} ({})", control.task, points(control.score), signed_points(control.change));
  if (cell.done < cell.planned) text += fmt::format("\nPartial: {} of {} scenarios", cell.done, cell.planned);
  return text;
}

std::string heat_map(const Comparison& comparison) {
  if (comparison.columns.empty() || comparison.rows.empty()) return "";
  // Cells keep their width on a phone; the table scrolls in its box, the names stay.
  std::string html =
      fmt::format(
          "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Heat map of changes\"><table "
          "class=\"heat\" "
          "style=\"min-width:{}px\">",
          128 + 59 * (comparison.columns.size() + 1)) +
      "<caption class=\"sr\">Change to the dense model in points, per configuration and dimension</caption><thead><tr>"
      "<th scope=\"col\">Configuration</th>";
  for (size_t c = 0; c < comparison.columns.size(); ++c) {
    const bool gap = c > 0 && comparison.columns[c].group != comparison.columns[c - 1].group;
    html += fmt::format("<th scope=\"col\"{} title=\"{}\">{}</th>", gap ? " class=\"gap\"" : "",
                        escape_html(comparison.columns[c].title), escape_html(comparison.columns[c].short_title));
  }
  html += "<th scope=\"col\" class=\"gap\">Perplex­ity</th></tr></thead><tbody>";
  std::string method;
  bool is_first = true;
  for (const ComparisonRow& row : comparison.rows) {
    const bool is_dense = row.is_baseline && !row.is_rival;
    const std::string group = row.model + "/" + (is_dense ? "" : row.is_rival ? "rival" : row.method);
    std::string classes = is_dense ? "dense" : "";
    if (group != method && !is_dense) classes += " first";
    method = group;
    html += fmt::format("<tr class=\"{}\"><th scope=\"row\">{}<span class=\"sub\">{}</span></th>", classes,
                        escape_html(is_dense ? row.label() + " (score)" : row.label()),
                        escape_html(row_detail(comparison, row)));
    for (size_t c = 0; c < comparison.columns.size(); ++c) {
      html += cell_html(comparison, row, c, is_first);
      is_first = false;
    }
    const std::string ratio = is_dense || row.perplexity_ratio <= 0 ? "" : fmt::format("×{:.2f}", row.perplexity_ratio);
    html += fmt::format("<td class=\"gap\"><b>{}</b><span class=\"mark\">{}</span></td></tr>",
                        row.perplexity > 0 ? fmt::format("{:.4g}", row.perplexity) : "–", ratio);
  }
  html +=
      "</tbody></table></div><div class=\"legend\"><span>loses<span class=\"ramp\" "
      "aria-hidden=\"true\"></span>gains</span>"
      "<span><b>▼ ▲ bold</b>: loss or gain shown (corrected)</span><span>✓: shown to stay within the margin</span>"
      "<span>?: cannot tell</span><span>R↑ R↓: refusals moved by more than 10 points</span><span>n/i: dense is at "
      "chance</span></div>";
  return html;
}

}  // namespace ockham
