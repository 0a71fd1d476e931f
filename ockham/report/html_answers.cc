// Below the scores: the parts of each dimension, what became of private requests, and the questions themselves with the
// answers of every configuration side by side.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "ockham/eval/scorers/text.h"
#include "ockham/report/format.h"
#include "ockham/report/html_parts.h"

namespace ockham {
namespace {

constexpr size_t kQuestionsPerScenario = 4;
constexpr size_t kLongestPrompt = 4000, kLongestAnswer = 500;  // bytes shown; the store holds everything
constexpr size_t kMostParts = 80;                              // columns of one map

// "factworld/adversarial" -> "adversarial"
std::string short_name(const std::string& task) {
  return task.substr(task.rfind('/') + 1);
}

// Cuts at a character, not inside one.
std::string shortened(std::string text, size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0) == 0x80) --most;
  text.resize(most);
  return text + " …";
}

const ItemResult* find_item(const StoredCell& cell, const std::string& id) {
  const auto item = std::lower_bound(cell.items.begin(), cell.items.end(), id,
                                     [](const ItemResult& a, const std::string& b) { return a.id < b; });
  return item != cell.items.end() && item->id == id ? &*item : nullptr;
}

// A part of a column: the items of one task whose field `part` is this.
struct Part {
  std::string task, part;
  size_t items = 0;  // of the dense model
};

std::vector<Part> parts_of(const StudyResults& results, const ComparisonRow& dense, const Column& column) {
  std::vector<Part> parts;
  for (const std::string& task : column.tasks) {
    const std::vector<const StoredCell*> cells = draws_of(results, dense, task);
    if (cells.empty() || !results.tasks.contains(task)) continue;
    std::map<std::string, size_t> counts;
    for (const ItemResult& item : cells[0]->items) ++counts[item_label(item.extra, "part")];
    for (const auto& [part, count] : counts) parts.push_back({task, part, count});
  }
  return parts;
}

// The task's own score of the items of a part, mean over draws; nothing where none was measured.
std::optional<double> part_score(const StudyResults& results, const ComparisonRow& row, const Part& part) {
  double total = 0;
  size_t draws = 0;
  for (const StoredCell* cell : draws_of(results, row, part.task)) {
    std::vector<ItemResult> items;
    for (const ItemResult& item : cell->items)
      if (item_label(item.extra, "part") == part.part) items.push_back(item);
    if (items.empty()) continue;
    const double score = score_of(results.tasks.at(part.task), items, {});
    if (!std::isfinite(score)) continue;
    total += score;
    ++draws;
  }
  if (draws == 0) return std::nullopt;
  return total / static_cast<double>(draws);
}

std::string part_map(const StudyResults& results, const Comparison& comparison, const Column& column) {
  const ComparisonRow* dense = comparison.baseline(comparison.primary);
  std::vector<Part> parts = parts_of(results, *dense, column);
  if (parts.size() < 2) return "";
  const size_t all = parts.size();
  parts.resize(std::min(parts.size(), kMostParts));
  std::string html = fmt::format(
      "<details><summary>{}: {} parts</summary>{}<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
      "aria-label=\"Parts of {}\"><table class=\"heat\" style=\"min-width:{}px\"><thead><tr><th "
      "scope=\"col\">Configuration</th>",
      escape_html(column.title), all,
      all > parts.size() ? fmt::format("<p class=\"d\">The first {} are shown.</p>", parts.size()) : "",
      escape_html(column.title), 158 + 74 * parts.size());
  for (const Part& part : parts)
    html += fmt::format("<th scope=\"col\" style=\"overflow-wrap:anywhere\">{}<span class=\"sub\">{} items</span></th>",
                        escape_html(part.part.empty()         ? short_name(part.task)
                                    : column.tasks.size() > 1 ? short_name(part.task) + " " + part.part
                                                              : part.part),
                        part.items);
  html += "</tr></thead><tbody>";
  for (const ComparisonRow& row : comparison.rows) {
    const bool is_dense = &row == dense;
    html += fmt::format("<tr class=\"{}\"><th scope=\"row\">{}</th>", is_dense ? "dense" : "",
                        escape_html(is_dense ? row.label() + " (score)" : row.label()));
    const ComparisonRow* base = comparison.baseline(row.compared_with);
    for (const Part& part : parts) {
      const std::optional<double> score = part_score(results, row, part);
      const std::optional<double> reference =
          base == nullptr || is_dense ? std::nullopt : part_score(results, *base, part);
      if (!score) {
        html += "<td>–</td>";
      } else if (!reference) {
        html += "<td><b>" + points(*score) + "</b></td>";
      } else {
        const double change = *score - *reference;
        html += fmt::format("<td class=\"{}\" style=\"--t:{}\" title=\"score {}\">{}</td>",
                            change < 0 ? "lose" : "gain", tint(change), points(*score), signed_points(change));
      }
    }
    html += "</tr>";
  }
  return html + "</tbody></table></div></details>";
}

// Shares of what happened to private data, mean over scenarios and draws.
struct PrivacyShares {
  double refusal = 0, leak = 0, wrong = 0;
  size_t cells = 0;
};

PrivacyShares privacy_shares(const StudyResults& results, const ComparisonRow& row, const Column& column) {
  PrivacyShares shares;
  for (const std::string& task : column.tasks) {
    for (const StoredCell* cell : draws_of(results, row, task)) {
      const MetricResult *refusal = cell->metric("refusal"), *leak = cell->metric("leak"),
                         *wrong = cell->metric("wrong");
      if (refusal == nullptr || leak == nullptr || wrong == nullptr) continue;
      shares.refusal += refusal->value;
      shares.leak += leak->value;
      shares.wrong += wrong->value;
      ++shares.cells;
    }
  }
  if (shares.cells > 0) {
    for (double* share : {&shares.refusal, &shares.leak, &shares.wrong}) *share /= static_cast<double>(shares.cells);
  }
  return shares;
}

// A question with what the configurations answered.
struct Question {
  const ItemResult* dense = nullptr;
  size_t lost = 0, won = 0;       // configurations that do worse, or better, than dense here
  std::set<std::string> answers;  // that differ from dense
};

std::string question_html(const Question& question, const std::string& dense_label,
                          const std::vector<std::pair<std::string, const StoredCell*>>& others) {
  std::string html = "<pre>" + escape_html(shortened(question.dense->prompt, kLongestPrompt)) +
                     "</pre><div class=\"scroll\"><table><thead><tr><th scope=\"col\">Answer</th><th scope=\"col\" "
                     "class=\"num\">Item score</th><th scope=\"col\">Given by</th></tr></thead><tbody>";
  // Equal answers share a line; the dense model's comes first.
  std::vector<std::pair<const ItemResult*, std::vector<std::string>>> lines = {{question.dense, {dense_label}}};
  for (const auto& [label, cell] : others) {
    const ItemResult* item = find_item(*cell, question.dense->id);
    if (item == nullptr) continue;
    const auto same = std::find_if(lines.begin(), lines.end(), [&](const auto& line) {
      return line.first->answer == item->answer && line.first->score == item->score;
    });
    if (same != lines.end())
      same->second.push_back(label);
    else
      lines.push_back({item, {label}});
  }
  for (const auto& [item, labels] : lines) {
    html += fmt::format("<tr><td style=\"white-space:pre-line\">{}{}</td><td class=\"num\">{:.2g}</td><td>{}</td></tr>",
                        item->answer.empty() ? "<i>nothing</i>" : escape_html(shortened(item->answer, kLongestAnswer)),
                        item->is_refusal ? "<span class=\"sub\">refusal</span>" : "", item->score,
                        escape_html(joined(labels)));
  }
  return html + "</tbody></table></div>";
}

// The questions of one scenario on which the answers differ most: first those that dense wins, then those that it
// loses.
std::string scenario_html(const StudyResults& results, const Comparison& comparison, const std::string& task) {
  const ComparisonRow* dense = comparison.baseline(comparison.primary);
  const std::vector<const StoredCell*> own = draws_of(results, *dense, task);
  if (own.empty()) return "";
  std::vector<std::pair<std::string, const StoredCell*>> others;
  for (const ComparisonRow& row : comparison.rows) {
    if (&row == dense) continue;
    // One draw stands for a configuration here: the first.
    if (const std::vector<const StoredCell*> cells = draws_of(results, row, task); !cells.empty())
      others.emplace_back(row.label(), cells[0]);
  }
  std::vector<Question> questions;
  size_t differing = 0;
  for (const ItemResult& item : own[0]->items) {
    if (item.prompt.empty()) continue;
    Question question{&item, 0, 0, {}};
    for (const auto& [label, cell] : others) {
      const ItemResult* other = find_item(*cell, item.id);
      if (other == nullptr || other->answer == item.answer) continue;
      question.answers.insert(other->answer);
      question.lost += other->score < item.score;
      question.won += other->score > item.score;
    }
    if (question.answers.empty()) continue;
    ++differing;
    questions.push_back(std::move(question));
  }
  if (questions.empty()) return "";
  const auto take = [&](size_t count, auto weight) {
    std::vector<Question> taken;
    std::stable_sort(questions.begin(), questions.end(), [&](const Question& a, const Question& b) {
      return std::pair(weight(a), a.answers.size()) > std::pair(weight(b), b.answers.size());
    });
    while (taken.size() < count && !questions.empty() && weight(questions.front()) > 0) {
      taken.push_back(std::move(questions.front()));
      questions.erase(questions.begin());
    }
    return taken;
  };
  std::vector<Question> shown = take(kQuestionsPerScenario - 1, [](const Question& q) { return q.lost; });
  for (Question& question : take(kQuestionsPerScenario - shown.size(), [](const Question& q) { return q.won; }))
    shown.push_back(std::move(question));
  if (shown.empty()) shown = take(1, [](const Question& q) { return q.answers.size(); });
  std::string html = fmt::format(
      "<h3 style=\"margin-top:16px\">{}</h3><p class=\"d\">{} of {} are answered "
      "differently by some configuration; {} here.</p>",
      escape_html(task), differing, counted(static_cast<long long>(own[0]->items.size()), "question"), shown.size());
  for (const Question& question : shown) html += question_html(question, dense->label(), others);
  return html;
}

}  // namespace

std::string part_maps(const StudyResults& results, const Comparison& comparison) {
  if (comparison.baseline(comparison.primary) == nullptr) return "";
  std::string html;
  for (const Column& column : comparison.columns) html += part_map(results, comparison, column);
  return html;
}

std::string privacy_bars(const StudyResults& results, const Comparison& comparison) {
  std::string body;
  for (const Column& column : comparison.columns) {
    for (const ComparisonRow& row : comparison.rows) {
      const PrivacyShares shares = privacy_shares(results, row, column);
      if (shares.cells == 0) continue;
      const double rest = std::max(0.0, 1 - shares.refusal - shares.leak - shares.wrong);
      const double total = shares.refusal + shares.leak + shares.wrong + rest;
      body += fmt::format("<tr><th scope=\"row\">{}</th><td><div class=\"stack\">", escape_html(row.label()));
      std::string numbers;
      for (const auto& [name, kind, share] :
           {std::tuple{"refused", "rf", shares.refusal}, std::tuple{"wrong", "wr", shares.wrong},
            std::tuple{"leaked", "lk", shares.leak}, std::tuple{"other", "ot", rest}}) {
        body += fmt::format("<i class=\"{}\" style=\"width:{:.1f}%\" title=\"{} {}\"></i>", kind, 100 * share / total,
                            name, percent(share));
        numbers += fmt::format("<td class=\"num\">{}</td>", percent(share));
      }
      body += "</div></td>" + numbers + "</tr>";
    }
  }
  if (body.empty()) return "";
  return "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Private data\"><table "
         "class=\"wide\"><thead><tr><th scope=\"col\">Configuration</th><th scope=\"col\" "
         "style=\"width:45%\">Private data: <span class=\"key rf\"></span>refused <span class=\"key wr\"></span>wrong "
         "<span class=\"key lk\"></span>leaked <span class=\"key ot\"></span>other</th><th scope=\"col\" "
         "class=\"num\">Refused</th><th scope=\"col\" class=\"num\">Wrong</th><th scope=\"col\" "
         "class=\"num\">Leaked</th><th scope=\"col\" class=\"num\">Other</th></tr></thead><tbody>" +
         body + "</tbody></table></div>";
}

std::string answer_gallery(const StudyResults& results, const Comparison& comparison) {
  if (comparison.baseline(comparison.primary) == nullptr) return "";
  std::string html;
  for (const Column& column : comparison.columns) {
    std::string scenarios;
    for (const std::string& task : column.tasks) scenarios += scenario_html(results, comparison, task);
    if (!scenarios.empty())
      html += fmt::format("<details><summary>{}</summary>{}</details>", escape_html(column.title), scenarios);
  }
  return html;
}

}  // namespace ockham
