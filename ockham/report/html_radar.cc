// The trust dimensions of a few configurations as a radar; which ones is the reader's choice.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

#include "ockham/report/format.h"
#include "ockham/report/html_parts.h"
#include "ockham/report/verdict.h"

namespace ockham {
namespace {

constexpr double kCentreX = 230, kCentreY = 172, kRadius = 140;

struct Point {
  double x, y;
};
Point on_axis(size_t axis, size_t axes, double share) {
  const double angle =
      2 * std::numbers::pi * static_cast<double>(axis) / static_cast<double>(axes) - std::numbers::pi / 2;
  return {kCentreX + share * kRadius * std::cos(angle), kCentreY + share * kRadius * std::sin(angle)};
}

// Dense, the smaller dense rival, and of every family the version that loses least and the one that loses most.
std::set<size_t> first_choice(const Comparison& comparison) {
  std::set<size_t> chosen;
  for (size_t i = 0; i < comparison.rows.size() && chosen.size() < 2; ++i)
    if (comparison.rows[i].is_baseline) chosen.insert(i);
  for (MethodFamily family : {MethodFamily::kPruning, MethodFamily::kQuantization}) {
    std::vector<size_t> rows;
    for (size_t i = 0; i < comparison.rows.size(); ++i)
      if (comparison.rows[i].family == family && comparison.rows[i].trust_mean &&
          comparison.rows[i].model == comparison.primary)
        rows.push_back(i);
    if (rows.empty()) continue;
    std::sort(rows.begin(), rows.end(),
              [&](size_t a, size_t b) { return *comparison.rows[a].trust_mean < *comparison.rows[b].trust_mean; });
    // The median and the worst: the best is dense's twin.
    chosen.insert(rows[rows.size() / 2]);
    chosen.insert(rows.front());
  }
  return chosen;
}

}  // namespace

std::string radar_chart(const Comparison& comparison) {
  std::vector<size_t> axes;
  for (size_t c = 0; c < comparison.columns.size(); ++c)
    if (comparison.columns[c].group == ColumnGroup::kTrust) axes.push_back(c);
  if (axes.size() < 3) return "";
  std::string svg =
      "<svg viewBox=\"0 0 460 348\" role=\"img\" aria-label=\"Radar of the trust dimensions; the numbers are in the "
      "heat map\">";
  for (double ring : {0.25, 0.5, 0.75, 1.0}) {
    svg += "<polygon class=\"grid\" points=\"";
    for (size_t a = 0; a < axes.size(); ++a) {
      const Point p = on_axis(a, axes.size(), ring);
      svg += fmt::format("{:.1f},{:.1f} ", p.x, p.y);
    }
    svg += "\"/>";
  }
  for (size_t a = 0; a < axes.size(); ++a) {
    const Point end = on_axis(a, axes.size(), 1), label = on_axis(a, axes.size(), 1.13);
    svg += fmt::format("<line class=\"grid\" x1=\"{}\" y1=\"{}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>", kCentreX, kCentreY,
                       end.x, end.y);
    const char* anchor = std::abs(label.x - kCentreX) < 12 ? "middle" : label.x > kCentreX ? "start" : "end";
    // Two-word titles take two lines, so that the sides stay inside the picture.
    const std::string& title = comparison.columns[axes[a]].title;
    const size_t space = title.find(' ');
    const bool is_split = space != std::string::npos && std::string(anchor) != "middle";
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}", label.x, label.y + (is_split ? -3 : 4),
                       anchor, escape_html(is_split ? title.substr(0, space) : title));
    if (is_split)
      svg += fmt::format("<tspan x=\"{:.1f}\" dy=\"14\">{}</tspan>", label.x, escape_html(title.substr(space + 1)));
    svg += "</text>";
  }
  for (double ring : {0.5, 1.0})
    svg += fmt::format("<text class=\"tick\" x=\"{}\" y=\"{:.1f}\">{:.0f}</text>", kCentreX + 4,
                       kCentreY - ring * kRadius + 12, 100 * ring);
  const std::set<size_t> chosen = first_choice(comparison);
  std::string chips = "<fieldset class=\"chips noprint\"><legend>Configurations shown</legend>";
  int colour = 0;
  for (size_t i = 0; i < comparison.rows.size(); ++i) {
    const ComparisonRow& row = comparison.rows[i];
    std::string corners, facts = row.label();
    for (size_t a = 0; a < axes.size(); ++a) {
      const ComparisonCell& cell = row.cells[axes[a]];
      const Point p = on_axis(a, axes.size(), cell.done > 0 ? std::clamp(cell.score / 100, 0.0, 1.0) : 0);
      corners += fmt::format("{:.1f},{:.1f} ", p.x, p.y);
      facts += fmt::format("\n{}: {}", comparison.columns[axes[a]].title, cell.done > 0 ? points(cell.score) : "–");
    }
    const bool is_on = chosen.contains(i);
    const std::string style = is_on ? fmt::format(" style=\"--chip:var(--s{})\"", colour++ % 8) : "";
    svg += fmt::format("<polygon id=\"radar-{}\" class=\"spoke{}\"{} points=\"{}\" data-tip=\"{}\"/>", i,
                       is_on ? "" : " off", style, corners, escape_html(facts));
    chips += fmt::format("<label{}><input type=\"checkbox\" data-radar=\"radar-{}\"{}><span><i></i>{}</span></label>",
                         style, i, is_on ? " checked" : "", escape_html(row.label()));
  }
  return "<figure class=\"card\" style=\"margin:0\"><h3>Trust dimensions, score 0–100 (outward is safer)</h3>" + svg +
         "</svg>" + chips + "</fieldset></figure>";
}

}  // namespace ockham
