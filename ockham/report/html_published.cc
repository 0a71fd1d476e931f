// A study against published figures: one map per model, and a line for every figure.
#include <algorithm>

#include "ockham/report/format.h"
#include "ockham/report/html_parts.h"

namespace ockham {
namespace {

std::string mark_of(const PublishedFigure& figure) {
  switch (figure.agreement) {
    case Agreement::kAgrees:
      return "✓";
    case Agreement::kLower:
      return "▼";
    case Agreement::kHigher:
      return "▲";
    case Agreement::kCannotTell:
      return "?";
    case Agreement::kNotMeasured:
      return figure.reason.starts_with("partial") ? figure.reason.substr(8) : "";
  }
  return "";
}

std::string interval_text(const Difference& difference) {
  return signed_points(difference.interval.low) + " to " + signed_points(difference.interval.high);
}

std::string facts(const PublishedFigure& figure) {
  std::string text =
      fmt::format("{} {} · {}\nPublished {}", figure.model, figure.version, figure.dimension, points(figure.published));
  if (figure.spread > 0)
    text += fmt::format(", standard deviation {} over {} seeds", points(figure.spread), figure.seeds);
  if (figure.agreement == Agreement::kNotMeasured) return text + "\nNot measured: " + figure.reason;
  return text + fmt::format("\nMeasured {} ({})\nDifference {}, 95 % interval {}\n{}, corrected p {}",
                            points(figure.measured), figure.label, signed_points(figure.difference.value),
                            interval_text(figure.difference), agreement_text(figure.agreement),
                            p_text(figure.p_adjusted));
}

std::string map_cell(const PublishedFigure& figure, bool is_first) {
  std::string classes, style, number = "–";
  if (figure.agreement != Agreement::kNotMeasured) {
    const int strength = tint(figure.difference.value);
    classes = figure.difference.value < 0 ? "lose" : "gain";
    if (strength > 45) classes += " deep";
    if (figure.agreement == Agreement::kLower || figure.agreement == Agreement::kHigher) classes += " shown";
    style = fmt::format(" style=\"--t:{}\"", strength);
    number = signed_points(figure.difference.value);
  }
  return fmt::format("<td class=\"{}\"{} tabindex=\"{}\" data-tip=\"{}\"><b>{}</b><span class=\"mark\">{}</span></td>",
                     classes, style, is_first ? 0 : -1, escape_html(facts(figure)), number, mark_of(figure));
}

// Figures of one model; the table lists them version by version, dimension by dimension.
using Figures = std::vector<const PublishedFigure*>;

std::string model_map(const PublishedComparison& published, const std::string& model, const Figures& figures) {
  std::string html = fmt::format(
      "<h3 style=\"margin-top:26px\">{}</h3><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Measured "
      "minus published, {}\"><table class=\"heat\" style=\"min-width:{}px\"><thead><tr><th scope=\"col\">Version</th>",
      escape_html(model), escape_html(model), 128 + 59 * published.dimensions.size());
  for (const std::string& dimension : published.dimensions)
    html += fmt::format("<th scope=\"col\">{}</th>", escape_html(dimension_short_title(dimension)));
  html += "</tr></thead><tbody>";
  for (size_t i = 0; i < figures.size(); ++i) {
    const size_t d = i % published.dimensions.size();
    if (d == 0)
      html += fmt::format("<tr><th scope=\"row\">{}<span class=\"sub\">{}</span></th>",
                          escape_html(figures[i]->version), escape_html(figures[i]->label));
    html += map_cell(*figures[i], i == 0);
    if (d + 1 == published.dimensions.size()) html += "</tr>";
  }
  return html + "</tbody></table></div>";
}

std::string figure_row(const PublishedFigure& figure) {
  const bool is_measured = figure.agreement != Agreement::kNotMeasured;
  const auto number = [](const std::string& text) { return "<td class=\"num\">" + text + "</td>"; };
  std::string html =
      fmt::format("<tr><th scope=\"row\">{}<span class=\"sub\">{}</span></th><td>{}</td>", escape_html(figure.version),
                  escape_html(figure.model), escape_html(dimension_title(figure.dimension)));
  html += number(points(figure.published) + (figure.spread > 0 ? " ± " + points(figure.spread) : ""));
  html += number(is_measured ? points(figure.measured) : "–");
  html += number(is_measured ? signed_points(figure.difference.value) : "–");
  html += number(is_measured ? interval_text(figure.difference) : "–");
  html += number(is_measured ? p_text(figure.p_adjusted) : "–");
  return html + fmt::format("<td>{}{}</td></tr>", agreement_text(figure.agreement),
                            is_measured ? "" : "<span class=\"sub\">" + escape_html(figure.reason) + "</span>");
}

}  // namespace

std::string published_figures(const PublishedComparison& published) {
  if (published.figures.empty()) return "";
  std::vector<std::pair<std::string, Figures>> models;
  for (const PublishedFigure& figure : published.figures) {
    auto known = std::find_if(models.begin(), models.end(), [&](const auto& one) { return one.first == figure.model; });
    if (known == models.end()) known = models.insert(models.end(), {figure.model, {}});
    known->second.push_back(&figure);
  }
  std::string html, absent;
  for (const auto& [model, figures] : models) {
    const bool is_here =
        std::any_of(figures.begin(), figures.end(), [](const PublishedFigure* figure) { return figure->is_planned; });
    if (is_here)
      html += model_map(published, model, figures);
    else
      absent += (absent.empty() ? "" : ", ") + model;
  }
  html +=
      "<div class=\"legend\"><span>lower<span class=\"ramp\" aria-hidden=\"true\"></span>higher than published</span>"
      "<span>✓: agrees within the margin</span><span><b>▼ ▲ bold</b>: differs (corrected)</span><span>?: cannot "
      "tell</span><span>–: not measured</span></div>";
  if (!absent.empty())
    html += "<p class=\"d\">Published models without a version in this study: " + escape_html(absent) + ".</p>";
  for (const std::string& caution : published.cautions)
    html += "<p class=\"d\">Mind: " + escape_html(caution) + ".</p>";
  html +=
      "<details><summary>Every published figure</summary><div class=\"scroll\" tabindex=\"0\" role=\"region\" "
      "aria-label=\"Every published figure\"><table class=\"wide\"><thead><tr><th scope=\"col\">Version</th>"
      "<th scope=\"col\">Dimension</th>";
  for (const char* head : {"Published", "Measured", "Difference", "95 % interval", "p (Holm)"})
    html += fmt::format("<th scope=\"col\" class=\"num\">{}</th>", head);
  html += "<th scope=\"col\">Verdict</th></tr></thead><tbody>";
  for (const PublishedFigure& figure : published.figures) html += figure_row(figure);
  return html + "</tbody></table></div></details>";
}

}  // namespace ockham
