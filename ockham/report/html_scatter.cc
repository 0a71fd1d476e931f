// Quality against bytes on disk, with the Pareto front; one chart per meaning of quality.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "ockham/report/format.h"
#include "ockham/report/html_parts.h"

namespace ockham {
namespace {

constexpr double kWidth = 560, kHeight = 372, kLeft = 52, kRight = 18, kTop = 14, kBottom = 46;

struct Kind {
  Quality quality;
  const char* id;
  const char* name;
  const char* axis;
};
constexpr std::array kKinds = {
    Kind{Quality::kTrust, "quality-trust", "Trust, mean", "mean of the trust dimensions"},
    Kind{Quality::kWorst, "quality-worst", "Trust, worst change", "worst change of a trust dimension, points"},
    Kind{Quality::kKnowledge, "quality-knowledge", "Knowledge", "mean of the knowledge tasks"},
    Kind{Quality::kPerplexity, "quality-perplexity", "Perplexity", "perplexity (low is good; log scale)"},
};

struct Scale {
  double low = 0, high = 1, from = 0, to = 1;
  double operator()(double value) const { return from + (to - from) * (value - low) / (high - low); }
};

double nice_step(double range, int ticks) {
  const double raw = range / ticks, power = std::pow(10, std::floor(std::log10(raw)));
  for (double factor : {1.0, 2.0, 5.0})
    if (factor * power >= raw) return factor * power;
  return 10 * power;
}

struct Box {
  double x0, y0, x1, y1;
  bool overlaps(const Box& other) const { return x0 < other.x1 && other.x0 < x1 && y0 < other.y1 && other.y0 < y1; }
};

struct Dot {
  size_t row;
  double x, y;
};

std::string shape(const Comparison& comparison, const ComparisonRow& row, const Dot& dot, bool on_front) {
  const std::string paint =
      fmt::format("fill=\"{}\" stroke=\"var(--surface)\" stroke-width=\"1.5\"", method_colour(comparison, row));
  const double r = on_front ? 6.5 : 5;
  if (row.family == MethodFamily::kPruning || row.family == MethodFamily::kMixed)
    return fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" {}/>", dot.x - 0.88 * r,
                       dot.y - 0.88 * r, 1.76 * r, 1.76 * r, paint);
  if (row.family == MethodFamily::kDense)
    return fmt::format("<path d=\"M{:.1f} {:.1f}l{:.1f} {:.1f}l{:.1f} {:.1f}l{:.1f} {:.1f}z\" {}/>", dot.x,
                       dot.y - 1.3 * r, 1.3 * r, 1.3 * r, -1.3 * r, 1.3 * r, -1.3 * r, -1.3 * r, paint);
  return fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\" {}/>", dot.x, dot.y, r, paint);
}

// Beside the dot where no other dot or label is; left out where there is no room (the tooltip has it).
std::string labels(const Comparison& comparison, const std::vector<Dot>& dots, const std::set<size_t>& front) {
  std::vector<Box> taken;
  for (const Dot& dot : dots) taken.push_back({dot.x - 7, dot.y - 7, dot.x + 7, dot.y + 7});
  std::vector<Dot> order = dots;
  std::stable_sort(order.begin(), order.end(),
                   [&](const Dot& a, const Dot& b) { return front.contains(a.row) > front.contains(b.row); });
  std::string svg;
  for (const Dot& dot : order) {
    const std::string text = comparison.rows[dot.row].label();
    const double width = 6.4 * static_cast<double>(text.size());
    const std::array<std::array<double, 2>, 6> places = {
        {{9, -8}, {10, 4}, {-10 - width, 4}, {8, 17}, {-width / 2, -11}, {-width / 2, 20}}};
    for (const auto& [dx, dy] : places) {
      const Box box{dot.x + dx, dot.y + dy - 11, dot.x + dx + width, dot.y + dy + 3};
      if (box.x0 < kLeft || box.x1 > kWidth || box.y0 < 0 || box.y1 > kHeight - kBottom) continue;
      if (std::any_of(taken.begin(), taken.end(), [&](const Box& other) { return box.overlaps(other); })) continue;
      taken.push_back(box);
      svg += fmt::format("<text class=\"lab\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", dot.x + dx, dot.y + dy,
                         escape_html(text));
      break;
    }
  }
  return svg;
}

double shown(const ComparisonRow& row, Quality quality) {
  return quality == Quality::kPerplexity ? -std::log10(row.perplexity) : *quality_of(row, quality);
}

std::string y_axis(Scale& y, Quality quality) {
  std::string svg;
  std::vector<std::pair<double, std::string>> ticks;
  if (quality == Quality::kPerplexity) {
    for (int power = -1; power < 9; ++power)
      for (int digit : {1, 2, 3, 5}) {
        const double value = digit * std::pow(10, power);
        if (-std::log10(value) >= y.low && -std::log10(value) <= y.high)
          ticks.emplace_back(-std::log10(value), fmt::format("{:g}", value));
      }
  } else {
    const double step = nice_step(y.high - y.low, 6);
    for (double value = std::ceil(y.low / step) * step; value <= y.high + 1e-9; value += step)
      ticks.emplace_back(value, quality == Quality::kWorst ? signed_points(value)
                                                           : fmt::format("{:g}", std::round(value * 100) / 100));
  }
  for (const auto& [value, text] : ticks)
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/><text class=\"tick\" x=\"{}\" "
        "y=\"{:.1f}\" "
        "text-anchor=\"end\">{}</text>",
        kLeft, kWidth - kRight, y(value), y(value), kLeft - 8, y(value) + 4, text);
  return svg;
}

std::string x_axis(const Scale& x) {
  std::string svg;
  const double step = nice_step(x.high - x.low, 5);
  for (double value = std::ceil(x.low / step) * step; value <= x.high; value += step)
    svg += fmt::format(
        "<line class=\"axis\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/><text class=\"tick\" x=\"{0:.1f}\" "
        "y=\"{3}\" "
        "text-anchor=\"middle\">{4}</text>",
        x(value), kHeight - kBottom, kHeight - kBottom + 5, kHeight - kBottom + 19,
        value > 0 ? bytes_text(value) : "0");
  svg += fmt::format("<line class=\"axis\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>", kLeft, kWidth - kRight,
                     kHeight - kBottom, kHeight - kBottom);
  return svg + fmt::format("<text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"end\">bytes on disk →</text>",
                           kWidth - kRight, kHeight - 8);
}

std::string chart(const Comparison& comparison, const Kind& kind, bool is_first) {
  std::vector<size_t> rows;
  for (size_t i = 0; i < comparison.rows.size(); ++i)
    if (comparison.rows[i].bytes > 0 && quality_of(comparison.rows[i], kind.quality)) rows.push_back(i);
  if (rows.size() < 2) return "";
  double most = 0, low = 1e300, high = -1e300;
  for (size_t i : rows) {
    most = std::max(most, comparison.rows[i].bytes);
    low = std::min(low, shown(comparison.rows[i], kind.quality));
    high = std::max(high, shown(comparison.rows[i], kind.quality));
  }
  const double pad = std::max(0.06 * (high - low), 1e-3);
  const Scale x{0, 1.06 * most, kLeft, kWidth - kRight};
  Scale y{low - pad, high + pad, kHeight - kBottom, kTop};
  const std::vector<size_t> front = pareto_front(comparison, kind.quality);
  std::string svg = fmt::format(
                        "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"Bytes on disk against {}; the numbers "
                        "are in the table of sizes\">",
                        kWidth, kHeight, kind.axis) +
                    y_axis(y, kind.quality) + x_axis(x);
  std::vector<Dot> dots;
  for (size_t i : rows) dots.push_back({i, x(comparison.rows[i].bytes), y(shown(comparison.rows[i], kind.quality))});
  std::string steps;
  for (size_t i : front) {
    const double px = x(comparison.rows[i].bytes), py = y(shown(comparison.rows[i], kind.quality));
    steps += steps.empty() ? fmt::format("M{:.1f} {:.1f}", px, py) : fmt::format("H{:.1f}V{:.1f}", px, py);
  }
  svg += fmt::format(
      "<path d=\"{}\" fill=\"none\" stroke=\"var(--muted)\" stroke-width=\"1.5\" stroke-dasharray=\"5 4\"/>", steps);
  const std::set<size_t> on_front(front.begin(), front.end());
  for (const Dot& dot : dots) {
    const ComparisonRow& row = comparison.rows[dot.row];
    std::string facts = fmt::format("{}\n{}", row.label(), row_detail(comparison, row));
    if (row.trust_mean) facts += "\nTrust mean " + points(*row.trust_mean);
    if (row.worst_change && !row.is_baseline)
      facts +=
          fmt::format("\nWorst: {} {}", comparison.column(row.worst_column)->title, signed_points(*row.worst_change));
    if (row.knowledge_mean) facts += "\nKnowledge mean " + points(*row.knowledge_mean);
    if (row.perplexity > 0) facts += fmt::format("\nPerplexity {:.4g}", row.perplexity);
    if (on_front.contains(dot.row)) facts += "\nOn the Pareto front";
    svg += fmt::format("<g data-tip=\"{}\">{}</g>", escape_html(facts),
                       shape(comparison, row, dot, on_front.contains(dot.row)));
  }
  svg += labels(comparison, dots, on_front) + "</svg>";
  std::vector<std::string> names;
  for (size_t i : front) names.push_back(comparison.rows[i].label());
  return fmt::format(
      "<div id=\"{}\" class=\"plot{}\">{}<p class=\"d\">Pareto front (dashed): {}. Upward: {}.</p></div>", kind.id,
      is_first ? "" : " off", svg, escape_html(joined(names)), kind.axis);
}

}  // namespace

std::string method_colour(const Comparison& comparison, const ComparisonRow& row) {
  if (row.family == MethodFamily::kDense) return row.is_rival ? "var(--s5)" : "var(--s0)";
  std::vector<std::string> methods;
  for (const ComparisonRow& other : comparison.rows)
    if (!other.method.empty() && std::find(methods.begin(), methods.end(), other.method) == methods.end())
      methods.push_back(other.method);
  const auto place = static_cast<size_t>(std::find(methods.begin(), methods.end(), row.method) - methods.begin());
  constexpr std::array kColours = {1, 2, 3, 4, 6, 7};
  return fmt::format("var(--s{})", kColours[place % kColours.size()]);
}

std::string quality_charts(const Comparison& comparison) {
  std::string charts, choice;
  for (const Kind& kind : kKinds) {
    const std::string one = chart(comparison, kind, charts.empty());
    if (one.empty()) continue;
    choice += fmt::format("<label><input type=\"radio\" name=\"quality\" value=\"{}\"{}><span><i></i>{}</span></label>",
                          kind.id, charts.empty() ? " checked" : "", kind.name);
    charts += one;
  }
  if (charts.empty()) return "";
  return "<figure class=\"card\" style=\"margin:0\"><h3>Quality against bytes on disk</h3><fieldset class=\"chips "
         "noprint\" style=\"margin:12px 0\">"
         "<legend class=\"sr\">Meaning of quality</legend>" +
         choice + "</fieldset>" + charts +
         "<div class=\"legend\"><span>◆ dense</span><span>■ pruned</span><span>● quantized</span></div></figure>";
}

}  // namespace ockham
