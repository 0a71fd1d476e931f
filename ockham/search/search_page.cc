#include "ockham/search/search_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "ockham/bench/chart.h"
#include "ockham/report/format.h"
#include "ockham/report/html_page.h"

namespace ockham {
namespace {

double real(const Json& json, const char* key) {
  return json.contains(key) && json.at(key).is_number() ? json.at(key).get<double>() : 0;
}
std::string text(const Json& json, const char* key) {
  return json.contains(key) && json.at(key).is_string() ? json.at(key).get<std::string>() : "";
}

std::string budgets_text(const Json& report) {
  std::vector<std::string> texts;
  for (const Json& budget : report.at("budgets")) texts.push_back(text(budget, "budget"));
  return listed(texts);
}

std::string header(const Json& report) {
  std::string html = "<header class=\"head\">" + page_brand() + "<h1>" + escape_html(text(report, "model")) +
                     " within " + escape_html(budgets_text(report)) + "</h1><ul class=\"facts\">";
  const auto fact = [&](const std::string& name, const std::string& value) {
    html += fmt::format("<li>{} <b>{}</b></li>", name, escape_html(value));
  };
  fact("searcher", text(report.at("settings"), "searcher"));
  fact("seed", fmt::format("{:.0f}", real(report.at("settings"), "seed")));
  fact("candidates", fmt::format("{:.0f}", real(report, "evaluations")));
  fact("time", seconds_text(real(report.at("seconds"), "all")));
  fact("machine", text(report, "machine"));
  return html + "</ul></header>";
}

std::string card(const std::string& question, const std::string& answer, const std::string& detail) {
  return fmt::format(
      "<div class=\"card\"><div class=\"q\">{}</div><div class=\"a\">{}</div><div class=\"d\">{}</div></div>",
      escape_html(question), escape_html(answer), escape_html(detail));
}

const Json* compared(const Json& report, const std::string& name) {
  for (const Json& one : report.at("compared"))
    if (text(one, "name") == name) return &one;
  return nullptr;
}

std::string answers(const Json& report) {
  const Json& best = report.at("compared").at(0);
  std::string html = "<div class=\"answers\">";
  html += card("Size", bytes_text(real(best, "bytes")),
               fmt::format("{:.2f} % zeros, {:.3f} bits per weight of the blocks, side data included",
                           100 * real(best, "sparsity"), real(best, "stored_bits")));
  html += card("Perplexity on held-out tokens", fmt::format("{:.3f}", real(best, "perplexity")),
               fmt::format("the dense model's: {:.3f}", real(report, "dense_perplexity")));
  for (const char* name : {"uniform", "owl"}) {
    const Json* other = compared(report, name);
    if (other == nullptr || other == &best) continue;
    const double change = real(best, "kl") / std::max(1e-12, real(*other, "kl")) - 1;
    html += card(fmt::format("Against {} at equal size", name),
                 fmt::format("{:.1f} % {} divergence", std::abs(100 * change), change < 0 ? "less" : "more"),
                 fmt::format("KL {:.4f} against {:.4f}, perplexity {:.3f} against {:.3f}", real(best, "kl"),
                             real(*other, "kl"), real(best, "perplexity"), real(*other, "perplexity")));
  }
  return html + "</div>";
}

std::string convergence(const Json& report) {
  const Json& history = report.at("history");
  if (history.size() < 2) return "";
  double low = 1e300, high = 0, most = 0;
  for (const Json& point : history) {
    low = std::min(low, point.at(2).get<double>());
    high = std::max(high, point.at(2).get<double>());
    most = std::max(most, point.at(1).get<double>());
  }
  Plot plot("Fitness of the best candidate so far against tokens forwarded",
            linear_axis("tokens forwarded, millions", 0, std::max(most / 1e6, 1e-3)),
            linear_axis(text(report.at("settings"), "fitness") == "kl" ? "KL, nats per token" : "nats per token",
                        0.98 * low, 1.02 * high));
  std::vector<std::pair<double, double>> line;
  double before = -1;
  size_t restart = 0;
  const auto draw = [&] {
    if (!line.empty()) plot.line(line, fmt::format("var(--s{})", 1 + restart++ % 7), false);
    line.clear();
  };
  for (const Json& point : history) {
    if (point.at(0).get<double>() <= before) draw();
    before = point.at(0).get<double>();
    line.emplace_back(point.at(1).get<double>() / 1e6, point.at(2).get<double>());
  }
  draw();
  return page_figure(
      "Fitness over the search", plot.svg(),
      restart > 1 ? fmt::format("<p class=\"d\">{} searches from different beginnings.</p>", restart) : "");
}

// Bytes against divergence; colour and mark say whether the limits hold.
std::string front(const Json& report) {
  std::vector<const Json*> points;
  for (const Json& one : report.at("compared")) points.push_back(&one);
  const size_t main = points.size();
  if (report.contains("front"))
    for (const Json& one : report.at("front")) points.push_back(&one);
  double left = 1e300, right = 0, high = 0;
  for (const Json* point : points) {
    left = std::min(left, real(*point, "bytes") / 1e6);
    right = std::max(right, real(*point, "bytes") / 1e6);
    high = std::max(high, real(*point, "kl"));
  }
  const double margin = std::max(0.02 * right, 0.1 * (right - left));
  Plot plot("Size against divergence from the dense model", linear_axis("MB", left - margin, right + margin),
            linear_axis("KL, nats per token", 0, 1.1 * high));
  std::vector<std::pair<double, double>> line;
  for (size_t i = 0; i < points.size(); ++i) {
    const Json& point = *points[i];
    std::string tip = fmt::format("{}\n{}\nKL {:.4f}, perplexity {:.3f}", text(point, "name"),
                                  bytes_text(real(point, "bytes")), real(point, "kl"), real(point, "perplexity"));
    const bool has_trust = point.contains("worst_change") && point.at("worst_change").is_number();
    if (has_trust)
      tip += fmt::format("\nworst change of a limited dimension {} points ({})",
                         signed_points(real(point, "worst_change")), text(point, "worst_dimension"));
    const bool is_failing = has_trust && !point.value("meets_limits", true);
    plot.point(real(point, "bytes") / 1e6, real(point, "kl"),
               is_failing ? "var(--loss)"
               : i < main ? fmt::format("var(--s{})", 1 + i)
                          : "var(--s3)",
               i >= main && is_failing ? Plot::Mark::kRing
               : i >= main             ? Plot::Mark::kSquare
                                       : Plot::Mark::kCircle,
               tip);
    if (i < main) plot.label(text(point, "name"));
    if (i >= main) line.emplace_back(real(point, "bytes") / 1e6, real(point, "kl"));
  }
  std::sort(line.begin(), line.end());
  if (line.size() > 1) plot.line(line, "var(--muted)", true);
  std::string legend = "<div class=\"legend\"><span>● compared at the budget</span>";
  if (points.size() > main) legend += "<span>■ other sizes, by errors added up</span>";
  if (report.contains("limits")) legend += "<span>○ and orange: outside a limit</span>";
  return page_figure("Size, divergence and limits", plot.svg(), legend + "</div>");
}

// "blocks.3.mlp.up_proj": block and what is in it.
std::pair<int, std::string> place_of(const std::string& unit) {
  const size_t first = unit.find('.'), second = unit.find('.', first + 1);
  const std::string number = unit.substr(first + 1, second - first - 1);
  return {std::stoi(number), second == std::string::npos ? "block" : unit.substr(second + 1)};
}

std::string layer_map(const Json& report) {
  const bool is_sparsity = text(report.at("budgets").at(0), "budget").starts_with("sparsity");
  std::map<std::string, std::map<int, const Json*>> cells;
  std::vector<std::string> rows;
  std::set<int> blocks;
  double most = 0;
  const auto value_of = [&](const Json& layer) {
    return is_sparsity ? 100 * (1 - real(layer, "sparsity")) : real(layer, "bits");
  };
  const double mean = is_sparsity ? 100 * (1 - real(report.at("compared").at(0), "sparsity"))
                                  : real(report.at("compared").at(0), "bits");
  for (const auto& [name, layer] : report.at("layers").items()) {
    const auto [block, part] = place_of(name);
    if (!cells.contains(part)) rows.push_back(part);
    cells[part][block] = &layer;
    blocks.insert(block);
    most = std::max(most, std::abs(value_of(layer) - mean));
  }
  std::string html =
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Levels by layer\"><table class=\"heat\">"
      "<thead><tr><th scope=\"col\">Block</th>";
  for (const int block : blocks) html += fmt::format("<th scope=\"col\">{}</th>", block);
  html += "</tr></thead><tbody>";
  for (const std::string& row : rows) {
    html += "<tr><th scope=\"row\">" + escape_html(row) + "</th>";
    for (const int block : blocks) {
      const auto found = cells[row].find(block);
      if (found == cells[row].end()) {
        html += "<td class=\"blind\"></td>";
        continue;
      }
      const Json& layer = *found->second;
      const double value = value_of(layer), t = most > 0 ? 82 * std::abs(value - mean) / most : 0;
      html += fmt::format("<td class=\"{}\" style=\"--t:{:.0f}\" title=\"{}\"><b>{:.{}f}</b></td>",
                          value < mean ? "lose" : "gain", t,
                          escape_html(fmt::format("{}: {}, {}, error {:.4f}", row, text(layer, "level"),
                                                  bytes_text(real(layer, "bytes")), real(layer, "error"))),
                          value, is_sparsity ? 0 : 1);
    }
    html += "</tr>";
  }
  return html + fmt::format(
                    "</tbody></table></div><div class=\"legend\"><span>{}</span><span>less than the mean of "
                    "{:.{}f} <span class=\"ramp\"></span> more</span></div>",
                    is_sparsity ? "Percent of the weights that stay" : "Bits of a weight", mean, is_sparsity ? 0 : 2);
}

std::string comparison(const Json& report) {
  HtmlTable rows("Comparison", {"Allocation", "Size", "Zeros", "Bits", "KL", "Perplexity"});
  for (const char* list : {"compared", "front"}) {
    if (!report.contains(list)) continue;
    for (const Json& one : report.at(list))
      rows.add({text(one, "name"), bytes_text(real(one, "bytes")), fmt::format("{:.2f} %", 100 * real(one, "sparsity")),
                fmt::format("{:.3f}", real(one, "stored_bits")), fmt::format("{:.4f}", real(one, "kl")),
                fmt::format("{:.3f}", real(one, "perplexity"))});
  }
  return rows.html();
}

std::string limits(const Json& report) {
  if (!report.contains("limits") || report.at("limits").at("floors").empty()) return "";
  const Json& limits = report.at("limits");
  HtmlTable rows("Limits", {"Limit", "Change on unseen items", "Interval", "Items", "Holds", "Binds", "Costs"});
  for (const Json& one : limits.at("floors"))
    rows.add({text(one, "limit"), signed_points(real(one, "change")),
              signed_points(real(one, "low")) + " to " + signed_points(real(one, "high")),
              fmt::format("{}", real(one, "items")), one.value("holds", false) ? "yes" : "no",
              one.value("binds", false) ? "yes" : "no",
              one.contains("price_bytes") && one.at("price_bytes").is_number() ? bytes_text(real(one, "price_bytes"))
                                                                               : "–"});
  return "<div class=\"card hero " + std::string(limits.value("met", false) ? "good" : "bad") +
         "\"><div class=\"q\">Limits</div><div class=\"a\">" + escape_html(text(limits, "verdict")) + "</div></div>" +
         rows.html();
}

std::string method(const Json& report) {
  const Json& evaluation = report.at("evaluation");
  std::vector<std::string> lines = {
      fmt::format("Levels were computed from the dense model's activations and stored ({}, {}).",
                  bytes_text(real(report, "database_bytes")), seconds_text(real(report.at("seconds"), "levels"))),
      fmt::format("A candidate took {:.2f} times less processor time than from scratch (weights unpacked, every block "
                  "run; {} timed), with {:.0f} % of the halves of blocks run.",
                  real(evaluation, "speedup"), real(evaluation, "timed_from_scratch"),
                  100 * real(evaluation, "steps_run") / std::max(1.0, real(evaluation, "steps_whole"))),
      "KL and perplexity of the comparison are on tokens of the calibration text that the search never saw, with the "
      "levels as stored; the size is that of the files.",
      fmt::format("Rebuild the model: ockham compress {} --recipe recipe.yaml -o NEW", text(report, "model"))};
  for (const Json& budget : report.at("budgets"))
    lines.push_back(
        fmt::format("Budget {}: {} of {} used.", text(budget, "budget"), real(budget, "used"), real(budget, "limit")));
  std::string html = "<ul class=\"plain\">";
  for (const std::string& line : lines) html += "<li>" + escape_html(line) + "</li>";
  return html + fmt::format("<li>Ockham {}, {}.</li></ul>", escape_html(text(report, "ockham")),
                            escape_html(text(report, "time")));
}

}  // namespace

std::string search_page(const Json& report) {
  std::string html = page_begin(text(report, "model") + ": search") + header(report) + "<main>";
  html += page_section("answers", "What came out", "Beside the same bytes spent otherwise.", answers(report));
  html += page_section("limits", "Limits", "On items that the search never saw.", limits(report));
  html += page_section("layers", "Where it went", "The level of every layer; its name and size are in the tooltips.",
                       layer_map(report));
  const std::string course = convergence(report), sizes = front(report);
  html +=
      page_section("course", "How it got there", "",
                   fmt::format("<div class=\"charts{}\">{}{}</div>", course.empty() ? " single" : "", course, sizes));
  html += page_section("comparison", "Comparison", "All of them out of the same levels.", comparison(report));
  html += page_section("method", "How it was measured", "", method(report));
  return html + page_end();
}

}  // namespace ockham
