// One panel per dimension: every configuration's change with its interval, and the calibration draws behind it.
#include <algorithm>
#include <cmath>

#include "ockham/report/format.h"
#include "ockham/report/html_parts.h"

namespace ockham {
namespace {

constexpr double kPanelWidth = 340, kLabel = 104, kRowHeight = 18, kPanelTop = 6;

std::string tone(const ComparisonCell& cell) {
  if (!cell.is_interpretable) return "un";
  switch (cell.verdict) {
    case Verdict::kKeeps:
      return "ke";
    case Verdict::kLoses:
      return "lo";
    case Verdict::kGains:
      return "ga";
    case Verdict::kCannotTell:
      return "un";
  }
  return "un";
}

std::string panel(const Comparison& comparison, size_t column, double low, double high) {
  std::vector<const ComparisonRow*> rows;
  for (const ComparisonRow& row : comparison.rows)
    if (row.cells[column].has_change) rows.push_back(&row);
  const ComparisonRow* dense = comparison.baseline(comparison.primary);
  if (rows.empty() || dense == nullptr) return "";
  const double plot = kPanelWidth - kLabel - 8, height = kPanelTop + kRowHeight * static_cast<double>(rows.size()) + 24;
  const auto x = [&](double value) { return kLabel + plot * (std::clamp(value, low, high) - low) / (high - low); };
  const double bottom = height - 22, margin = comparison.study.margin;
  std::string svg = fmt::format(
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"Changes of {} with intervals; the numbers are in the heat "
      "map\">",
      kPanelWidth, height, escape_html(comparison.columns[column].title));
  svg += fmt::format("<rect class=\"band\" x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{:.1f}\"/>", x(-margin),
                     kPanelTop, x(margin) - x(-margin), bottom - kPanelTop);
  for (double value = std::ceil(low / 20) * 20; value <= high; value += 20)
    svg += fmt::format(
        "<line class=\"{}\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{}\" y2=\"{:.1f}\"/><text class=\"tick\" x=\"{:.1f}\" "
        "y=\"{:.1f}\" "
        "text-anchor=\"middle\">{}</text>",
        value == 0 ? "zero" : "grid", x(value), x(value), kPanelTop, bottom, x(value), height - 6,
        value == 0 ? "0" : signed_points(value).substr(0, signed_points(value).find('.')));
  for (size_t r = 0; r < rows.size(); ++r) {
    const ComparisonCell& cell = rows[r]->cells[column];
    const ComparisonRow* base = comparison.baseline(rows[r]->compared_with);
    const double y = kPanelTop + kRowHeight * (static_cast<double>(r) + 0.5);
    svg += fmt::format(
        "<g class=\"{}\" data-tip=\"{}\"><rect x=\"0\" y=\"{:.1f}\" width=\"{}\" height=\"{}\" fill=\"transparent\"/>",
        tone(cell), escape_html(cell_facts(comparison, *rows[r], column)), y - kRowHeight / 2, kPanelWidth, kRowHeight);
    svg += fmt::format("<text class=\"lab\" x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>", kLabel - 10, y + 4,
                       escape_html(rows[r]->is_rival ? rows[r]->model : rows[r]->label()));
    svg += fmt::format("<line class=\"ln\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>",
                       x(cell.change.interval.low), x(cell.change.interval.high), y, y);
    if (cell.draws.size() > 1 && base != nullptr)
      for (double draw : cell.draws)
        svg += fmt::format("<circle class=\"dr\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"/>",
                           x(draw - base->cells[column].score), y);
    svg += fmt::format("<rect class=\"mk\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"4\" height=\"9\"/></g>",
                       x(cell.change.value) - 2, y - 4.5);
  }
  const ComparisonCell& own = dense->cells[column];
  return fmt::format("<div class=\"card\"><h3>{}<small>dense {} ± {}{}</small></h3>{}</svg></div>",
                     escape_html(comparison.columns[column].title), points(own.score),
                     points((own.interval.high - own.interval.low) / 2), own.is_interpretable ? "" : ", at chance",
                     svg);
}

}  // namespace

std::string change_panels(const Comparison& comparison) {
  double low = -20, high = 10;
  for (const ComparisonRow& row : comparison.rows)
    for (const ComparisonCell& cell : row.cells)
      if (cell.has_change) {
        low = std::min(low, cell.change.interval.low - 2);
        high = std::max(high, cell.change.interval.high + 2);
      }
  std::string html;
  for (size_t c = 0; c < comparison.columns.size(); ++c) html += panel(comparison, c, low, high);
  return html.empty() ? "" : "<div class=\"panels\">" + html + "</div>";
}

}  // namespace ockham
