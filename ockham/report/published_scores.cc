// Reading published tables, and matching a study to one.
#include "ockham/report/published_scores.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/io/table.h"
#include "ockham/report/format.h"

namespace ockham {
namespace {

constexpr double kZ95 = 1.959964, kZ90 = 1.644854;
constexpr double kRounding = 0.1 / 3.4641016;  // standard deviation of rounding to one decimal

double number(const std::string& text, const std::string& where, double low, double high) {
  double value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size() || !(value >= low && value <= high))
    throw_input("{} is '{}', expected a number from {} to {}", where, text, low, high);
  return value;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); });
  return text;
}

std::string rate_of(const ComparisonRow& row) {
  if (row.nominal_bits > 0) return std::to_string(row.nominal_bits);
  if (row.pattern.find(':') != std::string::npos) return row.pattern;
  return row.nominal_sparsity > 0 ? fmt::format("{:g}", row.nominal_sparsity) : "";
}

// The name under which a model of the study stands in the table.
std::string published_name(const StudyDescription& study, const std::string& model) {
  for (const StudyDescription::Model& one : study.models)
    if (one.name == model && !one.published.empty()) return one.published;
  return model;
}

const ComparisonRow* row_of(const Comparison& comparison, const PublishedRow& published) {
  for (const ComparisonRow& row : comparison.rows) {
    const std::string name = published_name(comparison.study, row.is_rival ? row.compared_with : row.model);
    if (name != published.model) continue;
    if (published.method == "smaller" ? row.is_rival
        : published.method == "dense"
            ? row.is_baseline && !row.is_rival
            : !row.is_baseline && row.family != MethodFamily::kMixed && lower(published.method) == lower(row.method) &&
                  published.rate == rate_of(row))
      return &row;
  }
  return nullptr;
}

size_t column_of(const Comparison& comparison, const std::string& dimension) {
  for (size_t c = 0; c < comparison.columns.size(); ++c) {
    const Column& column = comparison.columns[c];
    if (column.id == dimension) return c;
    if (column.group == ColumnGroup::kKnowledge && dimension == "mmlu" && column.id.ends_with("/mmlu")) return c;
  }
  return comparison.columns.size();
}

// Standard error of a mean over draws; 0 where the spread is not known.
double draw_error(const std::vector<double>& draws) {
  return draws.size() > 1 ? standard_deviation(draws) / std::sqrt(static_cast<double>(draws.size())) : 0;
}

void measure(const ComparisonCell& cell, PublishedFigure& figure) {
  figure.measured = cell.score;
  const double items = (cell.interval.high - cell.interval.low) / (2 * kZ95), draws = draw_error(cell.draws),
               seeds = figure.spread / std::sqrt(static_cast<double>(std::max<int64_t>(1, figure.seeds))),
               error = std::sqrt(items * items + draws * draws + seeds * seeds + kRounding * kRounding);
  Difference& difference = figure.difference;
  difference.value = cell.score - figure.published;
  difference.interval = {difference.value - kZ95 * error, difference.value + kZ95 * error};
  difference.interval90 = {difference.value - kZ90 * error, difference.value + kZ90 * error};
  difference.p_value = std::erfc(std::abs(difference.value) / error / std::sqrt(2.0));
  difference.smallest_effect = 2.8 * error;
  difference.n = cell.change.n;
}

Agreement agreement_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kKeeps:
      return Agreement::kAgrees;
    case Verdict::kLoses:
      return Agreement::kLower;
    case Verdict::kGains:
      return Agreement::kHigher;
    case Verdict::kCannotTell:
      break;
  }
  return Agreement::kCannotTell;
}

}  // namespace

PublishedScores parse_published(const std::string& text, const std::string& path) {
  const auto table = parse_csv(text, ',', path);
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

PublishedScores read_published(const std::string& path) {
  return parse_published(read_text_file(path), path);
}

std::string agreement_text(Agreement agreement) {
  switch (agreement) {
    case Agreement::kAgrees:
      return "agrees";
    case Agreement::kLower:
      return "differs: lower";
    case Agreement::kHigher:
      return "differs: higher";
    case Agreement::kCannotTell:
      return "cannot tell";
    case Agreement::kNotMeasured:
      return "not measured";
  }
  return "";
}

int64_t PublishedComparison::count(Agreement agreement) const {
  return std::count_if(figures.begin(), figures.end(),
                       [&](const PublishedFigure& figure) { return figure.agreement == agreement; });
}

PublishedComparison compare_with_published(const Comparison& comparison) {
  PublishedComparison result;
  const StudyDescription& study = comparison.study;
  if (study.published_text.empty()) return result;
  result.name = study.published_name;
  const PublishedScores scores = parse_published(study.published_text, study.published_name);
  result.dimensions = scores.dimensions;
  std::vector<double> p_values;
  std::vector<size_t> tested;
  for (const PublishedRow& published : scores.rows) {
    const ComparisonRow* row = row_of(comparison, published);
    for (size_t d = 0; d < scores.dimensions.size(); ++d) {
      PublishedFigure figure;
      figure.model = published.model;
      figure.version = published.method + (published.rate.empty() ? "" : " " + published.rate);
      figure.dimension = scores.dimensions[d];
      figure.published = published.scores[d];
      figure.spread = published.spreads[d];
      figure.seeds = published.seeds;
      const size_t c = column_of(comparison, scores.dimensions[d]);
      const ComparisonCell* cell =
          row != nullptr && c < comparison.columns.size() && c < row->cells.size() ? &row->cells[c] : nullptr;
      figure.is_planned = cell != nullptr;
      if (row != nullptr) figure.label = row->label();
      if (row == nullptr)
        figure.reason = "no such version in this study";
      else if (cell == nullptr)
        figure.reason = "no such task in this study";
      else if (cell->done == 0)
        figure.reason = "not run yet";
      else if (cell->done < cell->planned)
        figure.reason = fmt::format("partial {}/{}", cell->done, cell->planned);
      if (figure.reason.empty()) {
        measure(*cell, figure);
        p_values.push_back(figure.difference.p_value);
        tested.push_back(result.figures.size());
      }
      result.figures.push_back(std::move(figure));
    }
  }
  const std::vector<double> adjusted = holm(p_values);
  for (size_t i = 0; i < tested.size(); ++i) {
    PublishedFigure& figure = result.figures[tested[i]];
    figure.p_adjusted = adjusted[i];
    figure.agreement =
        agreement_of(equivalence(figure.difference, figure.difference.interval90, study.margin, adjusted[i]));
  }
  if (study.tier != "full")
    result.cautions.push_back("the tier is " + study.tier +
                              ": fewer items than published, and fewer samples, which lowers an expected maximum");
  if (study.prompt_mode != "faithful")
    result.cautions.push_back("prompts are " + study.prompt_mode +
                              ", the published ones those of the benchmark's code");
  return result;
}

std::string published_summary(const PublishedComparison& comparison) {
  const int64_t lower_count = comparison.count(Agreement::kLower), higher = comparison.count(Agreement::kHigher);
  return fmt::format("{} published: {} agree, {} differ ({} lower, {} higher), {} cannot tell, {} not measured",
                     counted(static_cast<long long>(comparison.figures.size()), "figure"),
                     comparison.count(Agreement::kAgrees), lower_count + higher, lower_count, higher,
                     comparison.count(Agreement::kCannotTell), comparison.count(Agreement::kNotMeasured));
}

}  // namespace ockham
