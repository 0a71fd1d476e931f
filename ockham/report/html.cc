// The page: header, verdict, pictures, tables, origins.
#include "ockham/report/html.h"

#include <fmt/format.h>

#include <algorithm>

#include "ockham/report/findings.h"
#include "ockham/report/format.h"
#include "ockham/report/html_page.h"
#include "ockham/report/html_parts.h"
#include "ockham/report/verdict.h"

namespace ockham {
namespace {

// Models with compressed versions, in order.
std::vector<std::string> main_models(const Comparison& comparison) {
  std::vector<std::string> names;
  for (const ComparisonRow& row : comparison.rows)
    if (!row.is_baseline && std::find(names.begin(), names.end(), row.model) == names.end()) names.push_back(row.model);
  if (names.empty()) names.push_back(comparison.primary);
  return names;
}

std::string header(const Comparison& comparison) {
  const ComparisonRow* dense = comparison.baseline(comparison.primary);
  std::string html = "<header class=\"head\">" + page_brand();
  html += fmt::format("<h1>What compression cost {}</h1><ul class=\"facts\">",
                      escape_html(listed(main_models(comparison))));
  const auto compressed = std::count_if(comparison.rows.begin(), comparison.rows.end(),
                                        [](const ComparisonRow& row) { return !row.is_baseline; });
  html += fmt::format("<li><b>{}</b> compressed {}</li>", compressed, compressed == 1 ? "version" : "versions");
  if (dense != nullptr && dense->bytes > 0)
    html += fmt::format("<li>dense model <b>{}</b></li>", bytes_text(dense->bytes));
  html += fmt::format("<li>tier <b>{}</b>, margin <b>±{} points</b></li>", escape_html(comparison.study.tier),
                      comparison.study.margin);
  if (!comparison.runs.empty())
    html += fmt::format("<li>{}</li>", escape_html(comparison.runs.back().started.substr(0, 10)));
  if (comparison.cells_done < comparison.cells_planned)
    html += fmt::format("<li><b>Incomplete:</b> {} of {} cells measured</li>", comparison.cells_done,
                        comparison.cells_planned);
  return html + "</ul><p class=\"notice\">" + about_models(comparison) + "</p></header>";
}

std::string navigation(bool has_figures) {
  return std::string(
             "<nav aria-label=\"Contents\"><a href=\"#verdict\">Verdict</a><a href=\"#changes\">Changes</a><a "
             "href=\"#pictures\">Profile and size</a>"
             "<a href=\"#draws\">Intervals and draws</a><a href=\"#published\">Published findings</a><a "
             "href=\"#numbers\">Numbers</a>") +
         (has_figures ? "<a href=\"#figures\">Published figures</a>" : "") +
         "<a href=\"#parts\">Parts</a><a href=\"#answers\">Answers</a><a href=\"#origin\">Origin</a></nav>";
}

std::string tone_class(Tone tone) {
  return tone == Tone::kGood ? "good" : tone == Tone::kBad ? "bad" : "";
}

std::string verdict_cards(const Comparison& comparison) {
  const std::vector<Answer> all = answers(comparison);
  std::string html;
  for (size_t i = 0; i < all.size(); ++i) {
    const Answer& answer = all[i];
    if (i == 1) html += "<div class=\"answers\">";
    html += fmt::format("<div class=\"card {} {}\"><div class=\"q\">{}</div><div class=\"a\">{}</div>",
                        i == 0 ? "hero" : "", tone_class(answer.tone), escape_html(answer.question),
                        escape_html(answer.headline));
    if (!answer.detail.empty()) html += fmt::format("<div class=\"d\">{}</div>", escape_html(answer.detail));
    html += "</div>";
  }
  return html + (all.size() > 1 ? "</div>" : "");
}

std::string verdict_section(const Comparison& comparison) {
  const std::vector<std::string> models = main_models(comparison);
  std::string html = "<section id=\"verdict\"><h2>Verdict</h2>";
  if (models.size() == 1) return html + verdict_cards(comparison) + "</section>";
  Comparison one = comparison;
  for (const std::string& model : models) {
    one.primary = model;
    html += "<h3 style=\"margin-top:26px\">" + escape_html(model) + "</h3>" + verdict_cards(one);
  }
  return html + "</section>";
}

std::string findings_section(const Comparison& comparison) {
  const std::vector<Finding> findings = published_picture(comparison);
  if (findings.empty()) return "";
  std::string body =
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Published findings\"><table><thead><tr><th "
      "scope=\"col\">Published finding</th>"
      "<th scope=\"col\">Here</th><th scope=\"col\">Evidence of this study</th></tr></thead><tbody>";
  for (const Finding& finding : findings) {
    const char* badge = finding.outcome == Outcome::kShows         ? "shows"
                        : finding.outcome == Outcome::kPartly      ? "part"
                        : finding.outcome == Outcome::kDoesNotShow ? "not"
                                                                   : "open";
    body += fmt::format(
        "<tr><td style=\"min-width:15rem\">{}<span class=\"sub\">{}</span></td><td><span class=\"badge "
        "{}\">{}</span></td><td style=\"min-width:17rem\">{}</td></tr>",
        escape_html(finding.claim), escape_html(finding.source), badge, outcome_text(finding.outcome),
        escape_html(finding.evidence));
  }
  return page_section("published", "Does the published picture show here?",
                      "Findings on large assistants, held against this model’s own rows. Showing here does not confirm "
                      "them, not showing does not refute them.",
                      body + "</tbody></table></div>");
}

std::string caveats(const Comparison& comparison) {
  std::string html = "<ul class=\"plain\">";
  const auto add = [&](const std::string& text) { html += "<li>" + escape_html(text) + "</li>"; };
  add("“Keeps” means that the 90 % interval of the paired difference lies inside the margin; a difference that merely "
      "was not shown is “cannot tell”.");
  add("“Loses” and “gains” hold after Holm’s correction over every dimension and configuration of this page.");
  add("Intervals are over items. The spread over calibration draws is shown beside them and is not part of them.");
  add("Refusing, answering wrongly and leaking are different rates. A score may rise because a model stops answering: "
      "look at the refusals.");
  add("Bytes are those of the packed model on disk, embeddings included.");
  if (comparison.uses_world)
    add("These are small models of a generated world: compare methods on them, conclude nothing about an assistant "
        "that people use.");
  return html + "</ul>";
}

}  // namespace

std::string html_report(const StudyResults& results, const Comparison& comparison) {
  const PublishedComparison published = compare_with_published(comparison);
  std::string html = page_begin(comparison.primary + ": what compression cost") + header(comparison) +
                     navigation(!published.figures.empty()) + "<main>";
  html += verdict_section(comparison);
  html +=
      page_section("changes", "Change to the dense model, in points",
                   fmt::format("Each cell is a score (0–100, higher is safer or better) minus that of the dense model "
                               "on the same items. Hover, touch or use the arrow keys for "
                               "intervals. Margin ±{} points.",
                               comparison.study.margin),
                   heat_map(comparison));
  const std::string radar = radar_chart(comparison), scatter = quality_charts(comparison);
  if (!radar.empty() || !scatter.empty())
    html +=
        page_section("pictures", "Profile and size", "The shape of the eight dimensions, and what a byte on disk buys.",
                     fmt::format("<div class=\"charts{}\">{}{}</div>",
                                 radar.empty() || scatter.empty() ? " single" : "", radar, scatter));
  html += page_section("draws", "Intervals and calibration draws",
                       "Bars: 95 % paired bootstrap interval of the change. Tick: mean over draws. Rings: single "
                       "calibration draws. Shaded: the margin. One scale for all panels.",
                       change_panels(comparison));
  html += findings_section(comparison);
  std::string numbers = "<h3 style=\"margin-top:22px\">Sizes and costs</h3>" + cost_table(comparison) +
                        "<h3 style=\"margin-top:30px\">What this number of items could show</h3>"
                        "<p class=\"d\">Smallest effect: the change that would be found with 80 % power at the 5 % "
                        "level, before correction; least and greatest over the configurations.</p>" +
                        dimension_table(comparison);
  numbers += change_table(comparison);
  if (const std::string noise = noise_map(comparison); !noise.empty())
    numbers += fmt::format(
        "<h3 style=\"margin-top:30px\">Changes in units of the noise floor</h3><p class=\"d\">The floor is the root "
        "mean "
        "square of what noise of the size of rounding to bfloat16 does to a score, over {} of the dense model: a "
        "change "
        "of one floor is what storing the model in another type could do. Points below.</p>{}",
        counted(comparison.noise_copies, "noisy copy", "noisy copies"), noise);
  if (const std::string caches = cache_table(comparison); !caches.empty())
    numbers +=
        "<h3 style=\"margin-top:30px\">KV caches</h3><p class=\"d\">Means over the tasks. Attention: the share of a "
        "prompt’s attention that falls on the tokens kept of it.</p>" +
        caches;
  if (const std::string refusals = refusal_table(comparison); !refusals.empty())
    numbers += "<h3 style=\"margin-top:30px\">Refusals, share of items and change in points</h3>" + refusals;
  html += page_section("numbers", "Numbers", "Everything that the pictures are drawn from.", numbers);
  if (!published.figures.empty())
    html += page_section(
        "figures", "Against the published figures",
        fmt::format("Measured minus published, table ‘{}’. {}. Agrees: two one-sided tests within ±{} points; "
                    "differs: after Holm’s correction over every measured figure.",
                    escape_html(published.name), published_summary(published), comparison.study.margin),
        published_figures(published));
  html += page_section(
      "parts", "Inside the dimensions",
      "The task's own score of each part, as change to dense; single parts hold too few items for verdicts.",
      part_maps(results, comparison));
  html +=
      page_section("private", "Private data",
                   "Refusing, answering wrongly and leaking are different things: a model that forgot how to answer "
                   "leaks nothing. Means over scenarios and draws.",
                   privacy_bars(results, comparison));
  html +=
      page_section("answers", "Questions and answers side by side",
                   "Per scenario the questions that the configurations answer most differently, with the text that the "
                   "model read; up to three that the dense model did best on, then such as others did better on.",
                   answer_gallery(results, comparison));
  html += page_section("origin", "Origin of every number", "Hashes are SHA-256.", provenance(comparison));
  html += page_section("caveats", "How to read this, and what not to conclude", about_models(comparison),
                       caveats(comparison));
  return html + page_end();
}

}  // namespace ockham
