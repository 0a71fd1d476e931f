// Rules on published figures.
#include "ockham/study/recheck/published.h"

#include <algorithm>
#include <cmath>

#include "ockham/eval/statistics.h"
#include "ockham/report/format.h"

namespace ockham {
namespace {

constexpr double kRounding = 0.051;  // half a unit of the last published digit

struct Change {
  std::string version, dimension;
  double value = 0, error = -1;  // standard error over seeds; < 0: not known
  int64_t seeds = 1;
  std::string text() const {
    return fmt::format("{} {} {}{}", version, dimension, signed_points(value),
                       error < 0 ? std::string() : " ± " + points(error) + " (standard error)");
  }
  // Of lying on the threshold, by Student's t over the seeds; < 0: not known.
  double p_value(double threshold) const {
    return error < 0 ? -1 : student_tail((value - threshold) / error, static_cast<double>(seeds - 1));
  }
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
      change.seeds = row.seeds;
      if (row.seeds > 1 && row.spreads[d] > 0)
        change.error = row.spreads[d] / std::sqrt(static_cast<double>(row.seeds));
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

// A ruling with every figure that its statement looked at. Whether the deciding ones are clear of their thresholds is
// known only when all statements have been judged, since Holm corrects over all of them.
struct Judged {
  StatementRuling ruling;
  struct Test {
    double p_value;  // < 0: spread over seeds not known
    bool decides;
  };
  std::vector<Test> tests;
  bool one_is_enough = false;  // of the deciding figures; otherwise all

  void look(const std::vector<Change>& changes, double threshold, bool decides) {
    for (const Change& change : changes) tests.push_back({change.p_value(threshold), decides});
  }
  void rule(bool holds) { ruling.as_published = holds ? Ruling::kHolds : Ruling::kFails; }
};

// Without deciding figures nothing is claimed beyond the seeds.
void rule_beyond_seeds(std::vector<Judged>& all) {
  std::vector<double> known;
  for (const Judged& one : all)
    for (const Judged::Test& test : one.tests)
      if (test.p_value >= 0) known.push_back(test.p_value);
  const std::vector<double> adjusted = holm(known);
  size_t next = 0;
  for (Judged& one : all) {
    size_t deciding = 0, clear = 0;
    for (const Judged::Test& test : one.tests) {
      const double p = test.p_value >= 0 ? adjusted[next++] : 1;
      if (!test.decides) continue;
      ++deciding;
      clear += p < 0.05;
    }
    if (deciding > 0 && (one.one_is_enough ? clear > 0 : clear == deciding))
      one.ruling.beyond_seeds = one.ruling.as_published;
  }
}

void eight_bit(const Model& model, Judged& result) {
  std::vector<Change> all, outside;
  for (const PublishedRow* row : model.at("8"))
    for (const Change& change : model.changes(*row, false)) {
      all.push_back(change);
      if (std::abs(change.value) > 3 + kRounding) outside.push_back(change);
    }
  if (all.empty()) return;
  for (const double threshold : {-3.0, 3.0}) {
    result.look(all, threshold, outside.empty());
    std::vector<Change> beyond;
    for (const Change& change : outside)
      if (change.value * threshold > 0) beyond.push_back(change);
    result.look(beyond, threshold, true);
  }
  result.one_is_enough = !outside.empty();
  result.rule(outside.empty());
  result.ruling.evidence = "Outside 3 points: " + texts(outside) + ".";
}

void four_bit(const Model& model, Judged& result) {
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
  const bool holds = lost.empty() && !both.empty();
  result.look(all, -5, holds);
  result.look(lost, -5, true);
  result.look(gains, 0, false);
  if (holds) result.look(both, 0, true);
  result.one_is_enough = !lost.empty();
  result.rule(holds);
  result.ruling.evidence = fmt::format("Losses over 5 points: {}. Gains: {}.", texts(lost), texts(gains));
}

void three_bit(const Model& model, Judged& result) {
  std::vector<Change> all, kept, lost, hidden;
  for (const PublishedRow* row : model.at("3")) {
    const auto knowledge = model.changes(*row, true);
    const bool keeps = !knowledge.empty() && knowledge[0].value >= -3 - kRounding;
    if (keeps) kept.push_back(knowledge[0]);
    for (const Change& change : model.changes(*row, false)) {
      all.push_back(change);
      if (change.value >= -5 - kRounding) continue;
      lost.push_back(change);
      if (keeps) hidden.push_back(change);
    }
  }
  if (kept.empty() && lost.empty()) return;
  result.look(all, -5, false);
  result.look(hidden, -5, true);
  if (!hidden.empty()) result.look(kept, -3, true);
  result.rule(!hidden.empty());
  result.ruling.evidence = fmt::format("Knowledge kept: {}. Losses over 5 points: {}.", texts(kept), texts(lost));
}

void two_of_four(const Model& model, Judged& result) {
  const auto rows = model.at("2:4");
  if (rows.empty()) return;
  std::vector<Change> all, lost, knowledge;
  size_t fewest = model.scores->dimensions.size();
  for (const PublishedRow* row : rows) {
    size_t count = 0;
    for (const Change& change : model.changes(*row, false)) {
      all.push_back(change);
      if (change.value >= -5 - kRounding) continue;
      lost.push_back(change);
      ++count;
    }
    fewest = std::min(fewest, count);
    for (const Change& change : model.changes(*row, true)) knowledge.push_back(change);
  }
  result.look(all, -5, false);
  if (fewest >= 3) result.look(lost, -5, true);
  result.rule(fewest >= 3);
  result.ruling.evidence =
      fmt::format("At least {} dimensions lost per version: {}. Knowledge: {}.", fewest, texts(lost), texts(knowledge));
}

void smaller_dense(const Model& model, Judged& result) {
  if (model.smaller == nullptr) return;
  std::vector<Change> better;
  bool is_fairer = false;
  for (const Change& change : model.changes(*model.smaller, false)) {
    if (change.value <= 5 + kRounding) continue;
    better.push_back(change);
    is_fairer = is_fairer || change.dimension == "fairness";
  }
  result.rule(better.size() >= 3 && is_fairer);  // dense models have no spread over calibration seeds
  result.ruling.evidence = fmt::format("Better by over 5 points in {} dimensions: {}.", better.size(), texts(better));
}

void average_hides(const Model& model, Judged& result) {
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
  result.rule(!hidden.empty());  // the spread of an average is not in such a table
  averages.erase(std::unique(averages.begin(), averages.end()), averages.end());
  result.ruling.evidence = fmt::format("Average of the dense model {}; above it: {}; hidden: {}.", points(dense),
                                       averages.empty() ? "none with such a loss" : listed(averages), texts(hidden));
}

// A statement about the spread itself. A standard deviation of three seeds is itself very uncertain, so beyond the
// seeds it is compared with 5 by its chi-square distribution.
void seed_spread(const Model& model, Judged& result) {
  constexpr double kLarge = 5;
  struct Spread {
    std::string text;
    double above, below;  // p-values of "at most 5" and of "at least 5"
    bool is_large;
  };
  std::vector<Spread> spreads;
  std::vector<std::string> large;
  for (const PublishedRow* row : model.compressed) {
    if (row->seeds < 3 || (row->rate != "3" && row->rate != "2" && row->rate.find(':') == std::string::npos)) continue;
    for (size_t d = 0; d < row->spreads.size(); ++d) {
      const double spread = row->spreads[d], degrees = static_cast<double>(row->seeds - 1);
      if (spread <= 0) continue;
      const double above = chi_square_tail(degrees * spread * spread / (kLarge * kLarge), degrees);
      spreads.push_back(
          {fmt::format("{}-{} {} ± {}", row->method, row->rate, model.scores->dimensions[d], points(spread)), above,
           1 - above, spread > kLarge});
      if (spread > kLarge) large.push_back(spreads.back().text);
    }
  }
  if (spreads.empty()) return;
  for (const Spread& spread : spreads)
    result.tests.push_back({large.empty() ? spread.below : spread.above, large.empty() || spread.is_large});
  result.one_is_enough = !large.empty();
  result.rule(!large.empty());
  result.ruling.evidence = "Standard deviation over 5 points: " + (large.empty() ? "none" : listed(large)) + ".";
}

struct PublishedStatement {
  const char *text, *rule;
  void (*judge)(const Model&, Judged&);
};
constexpr PublishedStatement kStatements[] = {
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

std::vector<StatementRuling> judge_published(const PublishedScores& scores, std::vector<std::string>& warnings) {
  std::vector<std::string> order;
  for (const PublishedRow& row : scores.rows) {
    if (std::find(order.begin(), order.end(), row.model) == order.end()) order.push_back(row.model);
    if (row.average >= 0 && std::abs(row.average - mean(row.scores)) > 0.11)
      warnings.push_back(fmt::format("{} {} {}: the average is given as {}, its scores have {}", row.model, row.method,
                                     row.rate, points(row.average), points(mean(row.scores))));
  }
  std::vector<Judged> all;
  for (const PublishedStatement& statement : kStatements)
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
      Judged result;
      result.ruling = {statement.text,      statement.rule,      name,
                       Ruling::kCannotTell, Ruling::kCannotTell, "The table has no figures for it."};
      if (model.dense == nullptr)
        result.ruling.evidence = "The table has no dense model to compare with.";
      else
        statement.judge(model, result);
      all.push_back(std::move(result));
    }
  rule_beyond_seeds(all);
  std::vector<StatementRuling> rulings;
  for (Judged& one : all) rulings.push_back(std::move(one.ruling));
  return rulings;
}

}  // namespace ockham
