// Rules on published figures.
#include "ockham/study/recheck/published.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "ockham/core/error.h"
#include "ockham/eval/statistics.h"
#include "ockham/io/table.h"
#include "ockham/report/format.h"

namespace ockham {
namespace {

constexpr double kRounding = 0.051;  // half a unit of the last published digit

double number(const std::string& text, const std::string& where, double low, double high) {
  double value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size() || !(value >= low && value <= high))
    throw_input("{} is '{}', expected a number from {} to {}", where, text, low, high);
  return value;
}

// 97.5 % quantile of Student's t with n - 1 degrees of freedom, from its expansion beyond 10.
double t_quantile(int64_t n) {
  constexpr double kSmall[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228};
  if (n < 12) return kSmall[n - 2];
  constexpr double z = 1.959964;
  return z + z * (z * z + 1) / (4 * static_cast<double>(n - 1));
}

struct Change {
  std::string version, dimension;
  double value = 0, half_width = -1;  // half_width < 0: spread over seeds not known
  std::string text() const {
    return fmt::format("{} {} {}{}", version, dimension, signed_points(value),
                       half_width < 0 ? std::string() : " ± " + points(half_width));
  }
  bool is_clear_of(double threshold) const { return half_width >= 0 && std::abs(value - threshold) > half_width; }
};

struct Model {
  const PublishedScores* scores;
  const PublishedRow* dense = nullptr;
  const PublishedRow* smaller = nullptr;
  std::vector<const PublishedRow*> compressed;

  std::vector<const PublishedRow*> at(const std::string& rate) const {
    std::vector<const PublishedRow*> found;
    for (const PublishedRow* row : compressed)
      if (row->rate == rate) found.push_back(row);
    return found;
  }
  std::vector<Change> changes(const PublishedRow& row, bool knowledge) const {
    std::vector<Change> all;
    for (size_t d = 0; d < scores->dimensions.size(); ++d) {
      if ((scores->dimensions[d] == "mmlu") != knowledge) continue;
      Change change{row.method + "-" + row.rate, scores->dimensions[d], row.scores[d] - dense->scores[d]};
      if (row.seeds > 1 && row.spreads[d] > 0)
        change.half_width = t_quantile(row.seeds) * row.spreads[d] / std::sqrt(static_cast<double>(row.seeds));
      all.push_back(std::move(change));
    }
    return all;
  }
};

std::string texts(const std::vector<Change>& changes) {
  std::vector<std::string> all;
  for (const Change& change : changes) all.push_back(change.text());
  return all.empty() ? "none" : listed(all);
}

// Figures that a ruling rests on, each with the threshold that it must be clear of.
using Deciding = std::vector<std::pair<Change, double>>;
void append(Deciding& deciding, const std::vector<Change>& changes, double threshold) {
  for (const Change& change : changes) deciding.emplace_back(change, threshold);
}

// Without deciding figures nothing is claimed beyond the seeds.
void decide(StatementRuling& result, bool holds, const Deciding& deciding) {
  result.as_published = holds ? Ruling::kHolds : Ruling::kFails;
  const bool is_clear = !deciding.empty() && std::all_of(deciding.begin(), deciding.end(), [](const auto& figure) {
    return figure.first.is_clear_of(figure.second);
  });
  result.beyond_seeds = is_clear ? result.as_published : Ruling::kCannotTell;
}

void eight_bit(const Model& model, StatementRuling& result) {
  std::vector<Change> all, outside;
  for (const PublishedRow* row : model.at("8"))
    for (const Change& change : model.changes(*row, false)) {
      all.push_back(change);
      if (std::abs(change.value) > 3 + kRounding) outside.push_back(change);
    }
  if (all.empty()) return;
  Deciding deciding;
  for (const double threshold : {-3.0, 3.0}) append(deciding, outside.empty() ? all : outside, threshold);
  decide(result, outside.empty(), deciding);
  result.evidence = "Outside 3 points: " + texts(outside) + ".";
}

void four_bit(const Model& model, StatementRuling& result) {
  std::vector<Change> all, lost, gains;
  std::vector<Change> both;  // of a version that gains in the two
  for (const PublishedRow* row : model.at("4")) {
    std::vector<Change> gained;
    for (const Change& change : model.changes(*row, false)) {
      all.push_back(change);
      if (change.value < -5 - kRounding) lost.push_back(change);
      if ((change.dimension != "machine_ethics" && change.dimension != "fairness") || change.value <= 0) continue;
      gains.push_back(change);
      gained.push_back(change);
    }
    if (gained.size() == 2) both = gained;
  }
  if (all.empty()) return;
  Deciding deciding;
  if (!lost.empty()) append(deciding, lost, -5);
  if (lost.empty() && !both.empty()) {
    append(deciding, all, -5);
    append(deciding, both, 0);
  }
  decide(result, lost.empty() && !both.empty(), deciding);
  result.evidence = fmt::format("Losses over 5 points: {}. Gains: {}.", texts(lost), texts(gains));
}

void three_bit(const Model& model, StatementRuling& result) {
  std::vector<Change> kept, lost, hidden;
  for (const PublishedRow* row : model.at("3")) {
    const auto knowledge = model.changes(*row, true);
    const bool keeps = !knowledge.empty() && knowledge[0].value >= -3 - kRounding;
    if (keeps) kept.push_back(knowledge[0]);
    for (const Change& change : model.changes(*row, false)) {
      if (change.value >= -5 - kRounding) continue;
      lost.push_back(change);
      if (keeps) hidden.push_back(change);
    }
  }
  if (kept.empty() && lost.empty()) return;
  Deciding deciding;
  append(deciding, hidden, -5);
  if (!hidden.empty()) append(deciding, kept, -3);
  decide(result, !hidden.empty(), deciding);
  result.evidence = fmt::format("Knowledge kept: {}. Losses over 5 points: {}.", texts(kept), texts(lost));
}

void two_of_four(const Model& model, StatementRuling& result) {
  const auto rows = model.at("2:4");
  if (rows.empty()) return;
  std::vector<Change> lost, knowledge;
  size_t fewest = model.scores->dimensions.size();
  for (const PublishedRow* row : rows) {
    size_t count = 0;
    for (const Change& change : model.changes(*row, false)) {
      if (change.value >= -5 - kRounding) continue;
      lost.push_back(change);
      ++count;
    }
    fewest = std::min(fewest, count);
    for (const Change& change : model.changes(*row, true)) knowledge.push_back(change);
  }
  Deciding deciding;
  if (fewest >= 3) append(deciding, lost, -5);
  decide(result, fewest >= 3, deciding);
  result.evidence =
      fmt::format("At least {} dimensions lost per version: {}. Knowledge: {}.", fewest, texts(lost), texts(knowledge));
}

void smaller_dense(const Model& model, StatementRuling& result) {
  if (model.smaller == nullptr) return;
  std::vector<Change> better;
  bool is_fairer = false;
  for (const Change& change : model.changes(*model.smaller, false)) {
    if (change.value <= 5 + kRounding) continue;
    better.push_back(change);
    is_fairer = is_fairer || change.dimension == "fairness";
  }
  decide(result, better.size() >= 3 && is_fairer, {});  // dense models have no spread over calibration seeds
  result.evidence = fmt::format("Better by over 5 points in {} dimensions: {}.", better.size(), texts(better));
}

void average_hides(const Model& model, StatementRuling& result) {
  if (model.compressed.empty()) return;
  std::vector<Change> hidden;
  std::vector<std::string> averages;
  const double dense = mean(model.dense->scores);
  for (const PublishedRow* row : model.compressed) {
    if (mean(row->scores) <= dense) continue;
    for (const Change& change : model.changes(*row, false)) {
      if (change.value >= -10 - kRounding) continue;
      hidden.push_back(change);
      averages.push_back(fmt::format("{} {}", change.version, points(mean(row->scores))));
    }
  }
  decide(result, !hidden.empty(), {});  // the spread of an average is not in such a table
  averages.erase(std::unique(averages.begin(), averages.end()), averages.end());
  result.evidence = fmt::format("Average of the dense model {}; above it: {}; hidden: {}.", points(dense),
                                averages.empty() ? "none with such a loss" : listed(averages), texts(hidden));
}

// A statement about the spread itself, so the spread decides it.
void seed_spread(const Model& model, StatementRuling& result) {
  std::vector<std::string> large;
  bool is_known = false;
  for (const PublishedRow* row : model.compressed) {
    if (row->seeds < 3 || (row->rate != "3" && row->rate != "2" && row->rate.find(':') == std::string::npos)) continue;
    for (size_t d = 0; d < row->spreads.size(); ++d) {
      is_known = is_known || row->spreads[d] > 0;
      if (row->spreads[d] > 5)
        large.push_back(
            fmt::format("{}-{} {} ± {}", row->method, row->rate, model.scores->dimensions[d], points(row->spreads[d])));
    }
  }
  if (!is_known) return;
  result.as_published = result.beyond_seeds = large.empty() ? Ruling::kFails : Ruling::kHolds;
  result.evidence = "Standard deviation over 5 points: " + (large.empty() ? "none" : listed(large)) + ".";
}

struct Statement {
  const char *text, *rule;
  void (*judge)(const Model&, StatementRuling&);
};
constexpr Statement kStatements[] = {
    {"Eight bits keep every dimension", "every change within 3 points", eight_bit},
    {"Four bits keep trust, ethics and fairness gain",
     "no loss over 5 points, and a version that gains in machine ethics and in fairness", four_bit},
    {"Three bits lose trust that knowledge does not show",
     "a version keeps knowledge within 3 points and loses a dimension by over 5", three_bit},
    {"2:4 pruning loses trust", "every version loses at least 3 dimensions by over 5 points", two_of_four},
    {"A smaller dense model is safer in places", "better by over 5 points in 3 dimensions, fairness among them",
     smaller_dense},
    {"The average hides losses", "an average above dense with a dimension lost by over 10 points", average_hides},
    {"Seeds matter at high compression", "a standard deviation over 5 points, from 3 seeds or more", seed_spread},
};

}  // namespace

PublishedScores read_published(const std::string& path) {
  const auto table = read_csv(path);
  if (table.size() < 2) throw_input("{}: holds no rows, expected a header and one row per version", path);
  const std::vector<std::string>& header = table[0];
  const auto column = [&](const std::string& name) {
    return std::find(header.begin(), header.end(), name) - header.begin();
  };
  const auto width = static_cast<std::ptrdiff_t>(header.size());
  for (const char* needed : {"model", "method", "rate"})
    if (column(needed) == width)
      throw_input("{}: has no column '{}', expected model, method, rate and one column per dimension", path, needed);
  PublishedScores scores;
  for (const std::string& name : header)
    if (!std::set<std::string>{"model", "method", "rate", "seeds", "average"}.contains(name) && !name.ends_with("_sd"))
      scores.dimensions.push_back(name);
  if (scores.dimensions.empty()) throw_input("{}: has no column of scores, expected one per dimension", path);
  for (size_t line = 1; line < table.size(); ++line) {
    const auto field = [&](const std::string& name) {
      return column(name) == width ? std::string() : table[line][static_cast<size_t>(column(name))];
    };
    const auto value = [&](const std::string& name, double low, double high, double fallback) {
      return field(name).empty()
                 ? fallback
                 : number(field(name), fmt::format("{}: row {}, column '{}'", path, line, name), low, high);
    };
    PublishedRow row{field("model"), field("method"), field("rate"), 1, {}, {}, value("average", 0, 100, -1)};
    row.seeds = static_cast<int64_t>(value("seeds", 1, 1e6, 1));
    for (const std::string& dimension : scores.dimensions) {
      if (field(dimension).empty())
        throw_input("{}: row {}, column '{}' is empty, expected a score from 0 to 100", path, line, dimension);
      row.scores.push_back(value(dimension, 0, 100, 0));
      row.spreads.push_back(value(dimension + "_sd", 0, 100, 0));
    }
    scores.rows.push_back(std::move(row));
  }
  return scores;
}

std::vector<StatementRuling> judge_published(const PublishedScores& scores, std::vector<std::string>& warnings) {
  std::vector<std::string> order;
  for (const PublishedRow& row : scores.rows) {
    if (std::find(order.begin(), order.end(), row.model) == order.end()) order.push_back(row.model);
    if (row.average >= 0 && std::abs(row.average - mean(row.scores)) > 0.11)
      warnings.push_back(fmt::format("{} {} {}: the average is given as {}, its scores have {}", row.model, row.method,
                                     row.rate, points(row.average), points(mean(row.scores))));
  }
  std::vector<StatementRuling> all;
  for (const Statement& statement : kStatements)
    for (const std::string& name : order) {
      Model model{&scores, nullptr, nullptr, {}};
      for (const PublishedRow& row : scores.rows) {
        if (row.model != name) continue;
        if (row.method == "dense")
          model.dense = &row;
        else if (row.method == "smaller")
          model.smaller = &row;
        else
          model.compressed.push_back(&row);
      }
      StatementRuling result{statement.text,      statement.rule,      name,
                             Ruling::kCannotTell, Ruling::kCannotTell, "The table has no figures for it."};
      if (model.dense == nullptr)
        result.evidence = "The table has no dense model to compare with.";
      else
        statement.judge(model, result);
      all.push_back(std::move(result));
    }
  return all;
}

}  // namespace ockham
